"""The format of a file is found by looking at it, or named."""

import re
from pathlib import Path

import pytest
from helpers.annotations import coco, write_json

from lightning_cam.probe.annotations import FORMATS, read_annotations


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read_annotations(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "{}"),
        ("a.json", "[]"),
        ("a.json", "7"),
        ("a.xml", "<other/>"),
        ("a.csv", "a,b"),
        ("a.zip", "PK"),
    ],
)
def test_a_file_of_no_format(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(ValueError, match=r"expected annotations as COCO.*is none") as caught:
        read_annotations(file)
    assert ("Unpack it" in str(caught.value)) == (name == "a.zip")


def test_an_empty_folder_is_of_no_format(tmp_path):
    with pytest.raises(ValueError, match="which is none"):
        read_annotations(tmp_path)


def test_broken_json_is_named(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('{"images": [')
    with pytest.raises(ValueError, match=r"got .*a\.json: Expecting value"):
        read_annotations(file)


def test_a_named_format(tmp_path):
    file = write_json(tmp_path / "a.json", coco({"bbox": [0, 0, 1, 1]}))
    assert len(read_annotations(file, "coco")) == 1
    with pytest.raises(ValueError, match=r"unknown format of annotations 'coko'\. Did you mean"):
        read_annotations(file, "coko")
    for other in set(FORMATS) - {"coco", "masks", "yolo"}:
        with pytest.raises(ValueError, match=f"sound {FORMATS[other].title} file"):
            read_annotations(file, other)


def test_the_page_of_masks_lists_each_format():
    page = (Path(__file__).parents[4] / "docs" / "masks.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert rows == ["format", *FORMATS]
