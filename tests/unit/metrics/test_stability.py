"""Metrics of movement between two maps: by hand, flat maps, invariances, ties."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_cam.metrics import (
    center_shift,
    correlation,
    jsd,
    rank_correlation,
    top_overlap,
)

METRICS = [jsd, correlation, center_shift, rank_correlation, top_overlap]
seeds = st.integers(0, 2**31)
sides = st.integers(2, 8)


def random_pair(seed, n, h, w):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(n, h, w, generator=generator) + 0.01 for _ in range(2))


def row(*cells):
    return torch.tensor([[cells]])


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        (row(1.0, 2.0, 0.0), row(1.0, 2.0, 0.0), 0.0),
        (row(1.0, 0.0), row(0.0, 1.0), 1.0),
        (row(1.0, 0.0, 0.0, 3.0), row(0.0, 2.0, 2.0, 0.0), 1.0),
        # p = (1, 0), q = (1/2, 1/2), m = (3/4, 1/4)
        (row(1.0, 0.0), row(1.0, 1.0 + 1e-6), math.log2(4 / 3) / 2 + math.log2(2 / 3) / 4 + 0.25),
    ],
)
def test_jsd_by_hand(now, before, expected):
    assert jsd(now, before).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        (row(1.0, 2.0, 3.0), row(2.0, 4.0, 6.0), 1.0),
        (row(1.0, 2.0, 3.0), row(3.0, 2.0, 1.0), -1.0),
        (row(1.0, 2.0, 3.0), row(10.0, 20.0, 30.0) + 7, 1.0),
        (row(0.0, 1.0, 0.0, 1.0), row(0.0, 0.0, 1.0, 1.0), 0.0),
        (row(1.0, 2.0, 4.0), row(1.0, 3.0, 2.0), 0.3273268),
    ],
)
def test_correlation_by_hand(now, before, expected):
    assert correlation(now, before).item() == pytest.approx(expected, abs=1e-5)


def test_center_shift_by_hand():
    corner, opposite = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    corner[0, 0, 0], opposite[0, 3, 3] = 1.0, 5.0
    assert center_shift(corner, opposite).item() == pytest.approx(0.75)
    assert center_shift(row(1.0, 0.0), row(0.0, 1.0)).item() == pytest.approx(1 / 5**0.5)
    assert center_shift(corner, corner * 3).item() == pytest.approx(0, abs=1e-6)


def test_center_shift_is_a_share_of_the_diagonal_in_pixels():
    """Image 300×400, diagonal 500: half the width is 200 pixels, half the height 150."""
    here, right, below = torch.zeros(3, 1, 2, 2)
    here[0, 0, 0], right[0, 0, 1], below[0, 1, 0] = 1.0, 1.0, 1.0
    assert center_shift(here, right, (300, 400)).item() == pytest.approx(200 / 500)
    assert center_shift(here, below, (300, 400)).item() == pytest.approx(150 / 500)
    assert center_shift(right, below, (300, 400)).item() == pytest.approx(250 / 500)


def test_center_shift_takes_the_proportions_of_the_map_for_those_of_the_image():
    corner, opposite = torch.zeros(1, 3, 4), torch.zeros(1, 3, 4)
    corner[0, 0, 0], opposite[0, 0, 3] = 1.0, 1.0
    assert center_shift(corner, opposite).item() == pytest.approx(3 / 5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("bad", [0.0, 4.0, math.nan, math.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_a_flat_map_on_either_side_gives_nan_for_its_image_only(metric, bad, side):
    pair = list(random_pair(0, 3, 4, 4))
    expected = metric(*pair)
    pair[side][1] = bad
    values = metric(*pair)
    assert values[1].isnan()
    assert torch.equal(values[[0, 2]], expected[[0, 2]])


@given(seeds, sides, sides)
def test_bounds_and_symmetry(seed, h, w):
    now, before = random_pair(seed, 4, h, w)
    now = now * (now > 0.5)  # logarithms of zeros must not give infinity
    now[:, 0, 0] = 1.0
    for metric, low in zip(METRICS, (0, -1, 0, -1, 0), strict=True):
        values = metric(now, before)
        assert ((values >= low) & (values <= 1)).all()
        torch.testing.assert_close(metric(before, now), values)


@given(seeds, sides, sides)
def test_values_of_equal_maps(seed, h, w):
    maps, _ = random_pair(seed, 3, h, w)
    torch.testing.assert_close(jsd(maps, maps), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(correlation(maps, maps), torch.ones(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(center_shift(maps, maps), torch.zeros(3))
    torch.testing.assert_close(rank_correlation(maps, maps), torch.ones(3), atol=1e-5, rtol=0)
    assert top_overlap(maps, maps).tolist() == [1, 1, 1]


@given(seeds, sides, sides, st.floats(1e-20, 1e20))
def test_values_do_not_depend_on_the_scale_of_either_map(seed, h, w, scale):
    now, before = random_pair(seed, 3, h, w)
    for metric in METRICS:
        close = {"rtol": 1e-4, "atol": 1e-5}
        torch.testing.assert_close(metric(now * scale, before), metric(now, before), **close)
        torch.testing.assert_close(metric(now, before * scale), metric(now, before), **close)


@given(seeds, sides, sides, st.sampled_from([[1], [2], [1, 2]]), st.permutations(range(3)))
def test_joint_flips_and_the_order_of_the_batch_change_nothing(seed, h, w, dims, order):
    now, before = random_pair(seed, 3, h, w)
    close = {"rtol": 1e-4, "atol": 1e-5}
    for metric in METRICS:
        values = metric(now, before)
        torch.testing.assert_close(metric(now.flip(dims), before.flip(dims)), values, **close)
        torch.testing.assert_close(metric(now[order], before[order]), values[order])


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        (row(1.0, 2.0, 30.0), row(1.0, 200.0, 201.0), 1.0),
        (row(1.0, 2.0, 3.0), row(9.0, 0.5, 0.0), -1.0),
        (row(1.0, 2.0, 3.0, 4.0), row(2.0, 1.0, 4.0, 3.0), 0.6),  # 1 - 6·4 / (4·15)
        # ranks 1.5 1.5 3 against 1 2 3: 1.5 / sqrt(1.5 · 2)
        (row(0.0, 0.0, 5.0), row(1.0, 2.0, 3.0), 1.5 / 3**0.5),
    ],
)
def test_rank_correlation_by_hand(now, before, expected):
    assert rank_correlation(now, before).item() == pytest.approx(expected, abs=1e-6)


@given(seeds, sides, sides)
def test_rank_metrics_do_not_change_under_a_monotonic_transform(seed, h, w):
    now, before = random_pair(seed, 3, h, w)
    for metric in (rank_correlation, top_overlap):
        torch.testing.assert_close(metric(now**3, before), metric(now, before))


@pytest.mark.parametrize(
    ("share", "expected"), [(0.2, 0.0), (0.4, 1 / 3), (0.6, 1 / 2), (0.8, 0.6), (0.0, 0.0)]
)
def test_top_overlap_by_hand(share, expected):
    now, before = row(5.0, 4.0, 3.0, 2.0, 1.0), row(4.0, 1.0, 5.0, 3.0, 2.0)
    assert top_overlap(now, before, share).item() == pytest.approx(expected)


def test_maps_with_one_cell_each_overlap_only_where_it_is_the_same():
    """A fifth of 8×8 is 13 cells; zeros among them must not count as overlap."""
    now, before = torch.zeros(2, 8, 8), torch.zeros(2, 8, 8)
    now[0, 1, 1], before[0, 6, 6] = 1.0, 1.0
    now[1, 0, 7], before[1, 0, 7] = 2.0, 1.0
    assert top_overlap(now, before).tolist() == [0, 1]


@given(seeds, st.sampled_from([[1], [2], [1, 2]]))
def test_flips_do_not_change_rank_metrics_with_ties(seed, dims):
    now, before = ((each * 3).round() for each in random_pair(seed, 3, 7, 7))
    for metric in (rank_correlation, top_overlap):
        torch.testing.assert_close(metric(now.flip(dims), before.flip(dims)), metric(now, before))


@given(seeds)
def test_more_noise_gives_more_movement(seed):
    maps, noise = random_pair(seed, 1, 7, 7)
    little, much = maps + 0.02 * noise, maps + 2 * noise
    assert jsd(little, maps) < jsd(much, maps)
    assert correlation(little, maps) > correlation(much, maps)


@pytest.mark.parametrize("metric", METRICS)
def test_several_earlier_maps_give_what_each_of_them_gives(metric):
    now, flat = torch.rand(3, 5, 6), torch.ones(3, 5, 6)
    earlier = [torch.rand(3, 5, 6), now, flat, torch.rand(3, 5, 6)]
    expected = torch.stack([metric(now, each) for each in earlier])
    assert torch.equal(metric(now, earlier).nan_to_num(-9), expected.nan_to_num(-9))


def test_what_belongs_to_one_batch_of_maps_alone_is_computed_once():
    now, earlier = torch.rand(3, 5, 6), [torch.rand(3, 5, 6) for _ in range(3)]
    with Operations() as first:
        rank_correlation(now, earlier)
    with Operations() as again:
        rank_correlation(now, earlier)
    assert first.counts["aten.sort"] == 4
    assert again.counts["aten.sort"] == 0
    assert again.counts.total() < 10


class Operations(TorchDispatchMode):
    """Counts the operations on tensors by name."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.counts[str(function.overloadpacket)] += 1
        return function(*args, **(kwargs or {}))
