"""`LiveRun`: one run whose records grow, and what is new in it for a page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from lightning_cam.output.report.page import render_parts
from lightning_cam.output.report.payload import choice_of_colours
from lightning_cam.output.report.summary import RunSummary
from lightning_cam.output.server.live_record import LiveRecord
from lightning_cam.output.server.runs import record_files


class Known(NamedTuple):
    """What a page has of a run.

    Attributes:
        words: version of what it says of the run, empty for nothing.
        records: by number of a record its generation, and how many evaluations the page has.
    """

    words: str = ""
    records: Mapping[int, tuple[int, int]] = {}


class Words(NamedTuple):
    """What the page says of a run.

    Attributes:
        version: changes with everything that is read.
        summary: to render the page with.
        text: JSON of the parts of the page that are about the run.
    """

    version: str
    summary: RunSummary
    text: str


class LiveRun:
    """A run, read as it grows.

    Attributes:
        key: by which a page names the run; no part of its path.
        path: of its folder.
        records: in the order in which they were found.

    Args:
        path: of its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key = hashlib.sha256(str(path).encode("utf-8", "replace")).hexdigest()[:10]
        self.records: list[LiveRecord] = []
        self._found: set[Path] = set()
        self._changes = 0
        self._words: Words | None = None

    @property
    def behind(self) -> bool:
        """Whether there is more to read."""
        return any(record.behind for record in self.records)

    def read(self) -> None:
        """Read a piece of what was added."""
        for path in record_files(self.path):
            if path not in self._found:
                self._found.add(path)
                self.records.append(LiveRecord(path))
        self._changes += sum(record.read() for record in self.records)

    def words(self, index: int, name: str) -> Words:
        """Return what the page says of the run, as far as it was read.

        Args:
            index: the run's place among all runs.
            name: of the run.
        """
        state = f"{self._changes} {index} {name}"
        version = hashlib.sha256(state.encode("utf-8", "replace")).hexdigest()[:10]
        if self._words is None or self._words.version != version:
            try:
                self._words = self._worded(version, index, name)
            except Exception as error:  # noqa: BLE001 - a record may hold anything
                reason = f"What it says cannot be shown: {type(error).__name__}."
                empty = RunSummary.of(self.key, index, name, [], [reason])
                self._words = Words(version, empty, json.dumps(render_parts(empty)))
        return self._words

    def _worded(self, version: str, index: int, name: str) -> Words:
        records = [each.record for each in self.records if each.record is not None]
        records.sort(key=lambda record: record.tag)
        notes = [note for record in self.records for note in record.notes]
        summary = RunSummary.of(self.key, index, name, records, notes)
        settings = records[0].settings if records else {}
        parts = render_parts(summary) | {"colours": choice_of_colours(settings)}
        return Words(version, summary, json.dumps(parts))

    def news(self, index: int, name: str, known: Known, room: int) -> tuple[str, bool]:
        """Return as JSON what a page does not know yet, and whether something did not fit.

        Args:
            index: the run's place among all runs.
            name: of the run.
            known: what the page has.
            room: how many characters of evaluations may be sent.
        """
        probes = []
        for number, record in enumerate(self.records):
            has = known.records.get(number, (0, 0))
            probe, room = _probe_news(number, record, has, room)
            probes += probe
        fields = [f'"probes":[{",".join(probes)}]'] if probes else []
        words = None if self.behind else self.words(index, name)
        if words is not None and words.version != known.words:
            fields += [f'"words":{words.text}', f'"version":"{words.version}"']
        text = "{" + ",".join([f'"key":"{self.key}"', *fields]) + "}" if fields else ""
        return text, room <= 0


def _probe_news(
    number: int, record: LiveRecord, known: tuple[int, int], room: int
) -> tuple[list[str], int]:
    """Return what is new in a record, in a list of at most one text, and the room left after it."""
    generation, count = known
    if generation != record.generation:
        count = 0
    if not record.facts or (count >= len(record.parts) and generation == record.generation):
        return [], room
    end = count
    while end < len(record.parts) and room > 0:
        room -= len(record.parts[end].text)
        end += 1
    parts = ",".join(part.text for part in record.parts[count:end])
    facts = f'"facts":{record.facts},' if count == 0 else ""
    start = f'"record":{number},"generation":{record.generation},"from":{count},'
    return [f'{{{start}{facts}"parts":[{parts}]}}'], room
