"""Captions, the film strip, and pixels in and out of files."""

import time

import numpy as np
import pytest
import torch

from lightning_cam.render import decode, film, grid, jpeg, overlay, png, tiles, with_caption
from lightning_cam.render.captions import drawable, font, legible, shortened

_ODD = [
    "",
    " ",
    "a" * 500,
    "two\nlines\r\nand\ta tab",
    "Käse 日本語 العربية 😀",
    "\x00\x07",
    "%s {} <b>",
    "\ud800 lone",
]


def picture(height=60, width=90, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("text", _ODD, ids=ascii)
@pytest.mark.parametrize("width", [1, 12, 90, 768])
def test_captions_of_any_kind_fit_below_the_picture(text, width):
    plain = picture(width=width)
    captioned = with_caption(plain, [text, "second"])
    assert captioned.dtype == np.uint8
    assert captioned.shape[1:] == plain.shape[1:]
    assert np.array_equal(captioned[: len(plain)], plain)
    assert len(captioned) > len(plain)


def test_captions_can_be_read():
    strip = with_caption(picture(224, 224), ["cat, epoch 3"])[224:]
    dark = (strip < 100).all(axis=2)
    assert dark.sum() > 50
    assert (strip[:, :6] == 255).all()
    assert (strip[:, -6:] == 255).all()


def test_each_line_has_its_own_place():
    one = with_caption(picture(224, 224), ["Ágy"])[224:]
    two = with_caption(picture(224, 224), ["Ágy", "Ágy"])[224:]
    assert len(two) > 1.5 * len(one)
    inked = (two < 128).any(axis=(1, 2))
    assert np.diff(inked.astype(int)).tolist().count(1) >= 2


@pytest.mark.parametrize("text", [text for text in _ODD if "\ud800" not in text], ids=ascii)
@pytest.mark.parametrize("width", [30, 100])
def test_shortened_text_fits(text, width):
    assert font(13).getlength(shortened(text, width, 13)) <= width


def test_text_that_fits_is_not_touched():
    assert shortened("cat, epoch 3", 500, 13) == "cat, epoch 3"


def test_a_very_long_name_does_not_hold_up_the_training():
    start = time.perf_counter()
    shortened("n" * 2_000, 200, 13)
    assert time.perf_counter() - start < 0.2


# --- rows and columns ---------------------------------------------------------------------------


def columns(count, images=2, height=40, width=64):
    seeds = np.arange(count * images).reshape(count, images).tolist()
    return [np.stack([picture(height, width, seed) for seed in column]) for column in seeds]


def test_every_thumbnail_stands_in_its_row_and_column():
    thumbnails = columns(3)
    strip = grid(thumbnails, ["epoch 0", "epoch 1", "epoch 2"], ["cat", "dog"])
    places = np.array([[place_of(thumbnails[j][i], strip) for j in range(3)] for i in range(2)])
    assert (places[:, :, 0] == places[:, :1, 0]).all()  # a row is level
    assert (places[:, :, 1] == places[:1, :, 1]).all()  # a column upright
    assert (np.diff(places[:, :, 0], axis=0) >= 40).all()
    assert (np.diff(places[:, :, 1], axis=1) >= 64).all()


def place_of(thumbnail, strip):
    """Return where a thumbnail stands in the strip, by its first row of pixels."""
    first = thumbnail[0]
    windows = np.lib.stride_tricks.sliding_window_view(strip, first.shape[0], axis=1)
    hits = np.argwhere((windows == first.T).all(axis=(2, 3)))
    assert len(hits) == 1
    y, x = hits[0]
    assert np.array_equal(strip[y : y + len(thumbnail), x : x + thumbnail.shape[1]], thumbnail)
    return y, x


def test_the_strip_grows_by_equal_columns_and_rows():
    shapes = {
        (n, k): grid(columns(n, k), ["t"] * n, ["r"] * k).shape for n in (1, 2, 3) for k in (1, 2)
    }
    assert shapes[2, 1][1] - shapes[1, 1][1] == shapes[3, 1][1] - shapes[2, 1][1] >= 64
    assert shapes[1, 2][0] - shapes[1, 1][0] >= 40
    assert shapes[3, 2][0] == shapes[1, 2][0]


@pytest.mark.parametrize("text", _ODD, ids=ascii)
def test_titles_and_rows_of_any_kind_leave_the_thumbnails_alone(text):
    thumbnails = columns(2)
    strip = grid(thumbnails, [text, "epoch 1"], [text, "dog"])
    for column in thumbnails:
        for thumbnail in column:
            place_of(thumbnail, strip)
    assert strip.shape[1] <= 160 + 2 * (112 + 8) + 8  # words may widen a column, so far


def test_narrow_thumbnails_are_possible():
    strip = grid(columns(2, 1, height=96, width=1), ["epoch 0", "epoch 1"], ["cat"])
    assert strip.dtype == np.uint8


def test_rows_lower_than_their_words_do_not_write_over_each_other():
    words = [["one", "two", "three", "four"]] * 3
    low = grid(columns(1, images=3, height=10), ["t"], words)
    lines = (low[:, :36] < 128).any(axis=(1, 2))
    assert np.diff(lines.astype(int)).tolist().count(1) >= 3 * 4  # each line by itself
    assert len(low) >= 3 * 4 * 15


def test_a_heading_is_not_cut_by_a_narrow_picture():
    plain = grid(columns(1), ["t"], ["r", "s"])
    headed = grid(columns(1), ["t"], ["r", "s"], "what this picture shows, at some length")
    assert headed.shape[1] > plain.shape[1] + 50
    assert len(headed) > len(plain)
    assert (headed[:24, plain.shape[1] :] < 128).any()


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_tiles_stand_beside_and_below_each_other_with_their_words(count):
    thumbnails = np.stack([picture(40, 64, seed) for seed in range(count)])
    sheet = tiles(thumbnails, [["name", f"{n} maps"] for n in range(count)], "heading")
    places = [place_of(thumbnail, sheet) for thumbnail in thumbnails]
    assert len(set(places)) == count
    for y, x in places:
        assert (sheet[y + 40 : y + 76, x : x + 40] < 128).any()


def test_tiles_leave_no_row_nearly_empty():
    thumbnails = np.stack([picture(40, 64, seed) for seed in range(11)])
    tops = [place_of(t, tiles(thumbnails, [""] * 11))[0] for t in thumbnails]
    rows = [tops.count(top) for top in sorted(set(tops))]
    assert max(rows) - min(rows) <= 1


def test_frames_of_a_film_differ_in_pictures_and_heading_only():
    frames = np.stack([picture(40, 64, seed) for seed in range(4)]).reshape(2, 2, 40, 64, 3)
    made = film(frames, ["a", "b"], ["epoch 0", "epoch 1"])
    assert made.shape[0] == 2
    for i in range(2):
        for n in range(2):
            place_of(frames[i, n], made[i])
    y, _ = place_of(frames[0, 0], made[0])
    assert np.array_equal(made[0][y + 40 :], made[1][y + 40 :])  # the captions
    assert not np.array_equal(made[0][:y], made[1][:y])  # the headings


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("犬", "?"),
        ("日本 kyōto", "? kyoto"),
        ("Ødegård ß – “x”", 'Odegard ss - "x"'),
        ("\ud800 lone", "? lone"),
        ("cat · 3/4", "cat · 3/4"),
    ],
    ids=ascii,
)
def test_letters_that_the_font_lacks_are_replaced(text, shown):
    assert drawable(text) == shown
    assert legible(text) is (shown != "?")


# --- files ---------------------------------------------------------------------------------------


def test_png_keeps_every_pixel():
    assert np.array_equal(decode(png(picture())), picture())


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


def test_pictures_that_are_views_are_encoded_as_they_look():
    turned = picture().transpose(1, 0, 2)[::-1]
    assert np.array_equal(decode(png(turned)), turned)


def test_what_is_no_picture_is_said_to_be_none():
    with pytest.raises(ValueError, match="expected an encoded picture"):
        decode(b"not a picture")
