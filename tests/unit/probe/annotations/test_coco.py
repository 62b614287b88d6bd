"""COCO json against masks made by hand."""

import numpy as np
import pytest
from helpers.annotations import POLYGON, coco, mask_of, rectangle, write_json

from lightning_cam.probe.annotations import Box, read_annotations

RUNS = [8, 2, 4, 2, 4, 2, 4, 2, 4, 2, 14]


def read(tmp_path, content):
    return read_annotations(write_json(tmp_path / "a.json", content))


@pytest.mark.parametrize(
    "segmentation",
    [
        [POLYGON],
        {"size": [6, 8], "counts": RUNS},
        {"size": [6, 8], "counts": "8240000000:"},
        [[1, 2, 3, 2, 3, 4, 1, 4], [3, 2, 6, 2, 6, 4, 3, 4]],  # an object in two parts
    ],
    ids=["polygon", "runs", "compressed", "parts"],
)
def test_segmentations(tmp_path, segmentation):
    (found,) = read(tmp_path, coco({"segmentation": segmentation, "bbox": [0, 0, 8, 6]}))
    assert found.name == "cat/1.jpg"
    assert {region.label for region in found.regions} == {"cat"}
    assert np.array_equal(mask_of(found), rectangle())


def test_a_box_where_there_is_no_segmentation(tmp_path):
    (found,) = read(tmp_path, coco({"bbox": [1, 2, 5, 2]}, {"segmentation": []}))
    assert [type(region.shape) for region in found.regions] == [Box]
    assert np.array_equal(mask_of(found), rectangle())


def test_crowds_are_left_out_and_labels_kept(tmp_path):
    other = {"segmentation": [[0, 0, 8, 0, 8, 6, 0, 6]]}
    (found, empty) = read(
        tmp_path,
        coco(
            {"segmentation": [POLYGON]},
            {**other, "iscrowd": 1},
            {**other, "category_id": 8},
            names=["1.jpg", "2.jpg"],
        ),
    )
    assert [region.label for region in found.regions] == ["cat", "dog"]
    assert empty.regions == ()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"segmentation": [[1, 2, 3]]}, "three or more"),
        ({"segmentation": [[1, 2, 3, 4, 5, "x"]]}, "could not convert"),
        ({"segmentation": {"size": [6, 8], "counts": [3]}}, "48 pixels"),
        ({"segmentation": {"size": [99999, 99999], "counts": [99999 * 99999]}}, "of an image"),
        ({"segmentation": {"counts": [48]}}, "no 'size'"),
        ({"bbox": [1, 2]}, "not enough values"),
        ({"bbox": [1, 2, 5, 2], "category_id": 99}, "a category for id 99"),
        ({"bbox": [1, 2, 5, 2], "image_id": 99}, "one of image 99"),
        ({"bbox": [1, 2, float("nan"), 2]}, "coordinates in an image"),
    ],
)
def test_damaged_annotations_are_one_error_that_names_the_file(tmp_path, wrong, says):
    with pytest.raises(ValueError, match=rf"sound COCO file, got .*a\.json: .*{says}"):
        read(tmp_path, coco(wrong))


@pytest.mark.parametrize("part", ["images", "annotations", "categories"])
def test_parts_of_another_type(tmp_path, part):
    with pytest.raises(ValueError, match="COCO"):
        read(tmp_path, coco({"bbox": [1, 2, 5, 2]}) | {part: [7]})
