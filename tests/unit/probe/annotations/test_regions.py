"""Shapes in pixels and in shares of the image, and masks of image files."""

import numpy as np
import pytest
from helpers.annotations import POLYGON, rectangle
from PIL import Image

from lightning_cam.probe.annotations.regions import (
    RELATIVE,
    MaskFile,
    Runs,
    box,
    coordinates,
    ellipse,
    object_pixels,
    polygon,
    sized,
    turned,
)
from lightning_cam.probe.annotations.regions import rectangle as corners

PIXELS = (6.0, 8.0)


def test_polygons_and_boxes_in_pixels_and_in_shares():
    assert np.array_equal(polygon(POLYGON).mask(6, 8, PIXELS), rectangle())
    assert np.array_equal(box(1, 2, 6, 4).mask(6, 8, PIXELS), rectangle())
    assert np.array_equal(box(1 / 8, 2 / 6, 6 / 8, 4 / 6).mask(6, 8, RELATIVE), rectangle())
    larger = box(1, 2, 6, 4).mask(12, 16, PIXELS)  # the file is twice as large as the tool's copy
    assert np.array_equal(larger, rectangle().repeat(2, axis=0).repeat(2, axis=1))


def test_a_box_turned_by_a_quarter():
    found = turned(corners(2, 1, 6, 3), (4, 2), 90).mask(6, 8, PIXELS)
    wanted = np.zeros((6, 8), dtype=bool)
    wanted[0:4, 3:5] = True
    assert np.array_equal(found, wanted)


def test_a_turn_is_clockwise():
    (x, y) = turned(np.array([[1.0, 0.0]]), (0, 0), 90).points[0]
    assert (round(x, 9), round(y, 9)) == (0, 1)  # from the right to below


def test_an_ellipse_covers_its_area():
    found = ellipse(50, 40, 30, 20).mask(80, 100, (80.0, 100.0))
    assert abs(found.sum() - np.pi * 30 * 20) < 0.01 * found.sum()
    assert found[40, 79]
    assert not found[40, 81]


def test_runs_in_a_part_of_the_image():
    part = Runs(np.array([0, 10]), (2, 5), by_rows=True, offset=(2, 1))
    assert np.array_equal(part.mask(6, 8, PIXELS), rectangle())


def test_numbers_that_are_no_shape_are_refused():
    for numbers in ([1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7], []):
        with pytest.raises(ValueError, match="three or more"):
            polygon(numbers)
    for number in (float("nan"), float("inf"), 1e300):
        with pytest.raises(ValueError, match="expected coordinates in an image"):
            coordinates([0, number])
    with pytest.raises(ValueError, match="x1 <= x2"):
        box(5, 0, 1, 1)


def test_masks_as_image_files(tmp_path):
    file = tmp_path / "mask.png"
    Image.fromarray(rectangle().astype(np.uint8) * 255).save(file)
    assert np.array_equal(MaskFile(file).mask(6, 8, RELATIVE), rectangle())
    doubled = rectangle().repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(MaskFile(file).mask(12, 16, RELATIVE), doubled)
    numbers = 3 * rectangle().astype(np.uint8) + rectangle(0, 1)
    Image.fromarray(numbers).save(file)
    assert np.array_equal(MaskFile(file, 3).mask(6, 8, RELATIVE), rectangle())


def test_the_border_of_a_palette_is_no_object(tmp_path):
    numbers = rectangle().astype(np.uint8)
    numbers[0] = 255
    picture = Image.fromarray(numbers).convert("L")
    picture.putpalette(list(range(256)) * 3)
    picture.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as saved:
        assert saved.mode == "P"
    assert np.array_equal(MaskFile(tmp_path / "mask.png").mask(6, 8, RELATIVE), rectangle())


def test_a_damaged_mask_file_is_named(tmp_path):
    (tmp_path / "mask.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"cannot read the mask .*mask\.png"):
        MaskFile(tmp_path / "mask.png").mask(6, 8, RELATIVE)


def test_transparent_pixels_are_no_object():
    pixels = np.full((6, 8, 4), 200, dtype=np.uint8)
    pixels[..., 3] = rectangle() * 255
    assert np.array_equal(object_pixels(pixels), rectangle())
    assert np.array_equal(object_pixels(rectangle()), rectangle())


def test_another_size_takes_the_nearest_pixels():
    assert sized(rectangle(), 6, 8) is not None
    assert np.array_equal(sized(np.eye(2, dtype=bool), 4, 4), np.kron(np.eye(2), np.ones((2, 2))))
    assert np.array_equal(sized(np.eye(4, dtype=bool), 2, 2), np.eye(2))
