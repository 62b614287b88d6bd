"""`RunSummary`: what the page says of a run in words and tables, without scripts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_cam.metrics.registry import BASELINES, GAP, REFERENCES, grouped, title_of
from lightning_cam.output.report.wording import Severity, verdict

if TYPE_CHECKING:
    from lightning_cam.output.record import ProbeRecord

COLOURS = 12  # of runs; page.css has as many


@dataclass(frozen=True)
class RunSummary:
    """What the page says of a run, read by `assets/run.html.j2`.

    Attributes:
        key: by which the page's script knows the run.
        index: its place among the runs, from 0.
        name: of the run.
        level: how severe its alerts are.
        sentence: says so.
        records: of its probes.
        notes: what could not be read.
    """

    key: str
    index: int
    name: str
    level: Severity
    sentence: str
    records: Sequence[ProbeRecord]
    notes: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        key: str,
        index: int,
        name: str,
        records: Sequence[ProbeRecord],
        notes: Sequence[str] = (),
    ) -> RunSummary:
        """Return the summary of a run's records."""
        return cls(key, index, name, *verdict(records), records, notes)

    @property
    def colour(self) -> int:
        """The number of the run's colour."""
        return self.index % COLOURS

    @property
    def alerts(self) -> list[Mapping[str, Any]]:
        """The alerts of all probes."""
        return [alert for r in self.records for each in r.evaluations for alert in each.alerts]

    @property
    def facts(self) -> list[dict[str, Any]]:
        """Of each probe what it is and how often it was evaluated."""
        return [_facts(record) for record in self.records]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The table of numbers: each metric at the first and the last evaluation that knows it."""
        several = len(self.records) > 1
        return [row for record in self.records for row in _rows(record, several=several)]

    @property
    def settings(self) -> list[list[tuple[str, str]]]:
        """The settings of each probe's monitor, as text."""
        return [list(_flat(record.settings)) for record in self.records]


def when(seconds: float) -> str:
    """Return a time as the page writes it, in the machine's own time zone."""
    try:
        return dt.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):  # what a file says may be no time of a calendar
        return "at an unknown time"


def _facts(record: ProbeRecord) -> dict[str, Any]:
    evaluations = record.evaluations
    maps = list(dict.fromkeys((m.method, m.layer) for each in evaluations for m in each.maps))
    masks = "masks estimated" if record.masks_estimated else "with masks"
    return {
        "images": len(record.ids),
        "masks": masks if record.masks is not None else "without masks",
        "maps": [f"{method} at {layer}" for method, layer in maps],
        "evaluations": len(evaluations),
        "epochs": (evaluations[0].epoch, evaluations[-1].epoch) if evaluations else None,
        "times": (evaluations[0].time, evaluations[-1].time) if evaluations else None,
    }


def _rows(record: ProbeRecord, *, several: bool) -> Iterator[dict[str, Any]]:
    names = dict.fromkeys(name for each in record.evaluations for name in each.metrics)
    order = [
        f"{metric.name}_{next(iter(REFERENCES))}" if metric.moves else metric.name
        for some in grouped().values()
        for metric in some
    ]
    for name in [*order, *(name for name in names if name.startswith(f"{GAP}/"))]:
        if name not in names:
            continue
        values = [each.metrics.get(name, float("nan")) for each in record.evaluations]
        known = [value for value in values if value == value]  # noqa: PLR0124 - NaN
        last = record.evaluations[-1].metrics
        yield {
            "title": title_of(name),
            "probe": record.tag if several else "",
            "first": known[0] if known else None,
            "last": known[-1] if known else None,
            "baselines": [last.get(f"{name}_{baseline}") for baseline in BASELINES],
        }


def _flat(settings: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{start}{name}.")
        elif isinstance(value, list):
            yield f"{start}{name}", ", ".join(map(str, value)) or "none"
        else:
            words = {None: "default", True: "yes", False: "no"}
            known = value is None or isinstance(value, bool)
            yield f"{start}{name}", words[value] if known else str(value)
