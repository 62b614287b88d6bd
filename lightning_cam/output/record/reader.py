"""`read_run`: read back what a run recorded, however it ended."""

from __future__ import annotations

import base64
import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_cam.output.record.format import (
    EVALUATION,
    HEADER,
    VERSION,
    read_lines,
    record_paths,
)
from lightning_cam.output.record.line_check import check_evaluation, check_header

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class MapRecord:
    """The maps of one method at one layer.

    Attributes:
        method: name of the method.
        layer: name of the layer.
        shape: number of maps, height and width in cells; at most 32 cells per side.
        peak: each map's maximum, NaN where it was not finite.
        cells: base64 of uint8 in the order of `shape`, each map relative to its maximum.
    """

    method: str
    layer: str
    shape: tuple[int, int, int]
    peak: tuple[float, ...]
    cells: str

    def relative(self) -> NDArray[np.uint8]:
        """Return the maps as (n, h, w) uint8, 255 where each has its maximum."""
        return np.frombuffer(base64.b64decode(self.cells), np.uint8).reshape(self.shape)

    def values(self) -> NDArray[np.float32]:
        """Return the maps as (n, h, w) float32, to within 1/510 of each maximum."""
        peak = np.array(self.peak, np.float32).reshape(-1, 1, 1)
        return np.asarray(self.relative() * (peak / 255), dtype=np.float32)


@dataclass(frozen=True)
class EvaluationRecord:
    """What one evaluation gave.

    Attributes:
        index: how many evaluations came before it.
        epoch: the trainer's epoch.
        step: the step under which its scalars were logged.
        time: seconds since 1970 when it was written.
        metrics: mean over the probe by plain name, NaN where undefined.
        per_image: metrics of the first map, one value per map, NaN where undefined.
        maps: of the drawn images, by method and layer.
        drawn: for each recorded map its index among all maps.
        rows: the image of each map.
        classes: the class that each map explains, -1 where there is none.
        predictions: the predicted class of each image; of several labels whether each is predicted.
        confidences: the prediction's probability; of several labels each one's.
        evidence: metrics of interventions, empty where none were made.
        alerts: as `Alert.as_dict` returns them.
        worst: ids of the images whose maps are furthest off the object.
    """

    index: int
    epoch: int
    step: int
    time: float
    metrics: Mapping[str, float]
    per_image: Mapping[str, tuple[float, ...]]
    maps: tuple[MapRecord, ...]
    drawn: tuple[int, ...]
    rows: tuple[int, ...]
    classes: tuple[int, ...]
    predictions: Sequence[Any]
    confidences: Sequence[Any]
    evidence: Mapping[str, float]
    alerts: Sequence[Mapping[str, Any]]
    worst: tuple[str, ...]


@dataclass(frozen=True)
class ProbeRecord:
    """What a run recorded about one probe.

    Attributes:
        path: the file.
        tag: what the names of the probe's metrics start with.
        fingerprint: changes with any pixel, label or mask.
        ids: of all images.
        class_names: by index, or None.
        targets: one label per image, or a list of 0 and 1 per image, or None.
        multi_label: whether images have several labels.
        masks_estimated: whether the masks were estimated rather than given.
        images: base64 JPEG of the drawn images, which are the probe's first.
        masks: base64 PNG of their objects, or None.
        settings: the monitor's configuration.
        environment: versions and device.
        image_fingerprints: of all images, see `Probe`; empty in records of older versions.
        evaluations: in order.
    """

    path: Path
    tag: str
    fingerprint: str
    ids: tuple[str, ...]
    class_names: tuple[str, ...] | None
    targets: Sequence[Any] | None
    multi_label: bool
    masks_estimated: bool
    images: tuple[str, ...]
    masks: tuple[str, ...] | None
    settings: Mapping[str, Any]
    environment: Mapping[str, str]
    image_fingerprints: tuple[str, ...] = ()
    evaluations: list[EvaluationRecord] = field(default_factory=list)

    def name_of(self, label: int) -> str:
        """Return a class's name, its index where it has none, and `?` for -1."""
        if self.class_names is not None and 0 <= label < len(self.class_names):
            return self.class_names[label]
        return str(label) if label >= 0 else "?"


def read_run(folder: str | Path) -> list[ProbeRecord]:
    """Return the record of each probe of a run, in the order of their tags.

    Of a file only what follows its last header counts, since another header means another probe or
    other settings. A resumed run writes again from where its checkpoint was: its evaluations
    replace earlier ones from there on. Incomplete lines are left out, with a warning.

    Args:
        folder: of the run, or the folder `lightning_cam` in it.

    Raises:
        ValueError: there is no record, or one that is damaged or that this version cannot read; the
            message says which file.
        OSError: a file cannot be read.
    """
    folder = Path(folder)
    paths = record_paths(folder)
    records = [read_record(path) for path in paths]
    if not paths:  # the folder of the records itself; files of a run beside it are none
        read = (_read(path) for path in sorted(folder.glob("*.jsonl")))
        records = [record for record in read if record is not None]
    if not records:
        got = "a folder without any" if folder.is_dir() else "no folder"
        raise ValueError(
            f"expected the folder of a run with lightning_cam/*.jsonl in it, got {got}: {folder}. "
            "CAMCallback writes them into the trainer's log_dir."
        )
    return sorted(records, key=lambda record: record.tag)


