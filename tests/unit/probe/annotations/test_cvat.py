"""CVAT's XML against masks made by hand."""

import numpy as np
import pytest
from helpers.annotations import mask_of, rectangle

from lightning_cam.probe.annotations import read_annotations


def read(tmp_path, *shapes, image='name="cat/1.jpg" width="8" height="6"', inside=""):
    file = tmp_path / "annotations.xml"
    file.write_text(
        f"<annotations><version>1.1</version>{inside}<image id='0' {image}>{''.join(shapes)}"
        "</image></annotations>"
    )
    return read_annotations(file)


@pytest.mark.parametrize(
    "shape",
    [
        '<polygon label="cat" points="1.00,2.00;6.00,2.00;6.00,4.00;1.00,4.00"/>',
        '<box label="cat" xtl="1" ytl="2" xbr="6" ybr="4"/>',
        '<box label="cat" xtl="2.5" ytl="0.5" xbr="4.5" ybr="5.5" rotation="90.0"/>',
        '<mask label="cat" rle="0, 10" left="1" top="2" width="5" height="2"/>',
        '<mask label="cat" rle="9, 5, 3, 5" left="0" top="1" width="8" height="4"/>',
    ],
    ids=["polygon", "box", "turned box", "mask", "mask in a larger box"],
)
def test_shapes(tmp_path, shape):
    (found,) = read(tmp_path, shape, '<points label="cat" points="1,1"/>', "<tag label='x'/>")
    assert (found.name, found.regions[0].label, len(found.regions)) == ("cat/1.jpg", "cat", 1)
    assert np.array_equal(mask_of(found), rectangle())


def test_an_ellipse(tmp_path):
    (found,) = read(tmp_path, '<ellipse label="cat" cx="4" cy="3" rx="3" ry="1"/>')
    assert np.array_equal(mask_of(found), rectangle(2, 4, 1, 7))


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ('<polygon label="cat" points="1,2;3"/>', "three or more"),
        ('<polygon label="cat"/>', "'points' of <polygon>"),
        ('<polygon points="1,2;3,4;5,6"/>', "'label' of <polygon>"),
        ('<box label="cat" xtl="a" ytl="2" xbr="6" ybr="4"/>', "could not convert"),
        ('<box label="c" xtl="1" ytl="2" xbr="6" ybr="4" rotation="inf"/>', "in an image"),
        ('<mask label="c" rle="0,11" left="1" top="2" width="5" height="2"/>', "10 pixels"),
        ('<mask label="c" rle="0,10" left="5" top="2" width="5" height="2"/>', "inside of an"),
    ],
)
def test_damaged_shapes_are_one_error_that_names_the_file(tmp_path, shape, says):
    with pytest.raises(ValueError, match=rf"sound CVAT file, got .*annotations\.xml: .*{says}"):
        read(tmp_path, shape)


def test_other_images_and_videos_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'height' of <image>"):
        read(tmp_path, image='name="1.jpg" width="8"')
    with pytest.raises(ValueError, match="of a video: export it as COCO"):
        read(tmp_path, inside="<track/>")
