"""`LiveRecord`: a record that is read as it grows, in parts that the page can take over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_cam.output.record.format import EVALUATION, HEADER
from lightning_cam.output.record.reader import (
    VersionError,
    evaluation_of,
    header_of,
    keep_evaluation,
)
from lightning_cam.output.report.payload import gap_charts, picture_key, probe_columns, probe_facts
from lightning_cam.output.server.growing_file import GrowingFile

if TYPE_CHECKING:
    from lightning_cam.output.record import EvaluationRecord, ProbeRecord

_MOST_EVALUATIONS = 20_000


class Part(NamedTuple):
    """An evaluation as the page takes it over, and where its maps are.

    Attributes:
        text: JSON of its columns, without the cells of the maps.
        start: where its line begins in the file, in bytes.
        length: of the line, in bytes.
    """

    text: str
    start: int
    length: int


class LiveRecord:
    """Reads what is added to a record, and leaves out what no recorder wrote.

    Attributes:
        record: the probe, with evaluations that have neither cells nor values per image; None
            before the header was read.
        facts: JSON of what the page draws of the probe at every evaluation.
        parts: one per evaluation.
        pictures: base64 JPEG of the probe's images by `picture_key`.
        generation: changes when what was read before does not hold any more: after another header,
            an evaluation that a resumed run repeats, a file that was replaced.

    Args:
        path: of the file; it may be gone, or be anything.
    """

    def __init__(self, path: Path) -> None:
        self._file = GrowingFile(path)
        self.generation = 0
        self._forget()

    def _forget(self) -> None:
        self.generation += 1
        self.record: ProbeRecord | None = None
        self.facts = ""
        self.parts: list[Part] = []
        self.pictures: dict[str, str] = {}
        self._damaged = 0
        self._problem = ""

    @property
    def behind(self) -> bool:
        """Whether there is more to read."""
        return self._file.behind

    @property
    def notes(self) -> list[str]:
        """What could not be read, as sentences."""
        name = self._file.path.name
        notes = [self._problem] if self._problem else []
        if self._damaged:
            lines = "1 line" if self._damaged == 1 else f"{self._damaged} lines"
            notes.append(f"{lines} of {name} left out: damaged.")
        if self._file.gone:
            notes.append(f"{name} is gone, or cannot be read any more.")
        if len(self.parts) >= _MOST_EVALUATIONS:
            notes.append(f"{name} has more than the {_MOST_EVALUATIONS} evaluations shown.")
        return notes

    def read(self) -> bool:
        """Read a piece of what was added; return whether there was anything."""
        before = self.notes
        replaced, lines = self._file.read()
        if replaced:
            self._forget()
        for start, text in lines:
            if text is not None and not text.strip():
                continue
            try:
                self._take_in(text, start)
            except Exception:  # noqa: BLE001 - a file may hold anything
                self._damaged += 1
        return bool(replaced or lines) or self.notes != before

    def _take_in(self, text: bytes | None, start: int) -> None:
        if text is None:
            raise ValueError("expected a shorter line")
        line, length = json.loads(text), len(text)
        kind = line.get("kind")
        if kind == HEADER:
            self._begin(line)
        elif kind == EVALUATION and self.record is not None:
            self._add(self.record, evaluation_of(self.record, line), Part("", start, length))
        elif kind == EVALUATION and not self._problem:
            raise ValueError("expected a header before the evaluations")

    def _begin(self, line: Mapping[str, Any]) -> None:
        """Take in a header: of a file only what follows its last one counts."""
        damaged = self._damaged
        self._forget()
        self._damaged = damaged
        try:
            record = header_of(self._file.path, line)
            self.facts = _json(probe_facts(record))
        except VersionError as error:
            self._problem = f"{error}"
            return
        # The page asks for images one by one, so they are not kept a second time.
        self.pictures = {picture_key(each): each for each in record.images}
        self.record = replace(record, images=(), masks=None if record.masks is None else ())

    def _add(self, record: ProbeRecord, evaluation: EvaluationRecord, part: Part) -> None:
        columns = probe_columns(record, [evaluation], whole=False)
        text = _json(columns | {"gaps": gap_charts([evaluation])})
        if len(self.parts) >= _MOST_EVALUATIONS:
            return
        # What the tables of the page need; the rest is in the text.
        maps = tuple(replace(each, cells="", peak=()) for each in evaluation.maps)
        kept = replace(evaluation, maps=maps, per_image={}, predictions=(), confidences=())
        replaced = keep_evaluation(record.evaluations, kept)
        if replaced:
            del self.parts[-replaced:]
            self.generation += 1
        self.parts.append(part._replace(text=text))

    def cells_of(self, index: int) -> list[tuple[str, str, str]] | None:
        """Return method, layer and cells of the maps of an evaluation, None where they are gone.

        Args:
            index: of the evaluation among those that were read.
        """
        if self.record is None or not 0 <= index < len(self.parts):
            return None
        _, start, length = self.parts[index]
        try:
            again = evaluation_of(self.record, json.loads(self._file.line_at(start, length)))
        except Exception:  # noqa: BLE001 - the file may have become anything since
            return None
        known = self.record.evaluations[index]
        shapes = [(each.method, each.layer, each.shape) for each in known.maps]
        if [(each.method, each.layer, each.shape) for each in again.maps] != shapes:
            return None
        return [(each.method, each.layer, each.cells) for each in again.maps]


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
