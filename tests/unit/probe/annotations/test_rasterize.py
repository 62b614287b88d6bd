"""Outlines and run lengths as masks, against masks made by hand."""

import numpy as np
import pytest
from helpers.annotations import HEIGHT, POLYGON, WIDTH, rectangle
from hypothesis import given
from hypothesis import strategies as st

from lightning_cam.probe.annotations.rasterize import (
    check_runs,
    check_size,
    decode_counts,
    encode_runs,
    expand_runs,
    fill_polygon,
)

RUNS = [8, 2, 4, 2, 4, 2, 4, 2, 4, 2, 14]  # of the rectangle: a column has six pixels


def polygon(*numbers):
    return np.array(numbers, dtype=float).reshape(-1, 2)


def test_a_rectangle_along_the_pixels():
    assert np.array_equal(fill_polygon(polygon(*POLYGON), HEIGHT, WIDTH), rectangle())


def test_a_pixel_belongs_to_an_outline_if_its_centre_does():
    just_over = polygon(1.49, 2.49, 5.51, 2.49, 5.51, 3.51, 1.49, 3.51)
    just_under = polygon(1.51, 2.51, 5.49, 2.51, 5.49, 3.49, 1.51, 3.49)
    assert np.array_equal(fill_polygon(just_over, HEIGHT, WIDTH), rectangle())
    assert np.array_equal(fill_polygon(just_under, HEIGHT, WIDTH), np.zeros((HEIGHT, WIDTH)))


def test_a_triangle():
    under_the_diagonal = fill_polygon(polygon(0, 0.1, 4, 4.1, 0, 4.1), 4, 4)
    assert np.array_equal(under_the_diagonal, np.tril(np.ones((4, 4), dtype=bool), -1))


def test_an_outline_that_crosses_itself_is_even_odd():
    bow = polygon(0, 0, 8, 6, 8, 0, 0, 6)
    found = fill_polygon(bow, HEIGHT, WIDTH)
    assert found[2, 0]
    assert found[2, 7]
    assert not found[0, 3]
    assert not found[5, 4]


def test_parts_outside_of_the_image_are_cut_off():
    assert fill_polygon(polygon(-50, -50, 50, -50, 50, 50, -50, 50), HEIGHT, WIDTH).all()
    assert not fill_polygon(polygon(20, 0, 30, 0, 30, 6, 20, 6), HEIGHT, WIDTH).any()
    assert not fill_polygon(polygon(-9, 0, -2, 0, -2, 6, -9, 6), HEIGHT, WIDTH).any()


def test_run_lengths_go_by_columns_and_begin_with_the_background():
    assert encode_runs(rectangle()) == RUNS
    assert np.array_equal(expand_runs(RUNS, HEIGHT, WIDTH), rectangle())
    assert encode_runs(np.ones((2, 3), dtype=bool)) == [0, 6]
    assert encode_runs(np.zeros((2, 3), dtype=bool)) == [6]
    by_rows = [17, 5, 3, 5, 18]
    assert np.array_equal(expand_runs(by_rows, HEIGHT, WIDTH, by_rows=True), rectangle())


@given(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_run_lengths_restore_any_mask(height, width, random):
    mask = np.array([[random.random() < 0.5 for _ in range(width)] for _ in range(height)])
    counts = check_runs(encode_runs(mask), height, width)
    assert np.array_equal(expand_runs(counts, height, width), mask)


def test_the_compressed_string_of_coco():
    assert decode_counts("8240000000:") == RUNS  # as pycocotools writes it
    assert decode_counts("") == []


@pytest.mark.parametrize("text", ["8240000000:P", "\n", "o" * 9, "80é"])
def test_other_strings_are_refused(text):
    with pytest.raises(ValueError, match="as COCO compresses them"):
        decode_counts(text)


@pytest.mark.parametrize(
    "counts", [[47], [49], [50, -2], [48.0], ["48"], None, "48", [[48]], [True] * 48]
)
def test_run_lengths_of_another_size_are_refused(counts):
    with pytest.raises(ValueError, match="expected run lengths of 48 pixels"):
        check_runs(counts, HEIGHT, WIDTH)


@pytest.mark.parametrize("size", [(0, 8), (-1, 8), (6.0, 8), (None, 8), (10**6, 10**6), (True, 8)])
def test_sizes_of_no_image_are_refused(size):
    with pytest.raises(ValueError, match="expected height and width"):
        check_size(*size)
