"""Image files: colours and pixels that survive encoding, animations, errors."""

import io

import numpy as np
import pytest
import torch
from helpers.texts import noise
from PIL import Image, ImageSequence

from lightning_cam.render import decode, jpeg, overlay, png
from lightning_cam.render.encode import gif


def test_png_keeps_every_pixel():
    assert np.array_equal(decode(png(noise())), noise())


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (9, 9, 9)])
def test_jpeg_keeps_the_colours_in_their_order(color):
    flat = np.full((32, 32, 3), color, np.uint8)
    assert np.abs(decode(jpeg(flat)).astype(int) - flat).max() <= 4


def test_jpeg_keeps_the_edges_of_the_heat():
    maps = torch.zeros(1, 14, 14)
    maps[0, 4:7, 8:11] = 1.0
    drawn = overlay(torch.full((1, 3, 224, 224), 0.5), maps, alpha=0.5)[0].numpy()
    error = np.abs(decode(jpeg(drawn)).astype(int) - drawn)
    assert error.mean() < 1.5
    assert error.max() < 40


def test_arrays_with_other_strides_are_encoded_correctly():
    turned = noise().transpose(1, 0, 2)[::-1]
    assert np.array_equal(decode(png(turned)), turned)


def test_bytes_of_no_image_are_rejected():
    with pytest.raises(ValueError, match="expected an encoded image, got other bytes"):
        decode(b"no image")


def test_an_image_that_cannot_be_encoded_is_rejected():
    with pytest.raises(Exception, match=r".+"):
        png(np.zeros((0, 4, 3), np.uint8))


# --- animations -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5])
def test_gif_holds_all_frames_and_repeats(count):
    frames = np.zeros((count, 8, 9, 3), np.uint8)
    frames[..., 1] = np.arange(count)[:, None, None] * 50
    with Image.open(io.BytesIO(gif(frames))) as film:
        greens = [np.asarray(each.convert("RGB"))[0, 0, 1] for each in ImageSequence.Iterator(film)]
        assert film.n_frames == count
        assert film.size == (9, 8)
        if count > 1:
            assert film.info["loop"] == 0
    assert np.abs(np.array(greens, int) - np.arange(count) * 50).max() < 4


def test_the_last_frame_is_shown_longest():
    with Image.open(io.BytesIO(gif(np.stack([noise(seed=seed) for seed in range(3)])))) as film:
        durations = [each.info["duration"] for each in ImageSequence.Iterator(film)]
    assert durations[0] == durations[1] < durations[2]


@pytest.mark.parametrize("shape", [(0, 8, 9, 3), (8, 9, 3)])
def test_frames_of_another_shape_are_rejected(shape):
    with pytest.raises(ValueError, match=r"expected frames \(T, H, W, 3\), got shape"):
        gif(np.zeros(shape, np.uint8))
