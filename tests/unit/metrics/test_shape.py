"""Metrics of single maps: by hand, flat maps, invariances."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_cam.metrics import border_mass, center, entropy, is_flat, mean_activation
from lightning_cam.metrics.shape import as_distribution

SHAPE_METRICS = [border_mass, center, entropy]
sides = st.integers(3, 9)
seeds = st.integers(0, 2**31)


def random_maps(seed, n, h, w):
    return torch.rand(n, h, w, generator=torch.Generator().manual_seed(seed)) + 0.01


def one_cell(h, w, y, x):
    maps = torch.zeros(1, h, w)
    maps[0, y, x] = 3.0
    return maps


def almost_uniform(h, w):
    """Return a map that is uniform up to rounding: exactly uniform ones count as flat."""
    return 1 + 1e-5 * torch.rand(1, h, w)


@pytest.mark.parametrize(
    ("maps", "flat"),
    [
        (torch.zeros(1, 3, 3), True),
        (torch.full((1, 3, 3), 5.0), True),
        (torch.full((1, 3, 3), math.nan), True),
        (torch.tensor([[[1.0, math.inf]]]), True),
        (torch.tensor([[[1.0, math.nan]]]), True),
        (torch.tensor([[[0.0, 1e-38]]]), False),
        (torch.tensor([[[1.0, 1.0 + 2**-23]]]), False),
        (torch.tensor([[[0.0, 3e38]]]), False),
    ],
)
def test_maps_are_flat_where_all_cells_are_equal_or_some_not_finite(maps, flat):
    assert is_flat(maps).tolist() == [flat]


@pytest.mark.parametrize("metric", SHAPE_METRICS)
@pytest.mark.parametrize("bad", [0.0, 2.5, math.nan, math.inf])
def test_flat_maps_give_nan_for_themselves_only(metric, bad):
    good = random_maps(0, 2, 5, 6)
    with_bad = torch.cat([good[:1], torch.full((1, 5, 6), bad), good[1:]])
    values = metric(with_bad)
    assert values[1].isnan().all()
    torch.testing.assert_close(values[[0, 2]], metric(good))


@pytest.mark.parametrize("metric", [*SHAPE_METRICS, mean_activation])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_cell_that_is_not_finite_gives_no_finite_value(metric, bad):
    maps = random_maps(0, 1, 4, 4)
    maps[0, 1, 2] = bad
    assert not metric(maps).isfinite().any()


def test_mean_activation_is_the_mean_of_the_cells():
    maps = torch.tensor([[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert mean_activation(maps).tolist() == [3.0, 0.0]


@pytest.mark.parametrize("scale", [1e-40, 1e-20, 1.0, 1e30])
def test_distributions_sum_to_one_at_any_magnitude(scale):
    maps = torch.tensor([[[1.0, 3.0], [4.0, 0.0]]]) * scale
    expected = torch.tensor([[[0.125, 0.375], [0.5, 0.0]]])
    torch.testing.assert_close(as_distribution(maps), expected, rtol=1e-4, atol=1e-5)


def test_entropy_by_hand():
    half = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    quarters = torch.tensor([[[2.0, 1.0], [1.0, 0.0]]])
    torch.testing.assert_close(entropy(half), torch.tensor([0.5]))
    torch.testing.assert_close(entropy(quarters), torch.tensor([0.75]))


def test_entropy_is_zero_for_one_cell_and_one_for_an_even_map():
    assert entropy(one_cell(4, 5, 1, 2)).item() == 0
    assert entropy(almost_uniform(4, 5)).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("grid", [(3, 3), (4, 7), (7, 7), (14, 14), (56, 30)])
def test_border_mass_of_a_uniform_map_is_one(grid):
    assert border_mass(almost_uniform(*grid)).item() == pytest.approx(1, abs=1e-4)


def test_border_mass_by_hand():
    assert border_mass(one_cell(4, 4, 1, 1)).item() == 0
    assert border_mass(one_cell(4, 4, 0, 1)).item() == pytest.approx(16 / 12)
    inside_and_out = torch.ones(1, 4, 4)
    inside_and_out[0, 1:3, 1:3] = 9.0  # 36 inside, 12 outside
    assert border_mass(inside_and_out).item() == pytest.approx((12 / 48) / (12 / 16))
    assert border_mass(one_cell(16, 16, 2, 2)).item() == 0  # the ring is two cells
    assert border_mass(one_cell(16, 16, 1, 8)).item() == pytest.approx(256 / 112)


def test_border_mass_is_nan_where_all_cells_are_border():
    assert border_mass(random_maps(0, 2, 2, 8)).isnan().all()
    assert border_mass(random_maps(0, 2, 8, 8), width=0.5).isnan().all()


@pytest.mark.parametrize(
    ("y", "x", "expected"),
    [(0, 0, [0.1, 0.125]), (3, 4, [0.9, 0.875]), (0, 4, [0.9, 0.125]), (1, 2, [0.5, 0.375])],
)
def test_center_is_x_and_y_from_the_top_left(y, x, expected):
    assert center(one_cell(4, 5, y, x))[0].tolist() == pytest.approx(expected)


def test_center_is_weighted_by_the_cells():
    maps = torch.tensor([[[3.0, 0.0, 0.0, 1.0]]])
    assert center(maps)[0].tolist() == pytest.approx([(3 * 0.125 + 0.875) / 4, 0.5])


@given(seeds, sides, sides, st.floats(1e-20, 1e20))
def test_values_do_not_depend_on_the_scale_of_the_map(seed, h, w, scale):
    maps = random_maps(seed, 3, h, w)
    for metric in SHAPE_METRICS:
        torch.testing.assert_close(
            metric(maps * scale), metric(maps), rtol=1e-4, atol=1e-5, equal_nan=True
        )


@given(seeds, sides, sides)
def test_flips_mirror_the_center_and_change_nothing_else(seed, h, w):
    maps = random_maps(seed, 2, h, w)
    for metric in (entropy, border_mass):
        torch.testing.assert_close(metric(maps.flip(2)), metric(maps), rtol=1e-4, atol=1e-5)
    mirrored = center(maps.flip(2))
    torch.testing.assert_close(mirrored[:, 0], 1 - center(maps)[:, 0])
    torch.testing.assert_close(mirrored[:, 1], center(maps)[:, 1])


@given(seeds, sides, sides, st.permutations(range(4)))
def test_values_do_not_depend_on_the_other_images(seed, h, w, order):
    maps = random_maps(seed, 4, h, w)
    maps[0] = 0
    for metric in [*SHAPE_METRICS, mean_activation]:
        torch.testing.assert_close(metric(maps[order]), metric(maps)[order], equal_nan=True)
    assert torch.equal(is_flat(maps[order]), is_flat(maps)[order])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("metric", [*SHAPE_METRICS, mean_activation])
def test_values_are_float32_for_any_dtype_of_maps(metric, dtype):
    maps = random_maps(0, 2, 5, 5)
    values = metric(maps.to(dtype))
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, metric(maps), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("metric", [*SHAPE_METRICS, mean_activation, is_flat])
def test_no_maps_give_no_values_and_arguments_are_not_changed(metric):
    assert len(metric(torch.zeros(0, 4, 4))) == 0
    maps = random_maps(0, 2, 4, 4)
    before = maps.clone()
    metric(maps)
    assert torch.equal(maps, before)
