"""Thumbnails in rows, columns and tiles: where they are placed, and the text around them."""

import numpy as np
import pytest
from helpers.texts import ODD_TEXTS, noise

from lightning_cam.render import film, grid, tiles


def columns(count, images=2, height=40, width=64):
    seeds = np.arange(count * images).reshape(count, images).tolist()
    return [np.stack([noise(height, width, seed) for seed in column]) for column in seeds]


def test_every_thumbnail_is_in_its_row_and_column():
    thumbnails = columns(3)
    image = grid(thumbnails, ["epoch 0", "epoch 1", "epoch 2"], ["cat", "dog"])
    places = np.array([[place_of(thumbnails[j][i], image) for j in range(3)] for i in range(2)])
    assert (places[:, :, 0] == places[:, :1, 0]).all()  # same height within a row
    assert (places[:, :, 1] == places[:1, :, 1]).all()  # same place within a column
    assert (np.diff(places[:, :, 0], axis=0) >= 40).all()
    assert (np.diff(places[:, :, 1], axis=1) >= 64).all()


def place_of(thumbnail, image):
    """Return row and column of a thumbnail in an image, found by its first row of pixels."""
    first = thumbnail[0]
    windows = np.lib.stride_tricks.sliding_window_view(image, first.shape[0], axis=1)
    hits = np.argwhere((windows == first.T).all(axis=(2, 3)))
    assert len(hits) == 1
    y, x = hits[0]
    assert np.array_equal(image[y : y + len(thumbnail), x : x + thumbnail.shape[1]], thumbnail)
    return y, x


def test_each_column_and_row_adds_the_same_size():
    shapes = {
        (n, k): grid(columns(n, k), ["t"] * n, ["r"] * k).shape for n in (1, 2, 3) for k in (1, 2)
    }
    assert shapes[2, 1][1] - shapes[1, 1][1] == shapes[3, 1][1] - shapes[2, 1][1] >= 64
    assert shapes[1, 2][0] - shapes[1, 1][0] >= 40
    assert shapes[3, 2][0] == shapes[1, 2][0]


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
def test_any_text_leaves_the_thumbnails_unchanged(text):
    thumbnails = columns(2)
    image = grid(thumbnails, [text, "epoch 1"], [text, "dog"])
    for column in thumbnails:
        for thumbnail in column:
            place_of(thumbnail, image)
    assert image.shape[1] <= 160 + 2 * (112 + 8) + 8  # text may widen a column up to here


def test_thumbnails_may_be_one_pixel_wide():
    image = grid(columns(2, 1, height=96, width=1), ["epoch 0", "epoch 1"], ["cat"])
    assert image.dtype == np.uint8


def test_text_higher_than_its_row_makes_the_row_higher():
    words = [["one", "two", "three", "four"]] * 3
    low = grid(columns(1, images=3, height=10), ["t"], words)
    lines = (low[:, :36] < 128).any(axis=(1, 2))
    assert np.diff(lines.astype(int)).tolist().count(1) >= 3 * 4  # no lines overlap
    assert len(low) >= 3 * 4 * 15


def test_a_heading_widens_a_narrow_image():
    plain = grid(columns(1), ["t"], ["r", "s"])
    headed = grid(columns(1), ["t"], ["r", "s"], "what this image shows, at some length")
    assert headed.shape[1] > plain.shape[1] + 50
    assert len(headed) > len(plain)
    assert (headed[:24, plain.shape[1] :] < 128).any()


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_tiles_have_places_of_their_own_with_text_below(count):
    thumbnails = np.stack([noise(40, 64, seed) for seed in range(count)])
    sheet = tiles(thumbnails, [["name", f"{n} maps"] for n in range(count)], "heading")
    places = [place_of(thumbnail, sheet) for thumbnail in thumbnails]
    assert len(set(places)) == count
    for y, x in places:
        assert (sheet[y + 40 : y + 76, x : x + 40] < 128).any()


def test_rows_of_tiles_have_similar_lengths():
    thumbnails = np.stack([noise(40, 64, seed) for seed in range(11)])
    tops = [place_of(t, tiles(thumbnails, [""] * 11))[0] for t in thumbnails]
    rows = [tops.count(top) for top in sorted(set(tops))]
    assert max(rows) - min(rows) <= 1


def test_frames_of_a_film_differ_in_thumbnails_and_heading_only():
    frames = np.stack([noise(40, 64, seed) for seed in range(4)]).reshape(2, 2, 40, 64, 3)
    made = film(frames, ["a", "b"], ["epoch 0", "epoch 1"])
    assert made.shape[0] == 2
    for i in range(2):
        for n in range(2):
            place_of(frames[i, n], made[i])
    y, _ = place_of(frames[0, 0], made[0])
    assert np.array_equal(made[0][y + 40 :], made[1][y + 40 :])  # the captions
    assert not np.array_equal(made[0][:y], made[1][:y])  # the headings
