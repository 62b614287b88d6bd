"""Alerts: a rule that was triggered, and what an intervention says of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lightning_cam._messages import unknown
from lightning_cam.monitor.rules import Level, Rule, RuleState

Verdict = Literal["confirmed", "contradicted", "saliency only"]

# How much of what the model knows must hang on the background for it to be called reliance; without
# masks on the rim, which may hold a part of the object. Chosen on some runs of
# `python -m benchmarks.shortcut`, measured on others.
RELIANCE, RIM_RELIANCE = 0.25, 0.3


@dataclass(frozen=True)
class Alert:
    """What is told to people, once, when a rule is triggered.

    Attributes:
        probe: the tag of the probe, e.g. `cam` or `cam/val`.
        metric: whose course triggered the rule.
        value: the metric's value.
        limit: what the rule compared it, or its chart's statistic, with.
        epoch: the trainer's epoch.
        step: the step of the trainer's scalars.
        verdict: whether interventions show that the model uses the background (`confirmed`), do not
            (`contradicted`), or could not be made (`saliency only`).
        evidence: the interventions' metrics.
        worst: ids of the images that are furthest off.
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
        proof = ", ".join(f"{name} {value:.2f}" for name, value in self.evidence.items())
        proof = f"estimated masks, {proof}" if self.estimated else proof
        hint = f"not confirmed: that takes masks and labels ({proof})" if proof else ""
        verdict = {
            "confirmed": f"CONFIRMED: the model uses the background ({proof})",
            "contradicted": f"contradicted: the score hardly depends on the background ({proof})",
            "saliency only": hint or "saliency only: interventions need masks and labels",
        }[self.verdict]
        worst = f" Worst: {', '.join(self.worst)}." if self.worst else ""
        return (
            f"{self.probe}/{self.metric} is {self.value:.2f} (limit {self.limit:.2f}) at epoch "
            f"{self.epoch}. {verdict}.{worst}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return primitives for JSON; numbers that JSON does not know become None."""
        plain = {**asdict(self), "worst": list(self.worst), "message": str(self)}
        plain["evidence"] = {name: _finite(value) for name, value in self.evidence.items()}
        return {k: _finite(v) if isinstance(v, float) else v for k, v in plain.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def default_rules(*, masks: bool, labels: bool) -> tuple[Rule, ...]:
    """Return the rules that work without configuration, by what a probe knows.

    With masks: attention off the object, unless interventions contradict it, and with labels also a
    score that hangs on the background. Without masks: a score that hangs on the image's rim.
    The limits' false alarms are measured by `python -m benchmarks.shortcut`.
    """
    if not masks:
        return (Level("rim_reliance", above=RIM_RELIANCE, warmup=0),) if labels else ()
    rules: tuple[Rule, ...] = (Level("enrichment", below=1.0, confirm=True),)
    if labels:
        rules += (Level("background_reliance", above=RELIANCE, warmup=0),)
    return rules


def verdict_of(evidence: Mapping[str, float]) -> Verdict:
    """Return what interventions say of the model's reliance on the background."""
    reliance = evidence.get("background_reliance", math.nan)
    if not math.isfinite(reliance):
        return "saliency only"
    return "confirmed" if reliance >= RELIANCE else "contradicted"


class AlertBook:
    """Rules with their memory, for one probe.

    Args:
        rules: what to look for.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._states = [RuleState() for _ in self.rules]

    def check(self, known: Iterable[str]) -> None:
        """Raise ValueError when a rule is of a metric that is never logged."""
        names = list(known)
        for rule in self.rules:
            for metric in filter(None, (rule.metric, rule.unit)):
                if metric not in names:
                    raise ValueError(unknown("metric in a rule", metric, names))

    def update(
        self, metrics: Mapping[str, float], verdict: Verdict = "saliency only"
    ) -> list[tuple[Rule, float, float]]:
        """Take in a validation's metrics; return the rules that they trigger, value and limit.

        Args:
            metrics: by name without the tag.
            verdict: what interventions say at this validation.
        """
        triggered = []
        for rule, state in zip(self.rules, self._states, strict=True):
            value = metrics.get(rule.metric, math.nan)
            unit = metrics.get(rule.unit, math.nan) if rule.unit else 1.0
            if not rule.update(state, value, unit):
                continue
            if rule.confirm and verdict == "contradicted":
                state.active = False  # the streak stands, so the next value asks again
            else:
                triggered.append((rule, value, state.limit))
        return triggered

    def is_suspicious(self) -> bool:
        """Tell whether a rule has values beyond its limit but not yet enough of them."""
        return any(state.streak and not state.active for state in self._states)

    def would_trigger(self, metrics: Mapping[str, float]) -> bool:
        """Tell whether `update` would trigger a rule, without taking the metrics in."""
        return bool(copy.deepcopy(self).update(metrics))

    def state_dict(self) -> list[dict[str, Any]]:
        """Return each rule's metric and memory."""
        pairs = zip(self.rules, self._states, strict=True)
        return [{"metric": rule.metric, **state.state_dict()} for rule, state in pairs]

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Take back memories of the same rules; other rules start afresh."""
        if [state["metric"] for state in states] == [rule.metric for rule in self.rules]:
            self._states = [
                RuleState(**{k: v for k, v in state.items() if k != "metric"}) for state in states
            ]
