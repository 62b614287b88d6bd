"""`ContactSheet`: layout of pairs and of columns, and HTML."""

import base64
import re

import numpy as np
from helpers.hostile import NAMES

from lightning_cam.render import ContactSheet, decode
from lightning_cam.render.contact_sheet import thumbnail_size


def sheet(count=3, maps=("Grad-CAM at layer4",), **other):
    images = np.full((count, 40, 60, 3), 90, np.uint8)
    shades = {title: np.full_like(images, 120 + 50 * n) for n, title in enumerate(maps)}
    return ContactSheet(images, shades, [[f"image {n}", "text"] for n in range(count)], **other)


def count_blocks(picture, shade):
    """Return how many images of one shade a picture holds."""
    return int((picture == shade).all(axis=2).sum()) // (40 * 60)


def test_one_map_stands_beside_its_image():
    picture = sheet(20).picture()
    assert (count_blocks(picture, 90), count_blocks(picture, 120)) == (20, 20)
    assert picture.shape[1] < 1450
    row = picture[np.flatnonzero((picture == 90).all(axis=2).any(axis=1))[0]]
    left, right = (np.flatnonzero((row == shade).all(axis=1)) for shade in (90, 120))
    assert right[0] - left[59] == 5  # a gap of four pixels
    assert left[60] - right[59] > 12


def test_several_maps_have_a_column_each():
    picture = sheet(3, ("a", "b")).picture()
    assert [count_blocks(picture, shade) for shade in (90, 120, 170)] == [3, 3, 3]
    columns = np.flatnonzero((picture == 120).all(axis=2).any(axis=0))
    assert len(columns) == 60


def test_html_holds_the_images_themselves():
    html = sheet(2, ("a", "b"), left_off=3, facts=[("loss", "0.1")], notes=["an alert"]).html()
    data = re.findall(r"data:image/jpeg;base64,([^\"]+)", html)
    assert len(data) == 6
    first, second = (decode(base64.b64decode(each)) for each in data[:2])
    assert (first.shape, int(first[0, 0, 0]), int(second[0, 0, 0])) == ((40, 60, 3), 90, 120)
    for text in ("and 3 more", "loss <b>0.1</b>", "an alert", "image 0<br>text"):
        assert text in html
    assert "http" not in html


def test_names_in_html_are_escaped():
    for name in NAMES:
        made = ContactSheet(
            np.zeros((1, 4, 4, 3), np.uint8),
            {name: np.zeros((1, 4, 4, 3), np.uint8)},
            [[name]],
            heading=name,
            facts=[(name, name)],
            notes=[name],
        ).html()
        assert "<script" not in made
        assert "<img src=x" not in made
        tags = set(re.findall(r"<(/?\w+)", made))
        assert tags <= {t for n in TAGS for t in (n, f"/{n}")}


TAGS = ("div", "figure", "figcaption", "img", "span", "b", "br")


def test_the_alternative_text_says_what_is_shown():
    assert sheet(2).alt == "Grad-CAM at layer4 of image 0, text; image 1, text"


def test_thumbnails_keep_their_proportions_and_are_not_enlarged():
    assert thumbnail_size(400, 800, 200) == (100, 200)
    assert thumbnail_size(40, 80, 200) == (40, 80)
    assert thumbnail_size(1, 1000, 100) == (1, 100)
