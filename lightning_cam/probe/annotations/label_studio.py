"""Label Studio's JSON export: https://labelstud.io/guide/export. Masks of brushes included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from lightning_cam.probe.annotations.files import Source
from lightning_cam.probe.annotations.rasterize import check_size, encode_runs
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

TITLE = "Label Studio"
_PERCENT = 100.0
_CHANNELS = 4  # of a brush's picture: red, green, blue, opacity
_KINDS = ("rectanglelabels", "polygonlabels", "brushlabels", "ellipselabels")


def is_label_studio(source: Source) -> bool:
    """Return whether a file holds a list of tasks."""
    tasks = source.json if isinstance(source.json, list) else []
    return bool(tasks) and all(isinstance(t, dict) and "data" in t for t in tasks)


def read_label_studio(source: Source) -> list[ImageAnnotation]:
    """Return the annotations of each task: of several annotators those of the first.

    Raises:
        ValueError: a part is missing, or is something else.
    """
    content = source.json
    if not isinstance(content, list) or not all("data" in task for task in content):
        raise ValueError("expected a list of tasks with `data`, got another JSON: export as JSON")
    return [_annotation(task) for task in content]


def _annotation(task: Mapping[str, Any]) -> ImageAnnotation:
    done = [each for each in task.get("annotations", []) if not each.get("was_cancelled")]
    results = done[0]["result"] if done else []
    drawn = [each for each in results if each.get("type") in _KINDS]
    sizes = {(each["original_height"], each["original_width"]) for each in drawn}
    if len(sizes) > 1:
        raise ValueError(f"expected one size per image, got {sorted(sizes)!r:.60}")
    size = check_size(*sizes.pop()) if sizes else (1, 1)
    regions = [
        Region(_shape(each, size), str(label))
        for each in drawn
        for label in each["value"].get(each["type"], [])
    ]
    return ImageAnnotation(_name_of(task["data"]), tuple(regions), size)


def _name_of(data: Mapping[str, Any]) -> str:
    """Return the image's path: of what a task holds the first text that looks like a file.

    Uploaded files are called `/data/upload/1/3fa9c2d1-name.jpg`, local ones
    `/data/local-files/?d=folder/name.jpg`, others have an address.
    """
    texts = [value for value in data.values() if isinstance(value, str) and "." in value]
    if not texts:
        raise ValueError(f"expected the image's file in `data`, got {sorted(data)!r:.60}")
    parts = urlsplit(str(data.get("image", texts[0])))
    local = parse_qs(parts.query).get("d")
    path = local[0] if local else unquote(parts.path)
    folder, _, name = path.rpartition("/")
    start, _, rest = name.partition("-")
    uploaded = "/upload/" in path and len(start) == 8 and rest  # noqa: PLR2004
    return rest if uploaded else f"{folder}/{name}"


def _shape(result: Mapping[str, Any], size: tuple[int, int]) -> Shape:
    value, (height, width) = result["value"], size
    to_pixels = np.array([width, height]) / _PERCENT
    (degrees,) = coordinates([value.get("rotation", 0)])
    if result["type"] == "polygonlabels":
        found = polygon([number for point in value["points"] for number in point])
        return type(found)(found.points * to_pixels)
    if result["type"] == "brushlabels":
        return Runs(_runs(value["rle"], height, width), size)
    x, y = coordinates([value["x"], value["y"]]) * to_pixels
    if result["type"] == "ellipselabels":
        rx, ry = coordinates([value["radiusX"], value["radiusY"]]) * to_pixels
        return ellipse(x, y, rx, ry, degrees)
    w, h = coordinates([value["width"], value["height"]]) * to_pixels
    if not degrees:
        return box(x, y, x + w, y + h)
    return turned(rectangle(x, y, x + w, y + h), (x, y), degrees)  # around the upper left corner


def _runs(data: Any, height: int, width: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return run lengths as COCO has them of a brush's picture, whose opaque pixels are the object.

    The picture is a stream of bits: how many numbers it holds (32 bits), their length less one (5),
    and four lengths less one (4 each). Then runs follow: whether all numbers in it are the same
    (1 bit), which of the four lengths its own length has (2 bits), the run's length less one, and
    the number, or the numbers.

    Raises:
        ValueError: no such stream, or one of another size.
    """
    if not isinstance(data, list) or not all(type(b) is int and 0 <= b < 256 for b in data):  # noqa: PLR2004
        raise ValueError("expected `rle` as a list of bytes, got something else")
    bits = np.unpackbits(np.array(data, dtype=np.uint8))
    at = 0

    def read(count: int) -> int:
        nonlocal at
        if at + count > len(bits):
            raise ValueError("expected a whole mask of a brush, got a part of one")
        at += count
        return int("".join(map(str, bits[at - count : at])), 2)

    total = read(32)
    if total != _CHANNELS * height * width:
        raise ValueError(f"expected a mask of {height}×{width} pixels, got {total} numbers")
    length = read(5) + 1
    lengths = [read(4) + 1 for _ in range(4)]
    positive = np.zeros(total, dtype=bool)
    start = 0
    while start < total:
        same = read(1)
        end = start + 1 + read(lengths[read(2)])
        if end > total:
            raise ValueError("expected a mask of its own size, got a longer one")
        positive[start:end] = (
            read(length) > 0 if same else [read(length) > 0 for _ in range(end - start)]
        )
        start = end
    opaque = positive.reshape(height, width, _CHANNELS)[:, :, -1]
    return np.array(encode_runs(opaque), dtype=np.int64)
