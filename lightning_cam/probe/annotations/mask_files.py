"""A folder of masks as image files, laid out like the folder of images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lightning_cam.probe.annotations.files import Source
from lightning_cam.probe.annotations.regions import ImageAnnotation, MaskFile, Region

TITLE = "mask images"
_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".jpg", ".jpeg")


def is_mask_folder(source: Source) -> bool:
    """Return whether it is a folder with images in it."""
    return source.path.is_dir() and next(_files(source.path), None) is not None


def read_mask_files(source: Source) -> list[ImageAnnotation]:
    """Return a mask for each image: pixels that are neither black nor transparent."""
    return [
        ImageAnnotation(file.relative_to(source.path).as_posix(), (Region(MaskFile(file)),))
        for file in _files(source.path)
    ]


def _files(folder: Path) -> Iterator[Path]:
    files = sorted(folder.rglob("*"))
    return (f for f in files if f.suffix.lower() in _SUFFIXES and not f.name.startswith("."))
