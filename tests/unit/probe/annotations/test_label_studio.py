"""Label Studio's JSON export against masks made by hand."""

import numpy as np
import pytest
from helpers.annotations import mask_of, rectangle, write_json

from lightning_cam.probe.annotations import Box, read_annotations

BOX = {"x": 12.5, "y": 100 / 3, "width": 62.5, "height": 100 / 3, "rotation": 0}
# The rectangle as Label Studio's own encoder writes it: 255 four times per pixel of it.
BRUSH = [0, 0, 0, 192, 57, 27, 254, 67, 0, 194, 127, 246, 192, 48, 159, 254, 71, 0, 0]


def result(kind, value, **other):
    sizes = {"original_width": 8, "original_height": 6}
    return {"type": kind, "value": {kind: ["cat"], **value}, **sizes, **other}


def task(*results, image="/data/upload/1/3fa9c2d1-1.jpg", **other):
    return {"data": {"image": image}, "annotations": [{"result": list(results)}], **other}


def read(tmp_path, *tasks):
    return read_annotations(write_json(tmp_path / "a.json", list(tasks)))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("rectanglelabels", BOX),
        ("rectanglelabels", {**BOX, "x": 75, "width": 25, "height": 83.3333, "rotation": 90}),
        ("polygonlabels", {"points": [[12.5, 33.33], [75, 33.33], [75, 66.66], [12.5, 66.66]]}),
        ("brushlabels", {"format": "rle", "rle": BRUSH}),
    ],
    ids=["box", "turned box", "polygon", "brush"],
)
def test_shapes(tmp_path, kind, value):
    (found,) = read(tmp_path, task(result(kind, value), {"type": "choices", "value": {}}))
    assert (found.name, [region.label for region in found.regions]) == ("1.jpg", ["cat"])
    assert isinstance(found.regions[0].shape, Box) == (value is BOX)
    assert np.array_equal(mask_of(found), rectangle())


def test_an_ellipse(tmp_path):
    value = {"x": 50, "y": 50, "radiusX": 37.5, "radiusY": 100 / 6, "rotation": 0}
    (found,) = read(tmp_path, task(result("ellipselabels", value)))
    assert np.array_equal(mask_of(found), rectangle(2, 4, 1, 7))


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("/data/upload/1/3fa9c2d1-my-cat.jpg", "my-cat.jpg"),
        ("/data/local-files/?d=images/cat/1.jpg", "images/cat/1.jpg"),
        ("https://example.com/cat/a%20b.jpg?token=1", "/cat/a b.jpg"),
        ("s3://bucket/cat/12345678-1.jpg", "/cat/12345678-1.jpg"),
    ],
)
def test_the_name_of_the_image(tmp_path, image, name):
    (found,) = read(tmp_path, task(result("rectanglelabels", BOX), image=image))
    assert found.name == name


def test_the_first_annotator_counts_who_did_not_give_up(tmp_path):
    annotations = [
        {"was_cancelled": True, "result": []},
        {"was_cancelled": False, "result": [result("rectanglelabels", BOX)]},
        {"result": []},
    ]
    (found, empty) = read(tmp_path, task(annotations=annotations), task(annotations=[]))
    assert len(found.regions) == 1
    assert empty.regions == ()


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("brushlabels", {"rle": BRUSH[:-3]}, "a part of one"),
        ("brushlabels", {"rle": [0, 0, 0, 188, *BRUSH[4:]]}, "of 6×8 pixels, got 188"),
        ("brushlabels", {"rle": [256]}, "list of bytes"),
        ("brushlabels", {"rle": "abc"}, "list of bytes"),
        ("rectanglelabels", {"x": 1}, "no 'y'"),
        ("rectanglelabels", {**BOX, "x": None}, "float"),
        ("polygonlabels", {"points": [[1, 2]]}, "three or more"),
    ],
)
def test_damaged_results_are_one_error_that_names_the_file(tmp_path, kind, value, says):
    with pytest.raises(ValueError, match=rf"sound Label Studio file, got .*a\.json: .*{says}"):
        read(tmp_path, task(result(kind, value)))


def test_sizes_that_disagree_and_tasks_without_a_file(tmp_path):
    other = result("rectanglelabels", BOX, original_width=9)
    with pytest.raises(ValueError, match="one size per image"):
        read(tmp_path, task(result("rectanglelabels", BOX), other))
    with pytest.raises(ValueError, match="expected the image's file"):
        read(tmp_path, {"data": {"text": "hello"}})
    shorter = write_json(tmp_path / "b.json", [{"image": "1.jpg", "label": []}])
    with pytest.raises(ValueError, match="export as JSON"):
        read_annotations(shorter, "label_studio")
