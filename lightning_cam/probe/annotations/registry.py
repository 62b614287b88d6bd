"""`read_annotations`: whatever an annotation tool exported, by format or by looking at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lightning_cam.probe.annotations import coco, cvat, label_studio, mask_files, voc, yolo
from lightning_cam.probe.annotations.files import Source, reading
from lightning_cam.probe.annotations.regions import ImageAnnotation
from lightning_cam.runtime.messages import unknown_name


@dataclass(frozen=True)
class Format:
    """A format of annotations.

    Attributes:
        title: for people.
        detect: whether a file or folder is of this format.
        read: the annotations in it, one per image.
    """

    title: str
    detect: Callable[[Source], bool]
    read: Callable[[Source], list[ImageAnnotation]]


# In the order in which a path is tried: formats with more marks of their own first.
FORMATS = {
    "coco": Format(coco.TITLE, coco.is_coco, coco.read_coco),
    "label_studio": Format(
        label_studio.TITLE, label_studio.is_label_studio, label_studio.read_label_studio
    ),
    "cvat": Format(cvat.TITLE, cvat.is_cvat, cvat.read_cvat),
    "voc": Format(voc.TITLE, voc.is_voc, voc.read_voc),
    "yolo": Format(yolo.TITLE, yolo.is_yolo, yolo.read_yolo),
    "masks": Format(mask_files.TITLE, mask_files.is_mask_folder, mask_files.read_mask_files),
}


def read_annotations(path: str | Path, format: str | None = None) -> list[ImageAnnotation]:  # noqa: A002
    """Return the annotations in a file or folder, one per image.

    Args:
        path: the file or folder.
        format: a key of `FORMATS`; by default the first that fits.

    Raises:
        ValueError: an unknown format, none that fits, or a damaged file.
        OSError: there is no such file, or it cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"expected annotations, got {path}: no such file or folder")
    if format is not None and format not in FORMATS:
        raise ValueError(unknown_name("format of annotations", format, FORMATS))
    source = Source(path)
    chosen = FORMATS[format] if format is not None else _format_of(source)
    with reading(path, chosen.title):
        return chosen.read(source)


def _format_of(source: Source) -> Format:
    """Return the format of a file or folder.

    Raises:
        ValueError: of no format.
        OSError: it cannot be read.
    """
    path = source.path
    with reading(path, "annotation"):
        found = next((each for each in FORMATS.values() if each.detect(source)), None)
    if found is None:
        titles = ", ".join(each.title for each in FORMATS.values())
        hint = " Unpack it first." if path.suffix.lower() == ".zip" else ""
        raise ValueError(f"expected annotations as {titles}, got {path}, which is none.{hint}")
    return found
