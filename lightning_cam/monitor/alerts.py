"""`Alert`: a rule that was triggered, and what interventions say about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lightning_cam.interventions import ATTRIBUTES
from lightning_cam.output.protocols import Verdict

_RELIANCE = "shortcut_score"
_INTERVAL = 1.96  # standard errors, of a 95 % interval
_ERRORS = 2  # standard errors below the limit, from which an attribute is said not to be used


@dataclass(frozen=True)
class Alert:
    """What is reported, once, when a rule is triggered.

    Attributes:
        probe: the tag of the probe, e.g. `cam` or `cam/val`; of the monitor for a gap.
        metric: plain name of the metric whose values triggered the rule.
        value: the metric's value.
        limit: what the rule compared it, or its chart's statistic, with.
        epoch: the trainer's epoch.
        step: the step under which the scalars are logged.
        verdict: whether interventions show that the model relies on one attribute (`confirmed`),
            show that it does not use the background (`contradicted`), or say neither (`saliency
            only`).
        evidence: metrics of the interventions.
        attribute: the attribute that is relied on, such as `patch`; empty where none is confirmed.
        cue: the same in words, with its place.
        worst: ids of the images whose maps are furthest off the object.
        estimated: whether the masks were estimated.
    """

    probe: str
    metric: str
    value: float
    limit: float
    epoch: int
    step: int
    verdict: Verdict
    evidence: Mapping[str, float] = field(default_factory=dict)
    attribute: str = ""
    cue: str = ""
    worst: Sequence[str] = ()
    estimated: bool = False

    def __str__(self) -> str:
        worst = f" Worst: {', '.join(self.worst)}." if self.worst else ""
        masks = " The masks are estimated." if self.estimated else ""
        what = {
            "confirmed": self._confirmed,
            "contradicted": "Contradicted: exchanging the background hardly changes the answers.",
            "saliency only": "Not confirmed by interventions.",
        }[self.verdict]
        if not self.metric.startswith(_RELIANCE):  # what interventions measure is in the sentence
            what = (
                f"{self.probe}/{self.metric} is {self.value:.2f} (limit {self.limit:.2f}) at epoch "
                f"{self.epoch}. {what}"
            )
        return f"{what}{worst}{masks}"

    @property
    def _confirmed(self) -> str:
        name = f"{self.attribute}_reliance"
        share, error = (self.evidence.get(f"{name}{each}", math.nan) for each in ("", "_se"))
        interval = f" ± {_INTERVAL * error:.0%}" if math.isfinite(error) else ""
        return (
            f"CONFIRMED: the model relies on {self.cue} ({self.probe}, epoch {self.epoch}): "
            f"exchanging it between classes costs {share:.0%}{interval} of what the model knows"
            f"{self._at_least} Look at {self.probe}/overlay and at {self.probe}/{name}; what to "
            f"do: docs/alerts.md#{self.attribute}."
        )

    @property
    def _at_least(self) -> str:
        """What is beyond doubt: of the attribute that leads, else of one that it is a part of."""
        low = {name: self.evidence.get(f"{name}_reliance_low", 0.0) for name in ATTRIBUTES}
        if low.get(self.attribute, 0.0) > 0:
            return f", at least {low[self.attribute]:.0%} over the whole training."
        whole = max(low, key=lambda name: low[name])
        return (
            f". It may be a part of what is beyond doubt, {ATTRIBUTES[whole].cue}: at least "
            f"{low[whole]:.0%} over the whole training."
        )

    def as_dict(self) -> dict[str, Any]:
        """Return primitives for JSON; numbers that are not finite become None."""
        plain = {**asdict(self), "worst": list(self.worst), "message": str(self)}
        plain["evidence"] = {name: _finite(value) for name, value in self.evidence.items()}
        return {k: _finite(v) if isinstance(v, float) else v for k, v in plain.items()}


def verdict_of(evidence: Mapping[str, float]) -> Verdict:
    """Return what interventions say: whether one attribute is relied on.

    Args:
        evidence: their metrics at this evaluation; empty where none were made.
    """
    if evidence.get("shortcut_score_low", 0.0) > 0:
        return "confirmed"
    reliance, error = (evidence.get(f"background_reliance{each}", math.nan) for each in ("", "_se"))
    limit = ATTRIBUTES["background"].limit
    assert limit is not None
    return "contradicted" if reliance + _ERRORS * error < limit else "saliency only"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