def read_record(path: Path, end: int | None = None) -> ProbeRecord:
    """Return a file's record.

    Args:
        path: of the file.
        end: how many of its bytes are read, for a file that is being written; by default all.

    Raises:
        ValueError: it has none, or one that is damaged or that this version cannot read.
        OSError: it cannot be read.
    """
    record = _read(path, end)
    if record is None:
        got = "an empty file" if not path.stat().st_size else "a file without a header"
        raise ValueError(f"expected a record of lightning_cam, got {got}: {path}")
    return record


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever the body raises over a record's content into a ValueError that names the file.

    What an encoded image holds is only known when it is decoded.
    """
    try:
        yield
    except VersionError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"expected a sound record of lightning_cam, got {path}: {reason or repr(error)}"
        ) from error


def _read(path: Path, end: int | None = None) -> ProbeRecord | None:
    """Return a file's record, None where it is no record."""
    lines = read_lines(path, end)
    headers = [number for number, line in enumerate(lines) if line.get("kind") == HEADER]
    if not headers:
        return None
    with reading(path):
        header, *others = lines[headers[-1] :]
        record = header_of(path, header)
        for line in others:
            if line.get("kind") == EVALUATION:
                keep_evaluation(record.evaluations, evaluation_of(record, line))
    return record


def keep_evaluation(evaluations: list[EvaluationRecord], evaluation: EvaluationRecord) -> int:
    """Add an evaluation, instead of those that a resumed run repeats; return how many these are."""
    count = len(evaluations)
    while evaluations and evaluations[-1].index >= evaluation.index:
        evaluations.pop()
    replaced = count - len(evaluations)
    evaluations.append(evaluation)
    return replaced


class VersionError(ValueError):
    """A record of another version."""


def _check_version(path: Path, line: Mapping[str, Any]) -> None:
    if line.get("version") != VERSION:
        found = line.get("environment")
        writer = found.get("lightning_cam", "unknown") if isinstance(found, dict) else "unknown"
        raise VersionError(
            f"expected a record of version {VERSION}, got version {line.get('version')!r} in "
            f"{path}, written by lightning_cam {writer}. Read it with that version or a newer one."
        )


def header_of(path: Path, line: Mapping[str, Any]) -> ProbeRecord:
    """Return the record that a line of kind `HEADER` begins, without evaluations.

    Raises:
        ValueError: the line is damaged, or of another version.
    """
    _check_version(path, line)
    check_header(line)
    names, masks = line["class_names"], line["masks"]
    return ProbeRecord(
        path=path,
        tag=line["tag"],
        fingerprint=line["fingerprint"],
        ids=tuple(line["ids"]),
        class_names=None if names is None else tuple(names),
        targets=line["targets"],
        multi_label=line["multi_label"],
        masks_estimated=line["masks_estimated"],
        images=tuple(line["images"]),
        masks=None if masks is None else tuple(masks),
        settings=line["settings"],
        environment=line["environment"],
        image_fingerprints=tuple(line.get("image_fingerprints", ())),
    )


def evaluation_of(record: ProbeRecord, line: Mapping[str, Any]) -> EvaluationRecord:
    """Return the evaluation in a line of kind `EVALUATION`.

    Raises:
        ValueError: the line is damaged, or does not fit the record.
    """
    check_evaluation(line, len(record.ids), multi_label=record.multi_label)
    maps = (
        MapRecord(m["method"], m["layer"], tuple(m["shape"]), _floats(m["peak"]), m["cells"])
        for m in line["maps"]
    )
    return EvaluationRecord(
        index=line["index"],
        epoch=line["epoch"],
        step=line["step"],
        time=line["time"],
        metrics={name: _float(value) for name, value in line["metrics"].items()},
        per_image={name: _floats(values) for name, values in line["per_image"].items()},
        maps=tuple(maps),
        drawn=tuple(line["drawn"]),
        rows=tuple(line["rows"]),
        classes=tuple(line["classes"]),
        predictions=line["predictions"],
        confidences=line["confidences"],
        evidence={name: _float(value) for name, value in line["evidence"].items()},
        alerts=line["alerts"],
        worst=tuple(line["worst"]),
    )


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _floats(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(_float(value) for value in values)
