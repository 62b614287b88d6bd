"""PASCAL VOC: an XML file per image; where there are any, masks in `SegmentationObject`."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from lightning_cam.probe.annotations.files import Source, read_xml, reading, text_of
from lightning_cam.probe.annotations.rasterize import check_size
from lightning_cam.probe.annotations.regions import (
    ImageAnnotation,
    MaskFile,
    Region,
    Shape,
    box,
    polygon,
)

TITLE = "PASCAL VOC"
_HEIGHT_WIDTH = ("height", "width")
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def is_voc(source: Source) -> bool:
    """Return whether it is such a file, or a folder of XML files."""
    if source.path.is_dir():
        return next(source.path.rglob("*.xml"), None) is not None
    return source.xml is not None and source.xml.tag == "annotation"


def read_voc(source: Source) -> list[ImageAnnotation]:
    """Return the annotations of each image: its objects' masks, polygons, else boxes.

    Coordinates count pixels from 1 on, both ends included. An image's name is that of its file of
    annotations, since `<filename>` is often wrong after images were moved.

    Raises:
        ValueError: a part is missing, or is something else.
    """
    path = source.path
    folder = path if path.is_dir() else path.parent
    files = sorted(path.rglob("*.xml")) if path.is_dir() else [path]
    return [_annotation(file, folder) for file in files]


def _annotation(file: Path, folder: Path) -> ImageAnnotation:
    with reading(file, TITLE):
        root = read_xml(file)
        if root.tag != "annotation":
            raise ValueError(f"expected <annotation>, got <{root.tag}>")
        size = check_size(*(int(float(text_of(root, f"size/{side}"))) for side in _HEIGHT_WIDTH))
        masks = _masks_of_objects(file, root)
        regions = [
            Region(_shape(each, masks, number), text_of(each, "name"))
            for number, each in enumerate(root.findall("object"), start=1)
        ]
    name = file.relative_to(folder).with_suffix("").as_posix()
    return ImageAnnotation(name, tuple(regions), size)


def _masks_of_objects(file: Path, root: Element) -> Path | None:
    """Return the image in which an object's pixels have its number, counted from 1."""
    if (root.findtext("segmented") or "0").strip() != "1":
        return None
    masks = file.parent.parent / "SegmentationObject" / f"{file.stem}.png"
    return masks if masks.is_file() else None


def _shape(element: Element, masks: Path | None, number: int) -> Shape:
    if masks is not None:
        return MaskFile(masks, number)
    corners = element.find("polygon")
    if corners is not None:  # <x1>, <y1>, <x2>, ...; the box beside it is its bounds
        numbers = {part.tag: part.text or "" for part in corners}
        count = len(numbers) // 2
        return polygon([numbers[f"{axis}{n}"] for n in range(1, count + 1) for axis in "xy"])
    x1, y1, x2, y2 = (float(text_of(element, f"bndbox/{side}")) for side in _SIDES)
    return box(x1 - 1, y1 - 1, x2, y2)
