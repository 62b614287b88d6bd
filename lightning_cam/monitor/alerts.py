"""`Alert`: a rule that was triggered, and what interventions say about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lightning_cam.monitor.default_rules import BACKGROUND_LIMIT
from lightning_cam.output.protocols import Verdict


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
        verdict: whether interventions show that the model uses the background (`confirmed`), show
            that it does not (`contradicted`), or could not be run (`saliency only`).
        evidence: metrics of the interventions.
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
    worst: Sequence[str] = ()
    estimated: bool = False

    def __str__(self) -> str:
        evidence = ", ".join(f"{name} {value:.2f}" for name, value in self.evidence.items())
        evidence = f"estimated masks, {evidence}" if self.estimated else evidence
        unconfirmed = f"not confirmed: that needs masks and labels ({evidence})" if evidence else ""
        verdict = {
            "confirmed": f"CONFIRMED: the model uses the background ({evidence})",
            "contradicted": (
                f"contradicted: the score hardly depends on the background ({evidence})"
            ),
            "saliency only": unconfirmed or "saliency only: no intervention tested it",
        }[self.verdict]
        worst = f" Worst: {', '.join(self.worst)}." if self.worst else ""
        return (
            f"{self.probe}/{self.metric} is {self.value:.2f} (limit {self.limit:.2f}) at epoch "
            f"{self.epoch}. {verdict}.{worst}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return primitives for JSON; numbers that are not finite become None."""
        plain = {**asdict(self), "worst": list(self.worst), "message": str(self)}
        plain["evidence"] = {name: _finite(value) for name, value in self.evidence.items()}
        return {k: _finite(v) if isinstance(v, float) else v for k, v in plain.items()}


def verdict_of(evidence: Mapping[str, float]) -> Verdict:
    """Return what interventions say about the model's reliance on the background."""
    reliance = evidence.get("background_reliance", math.nan)
    if not math.isfinite(reliance):
        return "saliency only"
    return "confirmed" if reliance >= BACKGROUND_LIMIT else "contradicted"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
