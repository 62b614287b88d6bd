"""Two probes side by side: attention that holds on one and wanders on the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lightning_cam.monitor import Alert, AlertBook, Rule
from lightning_cam.monitor.baselines import BASELINES
from lightning_cam.watch import GAP

if TYPE_CHECKING:
    from lightning_cam.watch import Look


class Gap:
    """The difference of each metric between two probes, the first minus the second.

    With `{"train": ..., "val": ...}`, training minus validation whatever their order: attention
    that holds on training images and wanders on validation images is overfitting made visible.

    Args:
        tag: of the callback; the gaps are logged as `<tag>/gap/<metric>`.
        names: of the probes with their tags, in the callback's order.
        rules: of the callback; those whose metrics start with `gap/` are looked after here.
    """

    def __init__(self, tag: str, names: Mapping[str, str], rules: Iterable[Rule]) -> None:
        self.tag = tag
        order = sorted(names, key=lambda name: name != "train")
        self.minuend, self.subtrahend = order
        self._tags = names
        self.book = AlertBook(rule for rule in rules if rule.metric.startswith(GAP))

    def names(self, metrics: Mapping[str, Iterable[str]]) -> list[str]:
        """Return which gaps there are, without the tag, and check the rules against them.

        Args:
            metrics: by probe, the names that it logs, with their tags.

        Raises:
            ValueError: a rule is of a gap that is never logged.
        """
        sides = [self._own(name, dict.fromkeys(metrics[name], 0.0)) for name in self._pair]
        names = [f"{GAP}{metric}" for metric in sides[0] if metric in sides[1]]
        self.book.check(names)
        return names

    @property
    def _pair(self) -> tuple[str, str]:
        return self.minuend, self.subtrahend

    def _own(self, name: str, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return a probe's plain metrics: no baselines, no further maps, classes or subsets."""
        start = f"{self._tags[name]}/"
        plain = {metric.removeprefix(start): value for metric, value in metrics.items()}
        ends = tuple(f"_{base}" for base in BASELINES)
        return {m: v for m, v in plain.items() if "/" not in m and not m.endswith(ends)}

    def measure(self, looks: Mapping[str, Look]) -> dict[str, float]:
        """Return a validation's gaps without the tag, none unless both probes were looked at."""
        if not all(name in looks for name in self._pair):
            return {}
        first, second = (self._own(name, looks[name].metrics) for name in self._pair)
        return {f"{GAP}{m}": first[m] - second[m] for m in first if m in second}

    def alerts(self, gaps: Mapping[str, float], looks: Mapping[str, Look]) -> list[Alert]:
        """Take in a validation's gaps; return the alerts that they raise."""
        snapshot = looks[self.subtrahend].snapshot
        return [
            Alert(
                probe=self.tag,
                metric=rule.metric,
                value=value,
                limit=limit,
                epoch=snapshot.epoch,
                step=snapshot.step,
                verdict="saliency only",
                worst=looks[self.subtrahend].worst,
            )
            for rule, value, limit in self.book.update(gaps)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Return the rules' memory."""
        return {"rules": self.book.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back the rules' memory."""
        self.book.load_state_dict(state["rules"])


def gap_or_none(tag: str, tags: Mapping[str, str], rules: Iterable[Rule] | None) -> Gap | None:
    """Return the gap where there are two probes.

    Raises:
        ValueError: a rule is of a gap, and there is no pair of probes.
    """
    rules = tuple(rules or ())
    if len(tags) == 2:  # noqa: PLR2004
        return Gap(tag, tags, rules)
    for rule in rules:
        if rule.metric.startswith(GAP):
            raise ValueError(
                f"expected two probes for a rule of {rule.metric!r}, came {len(tags)}. Give "
                "CAMCallback({'train': 'train', 'val': 'val'})."
            )
    return None
