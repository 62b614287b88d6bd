"""`default_rules`: the rules of a monitor that was given none, and their limits."""

from __future__ import annotations

from lightning_cam.monitor.rules import Rule, Threshold

# Share of what the model knows from which it is said to rely on the background; without masks on
# the rim, which may hold a part of the object. Chosen on some runs of `benchmarks.shortcut`,
# measured on others.
BACKGROUND_LIMIT, RIM_LIMIT = 0.25, 0.3


def default_rules(*, masks: bool, labels: bool) -> tuple[Rule, ...]:
    """Return the rules of a monitor that was given none, by what a probe has.

    With masks: attention off the object, unless interventions contradict it, and with labels also
    reliance on the background. Without masks: reliance on the image's rim.
    """
    if not masks:
        return (Threshold("rim_reliance", above=RIM_LIMIT, warmup=0),) if labels else ()
    rules: tuple[Rule, ...] = (Threshold("enrichment", below=1.0, confirm=True),)
    if labels:
        rules += (Threshold("background_reliance", above=BACKGROUND_LIMIT, warmup=0),)
    return rules
