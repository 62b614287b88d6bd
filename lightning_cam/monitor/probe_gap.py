"""`ProbeGap`: the difference of each metric between two probes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lightning_cam.metrics.registry import BASELINES, GAP
from lightning_cam.monitor.alerts import Alert
from lightning_cam.monitor.rule_set import RuleSet

if TYPE_CHECKING:
    from lightning_cam.monitor.evaluation import Evaluation
    from lightning_cam.monitor.rules import Rule

PREFIX = f"{GAP}/"


class ProbeGap:
    """The metrics of the first probe minus those of the second, as `gap/<metric>`.

    With `{"train": ..., "val": ...}` training minus validation, whatever their order: attention
    that stays on the object in training images and leaves it in validation images is overfitting.
    The gap, and the alerts that it raises, are part of the second probe's evaluation.

    Args:
        tag: of the monitor, for alerts.
        probes: the names of the two probes.
        rules: those of `gap/` metrics are taken.
    """

    def __init__(self, tag: str, probes: Sequence[str], rules: Iterable[Rule]) -> None:
        self._tag = tag
        self.first, self.second = sorted(probes, key=lambda name: name != "train")
        self.rules = RuleSet(rule for rule in rules if rule.metric.startswith(PREFIX))

    def metric_names(self, names: Mapping[str, Iterable[str]]) -> list[str]:
        """Return the names of the gaps that will be measured.

        Args:
            names: of the metrics of each probe.
        """
        second = set(names[self.second])
        return [f"{PREFIX}{name}" for name in names[self.first] if _has_gap(name, second)]

    def add_to(
        self, evaluations: Mapping[str, Evaluation], *, update_rules: bool
    ) -> dict[str, Evaluation]:
        """Return the evaluations, the second probe's with the gap and its alerts.

        Args:
            evaluations: by probe; unchanged unless there is one of each.
            update_rules: whether rules see the gap.
        """
        found = dict(evaluations)
        pair = [found.get(name) for name in (self.first, self.second)]
        if any(each is None or each.failed for each in pair):
            return found
        first, second = found[self.first], found[self.second]
        known = set(second.metrics)
        gap = {
            f"{PREFIX}{name}": value - second.metrics[name]
            for name, value in first.metrics.items()
            if _has_gap(name, known)
        }
        alerts = self._alerts(gap, second) if update_rules else []
        found[self.second] = replace(
            second, metrics={**second.metrics, **gap}, alerts=(*second.alerts, *alerts)
        )
        return found

    def _alerts(self, gap: Mapping[str, float], evaluation: Evaluation) -> list[Alert]:
        return [
            Alert(
                probe=self._tag,
                metric=rule.metric,
                value=value,
                limit=limit,
                epoch=evaluation.epoch,
                step=evaluation.step,
                verdict="saliency only",
                worst=evaluation.worst,
            )
            for rule, value, limit in self.rules.update(gap)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the rules."""
        return {"rules": self.rules.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of the rules.

        Raises:
            Exception: of any kind, where the state is damaged.
        """
        self.rules.load_state_dict(state["rules"])


def gap_of(tag: str, probes: Sequence[str], rules: Iterable[Rule] | None) -> ProbeGap | None:
    """Return the gap where there are two probes, else None.

    Raises:
        ValueError: a rule is about a gap, and there are not two probes.
    """
    rules = tuple(rules or ())
    if len(probes) == 2:  # noqa: PLR2004
        return ProbeGap(tag, probes, rules)
    for rule in rules:
        if rule.metric.startswith(PREFIX):
            raise ValueError(
                f"expected two probes for a rule of {rule.metric!r}, got {len(probes)}. Give "
                "CAMCallback({'train': 'train', 'val': 'val'})."
            )
    return None


def _has_gap(name: str, other: set[str]) -> bool:
    """Return whether a metric of both probes has a gap: no baseline, further map or subset."""
    baseline = name.endswith(tuple(f"_{each}" for each in BASELINES))
    return name in other and "/" not in name and not baseline
