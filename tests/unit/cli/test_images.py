"""Images of 16 and 32 bits: what is white, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_cam.cli.images import Preparation


def saved(name, pixels):
    Image.fromarray(pixels).save(name)
    return name


RAMP = np.linspace(0, 1, 400).reshape(20, 20)
RANGES = {
    "floats of 0 to 1": ("image.tiff", RAMP.astype(np.float32)),
    "8 bits as floats": ("image.tiff", (RAMP * 255).round().astype(np.float32)),
    "16 bits as floats": ("image.tiff", (RAMP * 65535).round().astype(np.float32)),
    "16 bits, png": ("image.png", (RAMP * 65535).round().astype(np.uint16)),
    "16 bits, tiff": ("image.tiff", (RAMP * 65535).round().astype(np.uint16)),
    "16 bits, big endian": ("image.tiff", (RAMP * 65535).round().astype(">u2")),
    "16 bits in 32": ("image.tiff", (RAMP * 65535).round().astype(np.int32)),
}


@pytest.mark.parametrize("name", RANGES)
def test_deep_images_are_scaled_as_the_same_image_of_8_bits(here, name):
    ready = Preparation((20, 20), (0.0,), (1.0,))
    found = ready.image(Path(saved(*RANGES[name])))
    expected = ready.image(Path(saved("plain.png", (RAMP * 255).round().astype(np.uint8))))
    torch.testing.assert_close(found, expected, atol=0.5 / 255 + 1e-6, rtol=0)


def test_a_dark_image_of_16_bits_stays_dark(here):
    ready = Preparation((20, 20), (0.0,), (1.0,))
    found = ready.image(Path(saved("dark.png", (RAMP * 200).astype(np.uint16))))
    assert found.max() == pytest.approx(200 / 65535)


def with_pixel(value):
    pixels = RAMP.astype(np.float32)
    pixels[3, 4] = value
    return pixels


UNUSABLE = {
    "NaN": (with_pixel(np.nan), "got 1 of 400 that are NaN or infinite in bad.tiff"),
    "infinity": (with_pixel(np.inf), "got 1 of 400 that are NaN or infinite in bad.tiff"),
    "negative": (with_pixel(-0.5), "got pixels from -0.5 to 1 in bad.tiff"),
    "physical units": (with_pixel(3.7), "got pixels from 0 to 3.7 in bad.tiff"),
    "beyond 16 bits": (with_pixel(1e6).round(), "got pixels from 0 to 1e+06 in bad.tiff"),
    "32 bits": ((RAMP * 1e6).astype(np.int32), "got pixels from 0 to 1e+06 in bad.tiff"),
    "negative whole": ((RAMP * 9).astype(np.int32) - 5, "got pixels from -5 to 4 in bad.tiff"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_pixels_of_no_known_range_are_named_and_the_other_images_drawn(here, command, name):
    pixels, message = UNUSABLE[name]
    saved("bad.tiff", pixels)
    saved("good.tiff", RAMP.astype(np.float32))
    code, out, err = command(
        "explain", "helpers.cli_nets:net", "bad.tiff", "good.tiff", "--size", 16
    )
    assert code == 2
    assert "good.tiff" in out
    assert [each.name for each in Path("cams").iterdir()] == ["good.cam.png"]
    last = err.splitlines()[-1]
    assert "1 of 2 images left out" in last
    assert message in last
    assert "Traceback" not in err


def test_a_mask_with_pixels_that_are_not_finite_is_refused(here):
    ready = Preparation((20, 20), (0.0,), (1.0,))
    with pytest.raises(ValueError, match="expected finite pixels, got 1 of 400"):
        ready.mask(Path(saved("mask.tiff", with_pixel(np.nan))))
