"""`images_of`: the images of a run that can be labelled, from its record."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_cam.output.record import ProbeRecord, read_run
from lightning_cam.output.record.reader import reading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelImage:
    """An image of a run's probe.

    Attributes:
        fingerprint: of its pixels, as `Probe.image_fingerprints` has it.
        id: its name in the probe.
        label: the names of its classes, empty where they are unknown.
        jpeg: as it was recorded.
        pixels: (H, W, 3) uint8, the same decoded.
    """

    fingerprint: str
    id: str
    label: str
    jpeg: bytes
    pixels: NDArray[np.uint8]


def images_of(run: str | Path) -> list[LabelImage]:
    """Return the recorded images of a run's probes, each once.

    Args:
        run: folder of the run.

    Raises:
        ValueError: no record, a damaged one, one without images, or one of an older version that
            does not say which image is which.
        OSError: a file cannot be read.
    """
    records = read_run(run)
    recorded = [record for record in records if record.images]
    if not recorded:
        raise ValueError(
            f"expected recorded images in {run}, got none: num_pictures was 0. Label another run"
        )
    known = [record for record in recorded if record.image_fingerprints]
    if not known:
        raise ValueError(
            f"expected a record that says which image is which, got one of an older lightning_cam "
            f"in {run}. Train for one epoch with this version, on the same data, and label that run"
        )
    found: dict[str, LabelImage] = {}
    for record in known:
        with reading(record.path):
            for image in _images(record):
                found.setdefault(image.fingerprint, image)
    return list(found.values())


def _images(record: ProbeRecord) -> list[LabelImage]:
    from lightning_cam.render import decode

    made = []
    for row, text in enumerate(record.images):
        data = base64.b64decode(text)
        label = _label(record, row)
        fingerprint = record.image_fingerprints[row]
        made.append(LabelImage(fingerprint, record.ids[row], label, data, decode(data)))
    return made


def _label(record: ProbeRecord, row: int) -> str:
    if record.targets is None:
        return ""
    target = record.targets[row]
    labels: Sequence[int] = [target]
    if record.multi_label:
        labels = [label for label, present in enumerate(target) if present]
    return ", ".join(record.name_of(label) for label in labels)
