"""The pixels of logged images: orientation, colours, normalisation, outlines of masks."""

import numpy as np
import torch
from helpers.training import QUIET, decoded, fit, fit_with_tensorboard

from lightning_cam import CAMCallback, Probe

pytestmark = QUIET


def flag(side=224):
    """Return an image that differs from all its flips, turns and channel swaps."""
    image = torch.zeros(3, side, side)
    half = side // 2
    image[0, :half, :half] = 1.0  # red, top left
    image[1, :half, half:] = 0.8  # green, top right
    image[2, half:, :half] = 0.9  # blue, bottom left
    image[:, half:, half:] = torch.linspace(0, 1, half)  # a ramp of greys, dark to light
    return image


def flag_probe(**known):
    return Probe(torch.stack([flag(), flag().flip(2)]), [0, 1], **known)


def as_pixels(image):
    return image.mul(255).round().permute(1, 2, 0).numpy().astype(np.uint8)


def test_jpegs_have_the_right_orientation_and_colours(tmp_path):
    callback = CAMCallback(flag_probe(), alpha=0.0)
    _, events = fit_with_tensorboard(tmp_path, callback)
    pixels = decoded(events.Images("cam/overlay/00")[0].encoded_image_string)[:224]
    error = np.abs(pixels.astype(int) - as_pixels(flag()))
    assert np.median(error) <= 2
    assert np.percentile(error, 98) <= 12
    for other in (flag().flip(1), flag().flip(2), flag().flip(0), flag().transpose(1, 2)):
        assert np.abs(pixels.astype(int) - as_pixels(other)).mean() > 10 * error.mean()


def test_pngs_are_exact(tmp_path):
    fit(tmp_path, CAMCallback(flag_probe(ids=["flag", "mirrored"]), alpha=0.0))
    for name, image in (("flag", flag()), ("mirrored", flag().flip(2))):
        (path,) = (tmp_path / "cam" / "overlay" / name).glob("*.png")
        assert np.array_equal(decoded(path.read_bytes())[:224], as_pixels(image))


def test_normalised_images_are_shown_with_their_original_colours(tmp_path):
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    scale = torch.tensor([mean, std]).view(2, 3, 1, 1)
    images = (torch.stack([flag()]) - scale[0]) / scale[1]
    fit(tmp_path, CAMCallback(Probe(images, [0], mean=mean, std=std), alpha=0.0))
    (path,) = (tmp_path / "cam" / "overlay" / "00").glob("*.png")
    assert np.array_equal(decoded(path.read_bytes())[:224], as_pixels(flag()))


def test_the_mask_is_outlined_in_white_around_the_object(tmp_path):
    mask = torch.zeros(1, 224, 224, dtype=torch.bool)
    mask[0, 20:60, 30:80] = True
    probe = Probe(flag()[None], [0], masks=mask)
    fit(tmp_path, CAMCallback(probe, alpha=0.0))
    (path,) = (tmp_path / "cam" / "overlay" / "00").glob("*.png")
    pixels = decoded(path.read_bytes())
    white = (pixels[:112, :112] == 255).all(axis=2)
    expected = np.zeros((112, 112), bool)
    expected[18:62, 28:82] = True
    expected[20:60, 30:80] = False
    assert np.array_equal(white, expected)


def test_fine_maps_are_compared_with_earlier_ones(tmp_path):
    """Maps of 112² are remembered at 56²."""
    callback = CAMCallback(flag_probe(), strict=True, panels=["comparison", "timeline"])
    _, events = fit_with_tensorboard(tmp_path, callback, max_epochs=3)
    widths = [image.width for image in events.Images("cam/timeline")]
    assert widths[0] < widths[1] < widths[2]
    assert len(events.Images("cam/comparison")) == 3
