"""Small annotation files: one image of 6×8 pixels, with a rectangle that covers rows 2 and 3."""

import json

import numpy as np

HEIGHT, WIDTH = 6, 8


def rectangle(top=2, bottom=4, left=1, right=6):
    """Return (6, 8) bool, true from row `top` up to `bottom` and column `left` up to `right`."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def mask_of(annotation, height=HEIGHT, width=WIDTH):
    """Return the union of an annotation's regions."""
    found = np.zeros((height, width), dtype=bool)
    for region in annotation.regions:
        found |= region.shape.mask(height, width, annotation.extent)
    return found


def coco(*annotations, names=("cat/1.jpg",), categories=("cat", "dog")):
    """Return the content of a COCO file; annotations are of the first image and category."""
    images = [
        {"id": n, "file_name": name, "height": HEIGHT, "width": WIDTH}
        for n, name in enumerate(names)
    ]
    known = {"image_id": 0, "category_id": 7, "iscrowd": 0}
    return {
        "images": images,
        "annotations": [{"id": n, **known, **each} for n, each in enumerate(annotations)],
        "categories": [{"id": 7 + n, "name": name} for n, name in enumerate(categories)],
    }


POLYGON = [1, 2, 6, 2, 6, 4, 1, 4]  # x, y of the rectangle's corners


def write_json(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
