"""`default_rules`: the rules of a monitor that was given none, and their limits."""

from __future__ import annotations

from lightning_cam.monitor.rules import Rule, Threshold


def default_rules(*, masks: bool, labels: bool) -> tuple[Rule, ...]:
    """Return the rules of a monitor that was given none, by what a probe has.

    With labels: reliance on one attribute beyond what natural data shows; the limits are those of
    `interventions.ATTRIBUTES`. With masks also attention off the object, unless interventions
    contradict it.
    """
    rules: tuple[Rule, ...] = ()
    if masks:
        rules += (Threshold("enrichment", below=1.0, confirm=True),)
    if labels:
        rules += (Threshold("shortcut_score_low", above=0.0, patience=1, warmup=0),)
    return rules
