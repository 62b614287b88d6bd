"""`MetricSelection`: which metrics go to the loggers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias

from lightning_cam.metrics.registry import GAP, OF_CLASS, UNFLIPPED, find_metric
from lightning_cam.runtime.messages import unknown_name

HEADLINE, ALL = "headline", "all"
MetricsOption: TypeAlias = str | Sequence[str]


class MetricSelection:
    """The metrics that go to the loggers; the record and the report hold all of them.

    Args:
        option: `headline` for the few that tell runs apart, `all`, or names, in which `*` stands
            for any characters.

    Raises:
        ValueError: another word, or no name.
        TypeError: anything but text.
    """

    def __init__(self, option: MetricsOption) -> None:
        if isinstance(option, str):
            if option not in (HEADLINE, ALL):
                raise ValueError(
                    f"expected metrics='headline', 'all' or a list of names such as "
                    f"['enrichment', 'drift_*'], got {option!r}"
                )
            self.patterns: tuple[str, ...] = ()
        else:
            self.patterns = tuple(option) if isinstance(option, Iterable) else ()
            if not self.patterns or not all(isinstance(each, str) for each in self.patterns):
                kind = ValueError if option in ([], ()) else TypeError
                raise kind(
                    "expected metrics as a list of one or more names, as 'headline' or as 'all', "
                    f"got {option!r}"
                )
        self._option = option
        self._known: dict[str, bool] = {}

    def includes(self, name: str) -> bool:
        """Return whether a metric goes to the loggers.

        Args:
            name: plain name, with family, method and layer, without the tag and the probe.
        """
        if name not in self._known:  # the same names come at every evaluation
            self._known[name] = self._find(name)
        return self._known[name]

    def _find(self, name: str) -> bool:
        if self.patterns:
            return any(fnmatchcase(name, pattern) for pattern in self.patterns)
        return self._option == ALL or is_headline(name)

    def unmatched(self, names: Collection[str]) -> list[str]:
        """Return the patterns that match none of some plain names."""
        return [p for p in self.patterns if not any(fnmatchcase(name, p) for name in names)]

    def message(self, pattern: str, names: Collection[str]) -> str:
        """Return what is wrong about a pattern that matches none of some plain names."""
        return unknown_name("metric in metrics=", pattern, sorted(names))


def is_headline(name: str) -> bool:
    """Return whether a metric is among the few that tell runs apart.

    Of further maps and of the gap between two probes only what is measured on one evaluation
    alone; subsets of the images are none.

    Args:
        name: see `MetricSelection.includes`.
    """
    family, _, rest = name.partition("/")
    if family in (UNFLIPPED, OF_CLASS):
        return False
    of_gap = family == GAP
    plain, _, further = (rest if of_gap else name).partition("/")
    metric, suffix = find_metric(plain)
    if metric is None or plain not in metric.headline_names:
        return False
    alone = not suffix and metric.kind != "intervention"
    return alone if further or of_gap else True
