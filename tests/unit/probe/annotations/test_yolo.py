"""YOLO's text files against masks made by hand."""

import numpy as np
import pytest
from helpers.annotations import mask_of, rectangle

from lightning_cam.probe.annotations import Box, read_annotations

SHARES = [1 / 8, 2 / 6, 6 / 8, 2 / 6, 6 / 8, 4 / 6, 1 / 8, 4 / 6]


def data_set(folder, text, names="names: [cat, dog]\n", file="data.yaml"):
    labels = folder / "labels" / "cat"
    labels.mkdir(parents=True)
    (labels / "1.txt").write_text(text)
    if names:
        (folder / file).write_text(names)
    return folder


def line(number, *values):
    return " ".join(map(str, (number, *values)))


@pytest.mark.parametrize("names", ["names: [cat, dog]\n", "names: {0: cat, 1: dog}\n"])
def test_polygons(tmp_path, names):
    data_set(tmp_path, line(0, *SHARES) + "\n\n" + line(1, 0, 0, 1, 0, 1, 1), names)
    for path in (tmp_path, tmp_path / "labels", tmp_path / "data.yaml"):
        (found,) = read_annotations(path)
        assert found.name == "cat/1"
        assert [region.label for region in found.regions] == ["cat", "dog"]
        assert np.array_equal(found.regions[0].shape.mask(6, 8, found.extent), rectangle())


def test_boxes_and_names_in_a_list(tmp_path):
    text = line(0, 3.5 / 8, 3 / 6, 5 / 8, 2 / 6)  # the middle, width and height
    (found,) = read_annotations(data_set(tmp_path, text, "cat\n\ndog\n", "classes.txt"))
    assert isinstance(found.regions[0].shape, Box)
    assert np.array_equal(mask_of(found), rectangle())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 0.1 0.2", "three or more"),
        ("0 0.1 0.2 0.3 0.4 nan 0.6", "coordinates in an image"),
        ("7 0.5 0.5 0.1 0.1", "a class of 2 names, got 7"),
        ("cat 0.5 0.5 0.1 0.1", "invalid literal"),
        ("0 0.5 0.5 -0.1 0.1", "x1 <= x2"),
    ],
)
def test_damaged_lines_are_one_error_that_names_the_file(tmp_path, text, says):
    with pytest.raises(ValueError, match=rf"sound YOLO file, got .*1\.txt: .*{says}"):
        read_annotations(data_set(tmp_path, text))


def test_text_that_is_none(tmp_path):
    data_set(tmp_path, "")
    (tmp_path / "labels" / "cat" / "1.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="sound YOLO file"):
        read_annotations(tmp_path)


def test_without_names_the_error_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match=r"expected data\.yaml with `names`, or classes\.txt"):
        read_annotations(data_set(tmp_path, line(0, *SHARES), names=""))


@pytest.mark.parametrize("yaml", ["names: [", "!!python/object/apply:os.system ['exit 1']"])
def test_yaml_that_is_damaged_or_hostile(tmp_path, yaml):
    with pytest.raises(ValueError, match="sound YAML file"):
        read_annotations(data_set(tmp_path, line(0, *SHARES), yaml))
