"""COCO json: https://cocodataset.org/#format-data. Also written by CVAT, Roboflow, FiftyOne, ..."""

from __future__ import annotations

from typing import Any

from lightning_cam.probe.annotations.files import Source
from lightning_cam.probe.annotations.rasterize import check_runs, check_size, decode_counts
from lightning_cam.probe.annotations.regions import (
    ImageAnnotation,
    Region,
    Runs,
    Shape,
    box,
    polygon,
)

TITLE = "COCO"


def is_coco(source: Source) -> bool:
    """Return whether a file holds images and annotations."""
    content = source.json
    return isinstance(content, dict) and "images" in content and "annotations" in content


def read_coco(source: Source) -> list[ImageAnnotation]:
    """Return the annotations of each image: polygons, run lengths, else boxes. Crowds are left out.

    Raises:
        ValueError: a part is missing, or is something else.
    """
    content = source.json
    names = {each["id"]: str(each["name"]) for each in content.get("categories", [])}
    images = {each["id"]: each for each in content["images"]}
    regions: dict[Any, list[Region]] = {key: [] for key in images}
    for each in content["annotations"]:
        if each.get("iscrowd"):
            continue
        image = each["image_id"]
        if image not in images:
            raise ValueError(f"expected annotations of its images, got one of image {image!r:.40}")
        category = each["category_id"]
        if category not in names:
            raise ValueError(f"expected a category for id {category!r:.40}, got none")
        regions[image] += [Region(shape, names[category]) for shape in _shapes(each)]
    return [
        ImageAnnotation(
            str(image["file_name"]),
            tuple(regions[key]),
            check_size(image.get("height"), image.get("width")),
        )
        for key, image in images.items()
    ]


def _shapes(annotation: dict[str, Any]) -> list[Shape]:
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        height, width = check_size(*segmentation["size"])
        counts = segmentation["counts"]
        counts = decode_counts(counts) if isinstance(counts, str) else counts
        return [Runs(check_runs(counts, height, width), (height, width))]
    if segmentation:
        return [polygon(each) for each in segmentation]
    if "bbox" not in annotation:
        return []
    x, y, width, height = annotation["bbox"]
    return [box(x, y, x + width, y + height)]
