"""CVAT for images 1.1: https://docs.cvat.ai/docs/other/xml_format."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from lightning_cam.probe.annotations.files import Source
from lightning_cam.probe.annotations.rasterize import check_runs, check_size
from lightning_cam.probe.annotations.regions import (
    ImageAnnotation,
    Region,
    Runs,
    Shape,
    box,
    coordinates,
    ellipse,
    polygon,
    rectangle,
    turned,
)

TITLE = "CVAT"


def is_cvat(source: Source) -> bool:
    """Return whether it is such a file."""
    return source.xml is not None and source.xml.tag == "annotations"


def read_cvat(source: Source) -> list[ImageAnnotation]:
    """Return the annotations of each image: masks, polygons, boxes and ellipses.

    Lines, points and cuboids have no area and are left out.

    Raises:
        ValueError: a part is missing, or is something else; annotations of a video.
    """
    root = source.xml
    if root is None or root.tag != "annotations":
        raise ValueError("expected <annotations>, got another file")
    if root.find("track") is not None:
        raise ValueError("expected `CVAT for images`, got tracks of a video: export it as COCO")
    return [_annotation(image) for image in root.iter("image")]


def _annotation(image: Element) -> ImageAnnotation:
    size = check_size(int(_get(image, "height")), int(_get(image, "width")))
    regions = [
        Region(shape, _get(each, "label"))
        for each in image
        if (shape := _shape(each, size)) is not None
    ]
    return ImageAnnotation(_get(image, "name"), tuple(regions), size)


def _shape(element: Element, size: tuple[int, int]) -> Shape | None:
    (degrees,) = coordinates([element.get("rotation", "0")])
    if element.tag == "polygon":
        pairs = _get(element, "points").split(";")
        return polygon([number for pair in pairs for number in pair.split(",")])
    if element.tag == "box":
        found = box(*(_get(element, side) for side in ("xtl", "ytl", "xbr", "ybr")))
        if not degrees:
            return found
        x1, y1, x2, y2 = found.corners
        return turned(rectangle(x1, y1, x2, y2), ((x1 + x2) / 2, (y1 + y2) / 2), degrees)
    if element.tag == "ellipse":
        x, y, rx, ry = coordinates([_get(element, side) for side in ("cx", "cy", "rx", "ry")])
        return ellipse(x, y, rx, ry, degrees)
    if element.tag == "mask":
        return _runs(element, size)
    return None


def _runs(element: Element, size: tuple[int, int]) -> Runs:
    """Return a mask, whose run lengths go by rows through its bounding box."""
    left, top, width, height = (
        int(_get(element, side)) for side in ("left", "top", "width", "height")
    )
    if left < 0 or top < 0 or left + width > size[1] or top + height > size[0]:
        raise ValueError(f"expected a mask inside of an image of {size[0]}×{size[1]}, got another")
    counts = [int(number) for number in _get(element, "rle").split(",")]
    rest = height * width - sum(counts)  # background at the end may be left out
    counts += [rest] if rest > 0 and len(counts) % 2 == 0 else []
    inside = height, width
    return Runs(check_runs(counts, *inside), inside, by_rows=True, offset=(top, left))


def _get(element: Element, name: str) -> str:
    value = element.get(name)
    if value is None:
        raise ValueError(f"expected {name!r} of <{element.tag}>, got none")
    return value
