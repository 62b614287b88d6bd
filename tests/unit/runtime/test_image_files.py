"""Images of any kind: orientation, modes, depth, and what is refused."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightning_cam.runtime.image_files import as_8_bit, check_image, picture_of, read_image

ORIENTATION = 0x0112
GRADIENT = np.linspace(0, 255, 12 * 20 * 3).reshape(12, 20, 3).astype(np.uint8)
GREY = GRADIENT[:, :, 0].copy()


def rotated_jpeg(path, orientation):
    """Write an image that is upright only when its EXIF orientation is respected."""
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}
    turned = Image.fromarray(GRADIENT).transpose(back[orientation])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    turned.save(path, exif=exif, quality=100, subsampling=0)
    return path


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("opened", [False, True], ids=["path", "PIL image"])
def test_the_exif_orientation_is_respected(tmp_path, orientation, opened):
    path = rotated_jpeg(tmp_path / "turned.jpg", orientation)
    with Image.open(path) as file:
        found = picture_of(file if opened else path, "image 0")
    assert found.size == (20, 12)
    difference = np.asarray(found).astype(int) - GRADIENT
    assert np.abs(difference).max() < 12  # of JPEG
    assert found.getexif().get(ORIENTATION) is None


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "PA", "CMYK", "1", "I;16", "I", "F"])
def test_an_image_of_any_mode_becomes_colour_or_grey_of_8_bits(mode):
    if mode in ("I;16", "I"):
        picture = Image.fromarray(GREY.astype(np.uint16 if mode == "I;16" else np.int32) * 257)
    elif mode == "F":
        picture = Image.fromarray(GREY.astype(np.float32) / 255)
    elif mode == "P":
        picture = Image.fromarray(GREY).quantize(256)
    else:
        picture = Image.fromarray(GREY).convert("L" if mode == "PA" else "RGB").convert(mode)
    assert picture.mode == mode
    color, grey = as_8_bit(picture, 3, "x"), as_8_bit(picture, 1, "x")
    assert (color.mode, grey.mode) == ("RGB", "L")
    if mode != "1":
        assert np.abs(np.asarray(grey).astype(int) - GREY).max() <= 6  # of the palette


def test_a_transparent_palette_is_resolved_without_a_warning(tmp_path):
    picture = Image.fromarray(GRADIENT).quantize(8)
    picture.info["transparency"] = bytes(range(0, 256, 32))
    picture.save(tmp_path / "palette.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = as_8_bit(read_image(tmp_path / "palette.png"), 3, "x")
    expected = picture.convert("RGBA").convert("RGB")
    assert np.array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize(
    ("array", "size"),
    [
        (GRADIENT, (20, 12)),
        (GREY, (20, 12)),
        (GREY[:, :, None], (20, 12)),
        (np.dstack([GRADIENT, GREY]), (20, 12)),
        (GREY.astype(np.uint16) * 257, (20, 12)),
        (GREY / 255, (20, 12)),
        (GRADIENT[::-1, ::-1], (20, 12)),
    ],
    ids=["colour", "grey", "one channel", "alpha", "16 bits", "floats", "negative strides"],
)
def test_arrays_are_taken(array, size):
    check_image(array, "image 0")
    found = picture_of(array, "image 0")
    assert found.size == size
    pixels = np.asarray(as_8_bit(found, 3, "image 0"))
    assert np.array_equal(pixels[..., 0], np.atleast_3d(array)[..., 0]) == (array.dtype == np.uint8)
    assert pixels.max() == (255 if array.shape[2:] > (1,) else GREY.max())


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((3, 8, 9), np.uint8), ValueError, r"\(H, W, 3\) uint8.*image 4.*\(3, 8, 9\)"),
        (np.zeros((8, 9, 3)), ValueError, r"float64.*array \* 255"),
        (np.zeros((8, 9, 2), np.uint8), ValueError, r"\(8, 9, 2\)"),
        (np.zeros((0, 9), np.uint8), ValueError, r"\(0, 9\)"),
        (np.zeros((4, 4), bool), ValueError, "bool"),
        (7, TypeError, "a PIL image, a path or an array.*image 4, got a int"),
        (b"bytes", TypeError, "got a bytes"),
    ],
)
def test_other_arrays_and_types_are_refused(image, error, message):
    with pytest.raises(error, match=message):
        check_image(image, "image 4")


def test_files_that_cannot_be_read_are_named(tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    broken = rotated_jpeg(tmp_path / "broken.jpg", 3)
    broken.write_bytes(broken.read_bytes()[:-60])
    for path, message in {
        text: "text.jpg, which is not one",
        broken: "cannot read the image .*broken.jpg",
        tmp_path: r"got the folder .*glob",
        tmp_path / "gone.png": "gone.png: no such file",
    }.items():
        with pytest.raises(ValueError, match=message):
            picture_of(path, "image 0")
    with Image.open(broken) as opened, pytest.raises(ValueError, match="cannot read the image x"):
        picture_of(opened, "x")


def test_a_path_may_be_text():
    with pytest.raises(ValueError, match="no such file"):
        picture_of("missing/image.png", "image 0")
    assert not Path("missing").exists()
