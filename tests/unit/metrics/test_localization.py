"""Metrics of maps against masks: by hand, where undefined, invariances, ties."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from lightning_cam.metrics import (
    coverage,
    enrichment,
    iou,
    pointing_game,
    relevance_mass,
    relevance_rank,
)

METRICS = [relevance_mass, enrichment, pointing_game, relevance_rank, iou]
seeds = st.integers(0, 2**31)
sides = st.integers(2, 7)


def random_case(seed, n, h, w, factor=1):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(n, h, w, generator=generator) + 0.01
    masks = torch.rand(n, h * factor, w * factor, generator=generator) < 0.4
    masks[:, 0, 0], masks[:, -1, -1] = True, False
    return maps, masks


def left_half(n, size):
    masks = torch.zeros(n, size, size, dtype=torch.bool)
    masks[:, :, : size // 2] = True
    return masks


def peak(h, w, y, x):
    maps = torch.zeros(1, h, w)
    maps[0, y, x] = 1.0
    return maps


# --- by hand --------------------------------------------------------------------------------------


def test_coverage_by_hand():
    mask = torch.tensor([[[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]]).bool()
    assert coverage(mask, (2, 2)).tolist() == [[[0.75, 0.0], [0.0, 1.0]]]
    assert torch.equal(coverage(mask, (4, 4)), mask.float())


def test_relevance_mass_and_enrichment_by_hand():
    maps = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    mask = torch.tensor([[[0, 1], [0, 1]]]).bool()
    assert relevance_mass(maps, mask).item() == pytest.approx(0.6)
    assert enrichment(maps, mask).item() == pytest.approx(1.2)


def test_cells_that_the_mask_covers_in_part_count_in_part():
    maps = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :4, 2:6] = True  # half of both upper cells, a quarter of the area
    assert relevance_mass(maps, mask).item() == pytest.approx((0.5 + 1.0) / 10)
    assert enrichment(maps, mask).item() == pytest.approx(0.15 / 0.25)


@pytest.mark.parametrize(("grid", "size"), [((7, 7), 32), ((4, 4), 16), ((3, 5), 64), ((8, 8), 8)])
def test_enrichment_of_a_uniform_map_is_one(grid, size):
    maps = 1 + 1e-5 * torch.rand(1, *grid)  # exactly uniform ones count as flat
    mask = torch.zeros(1, size, size, dtype=torch.bool)
    mask[0, 1 : size // 2, 2 : size // 3 + 1] = True
    assert enrichment(maps, mask).item() == pytest.approx(1, abs=1e-4)


def test_a_map_on_a_quarter_of_the_image_is_enriched_four_times():
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, :2, :2] = True
    assert enrichment(peak(2, 2, 0, 0), mask).item() == pytest.approx(4)
    assert enrichment(peak(2, 2, 1, 1), mask).item() == 0


@pytest.mark.parametrize(
    ("y", "x", "hit"), [(0, 0, 1.0), (3, 1, 1.0), (0, 2, 0.0), (3, 3, 0.0), (1, 1, 1.0)]
)
@pytest.mark.parametrize("size", [4, 12, 32])
def test_pointing_game_by_hand(y, x, hit, size):
    assert pointing_game(peak(4, 4, y, x), left_half(1, size)).item() == hit


@pytest.mark.parametrize("value", [0.0, 2.0])
def test_a_constant_map_is_a_miss_in_the_pointing_game(value):
    maps = torch.full((1, 4, 4), value)
    assert pointing_game(maps, torch.ones(1, 8, 8, dtype=torch.bool)).item() == 0


@pytest.mark.parametrize(
    ("cells", "object_cells", "expected"),
    [
        ([9.0, 8, 7, 1], [0, 1], 1.0),
        ([9.0, 8, 7, 1], [2, 3], 0.0),
        ([9.0, 1, 7, 8], [0, 1], 0.5),
        ([9.0, 8, 7, 1], [1, 2, 3], 2 / 3),
    ],
)
def test_relevance_rank_by_hand(cells, object_cells, expected):
    mask = torch.zeros(1, 1, 4, dtype=torch.bool)
    mask[0, 0, object_cells] = True
    assert relevance_rank(torch.tensor([[cells]]), mask).item() == pytest.approx(expected)


def test_relevance_rank_counts_partly_covered_cells_in_part():
    mask = torch.zeros(1, 2, 8, dtype=torch.bool)
    mask[0, :, 1:4] = True  # half of the first cell of four, all of the second: K = 1.5, so 2
    maps = torch.tensor([[[4.0, 3.0, 2.0, 1.0]]])
    assert relevance_rank(maps, mask).item() == pytest.approx(1.5 / 2)
    assert relevance_rank(maps.flip(2), mask).item() == 0


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.5, 1 / 3), (0.2, 2 / 3), (0.0, 2 / 3), (0.9, 1 / 2)],
)
def test_iou_by_hand(threshold, expected):
    maps = torch.tensor([[[10.0, 0.0], [3.0, 6.0]]])
    mask = torch.tensor([[[1, 0], [1, 0]]]).bool()
    assert iou(maps, mask, threshold).item() == pytest.approx(expected)


def test_iou_counts_partly_covered_cells_in_part():
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, :2, :3] = True  # all of the first upper cell, half of the second
    assert iou(peak(2, 2, 0, 0), mask).item() == pytest.approx(1 / 1.5)
    assert iou(peak(2, 2, 0, 1), mask).item() == pytest.approx(0.5 / 2)
    assert iou(peak(2, 2, 1, 1), mask).item() == 0


# --- undefined values -----------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_an_empty_mask_gives_nan(metric):
    maps, _ = random_case(0, 2, 4, 4)
    assert metric(maps, torch.zeros(2, 8, 8, dtype=torch.bool)).isnan().all()


def test_values_of_a_full_mask():
    maps, _ = random_case(0, 2, 4, 4)
    full = torch.ones(2, 8, 8, dtype=torch.bool)
    torch.testing.assert_close(relevance_mass(maps, full), torch.ones(2))
    assert enrichment(maps, full).isnan().all()
    assert pointing_game(maps, full).tolist() == [1, 1]
    assert relevance_rank(maps, full).tolist() == [1, 1]
    hot = maps > maps.amax(dim=(1, 2), keepdim=True) / 2
    torch.testing.assert_close(iou(maps, full), hot.float().mean(dim=(1, 2)))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_cell_that_is_not_finite_gives_nan_for_its_image_only(metric, bad):
    maps, masks = random_case(0, 3, 4, 4, factor=2)
    expected = metric(maps, masks)
    maps[1, 2, 2] = bad
    values = metric(maps, masks)
    assert values[1].isnan()
    assert torch.equal(values[[0, 2]], expected[[0, 2]])


@pytest.mark.parametrize("metric", [relevance_mass, enrichment, relevance_rank, iou])
@pytest.mark.parametrize("value", [0.0, 1e-30])
def test_a_flat_map_gives_nan_for_its_image_only(metric, value):
    maps, masks = random_case(0, 2, 4, 4)
    maps[0] = value
    values = metric(maps, masks)
    assert values[0].isnan()
    assert values[1].isfinite()


# --- properties -----------------------------------------------------------------------------------


@given(seeds, sides, sides, st.floats(1e-20, 1e20))
def test_values_do_not_depend_on_the_scale_of_the_map(seed, h, w, scale):
    maps, masks = random_case(seed, 3, h, w, factor=2)
    for metric in METRICS:
        torch.testing.assert_close(metric(maps * scale, masks), metric(maps, masks))


@given(seeds, sides, sides, st.sampled_from([1, 3]), st.sampled_from([[1], [2], [1, 2]]))
def test_flipping_map_and_mask_together_changes_nothing(seed, h, w, factor, dims):
    """With an odd number of pixels per cell, since an even one has no pixel at its centre."""
    maps, masks = random_case(seed, 3, h, w, factor)
    assume(len(maps.unique()) == maps.numel())  # of two equal peaks a flip finds the other one
    for metric in METRICS:
        torch.testing.assert_close(metric(maps.flip(dims), masks.flip(dims)), metric(maps, masks))


@given(seeds, st.sampled_from([(5, 7, 3, 4), (9, 8, 4, 3), (13, 13, 7, 7)]))
def test_flips_change_nothing_on_grids_that_do_not_divide_the_image(seed, sizes):
    H, W, h, w = sizes
    maps, _ = random_case(seed, 2, h, w)
    _, masks = random_case(seed, 2, H, W)
    for metric in (relevance_mass, enrichment):
        torch.testing.assert_close(metric(maps.flip(2), masks.flip(2)), metric(maps, masks))


@given(seeds, sides, sides, st.permutations(range(4)))
def test_values_do_not_depend_on_the_other_images(seed, h, w, order):
    maps, masks = random_case(seed, 4, h, w, factor=2)
    maps[0] = 0
    masks[1] = False
    for metric in METRICS:
        torch.testing.assert_close(
            metric(maps[order], masks[order]), metric(maps, masks)[order], equal_nan=True
        )


@given(seeds, sides, sides)
def test_mass_on_object_and_background_adds_up_to_one(seed, h, w):
    maps, masks = random_case(seed, 3, h, w, factor=2)
    total = relevance_mass(maps, masks) + relevance_mass(maps, ~masks)
    torch.testing.assert_close(total, torch.ones(3))


@pytest.mark.parametrize("metric", METRICS)
def test_values_are_float32_per_image_and_arguments_are_not_changed(metric):
    maps, masks = random_case(0, 3, 4, 4, factor=2)
    before = maps.clone(), masks.clone()
    values = metric(maps.double(), masks)
    assert (values.shape, values.dtype) == ((3,), torch.float32)
    metric(maps, masks)
    assert torch.equal(maps, before[0])
    assert torch.equal(masks, before[1])
    assert len(metric(maps[:0], masks[:0])) == 0


# --- maps entirely on or off the object -----------------------------------------------------------


@given(seeds, sides, sides, st.sampled_from([1, 2, 3]))
def test_a_map_entirely_on_the_object_has_the_best_values(seed, h, w, factor):
    """With masks that cover cells entirely or not at all."""
    maps, masks = random_case(seed, 3, h, w)
    maps = maps * masks
    assume(all(len(each[each > 0]) > 1 for each in maps))
    large = masks.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    share = masks.float().mean(dim=(1, 2))
    torch.testing.assert_close(relevance_mass(maps, large), torch.ones(3))
    torch.testing.assert_close(enrichment(maps, large), 1 / share)
    assert pointing_game(maps, large).tolist() == [1, 1, 1]
    assert relevance_rank(maps, large).tolist() == [1, 1, 1]
    torch.testing.assert_close(iou(maps, large, threshold=0.0), torch.ones(3))


@given(seeds, sides, sides)
def test_a_map_entirely_off_the_object_has_values_of_zero(seed, h, w):
    maps, masks = random_case(seed, 3, h, w)
    maps = maps * ~masks
    assume(all(len(each.unique()) > 1 for each in maps))
    for metric in (relevance_mass, enrichment, pointing_game, iou):
        assert metric(maps, masks).tolist() == [0, 0, 0]


# --- ties -----------------------------------------------------------------------------------------


def test_of_equally_high_cells_each_counts_by_its_chance():
    """One cell off the object is above zero; the object gets its share of the zeros, anywhere."""
    values = []
    for corner in ((slice(0, 3), slice(0, 4)), (slice(5, 8), slice(4, 8))):
        masks = torch.zeros(1, 8, 8, dtype=torch.bool)
        masks[0][corner] = True
        values.append(relevance_rank(peak(8, 8, 4, 3), masks).item())
    by_chance = 11 / 63  # 11 of the 12 cells are still to be taken, from 63 zeros
    assert values == pytest.approx([by_chance, by_chance])


@given(seeds, st.sampled_from([[1], [2], [1, 2]]))
def test_flips_do_not_change_relevance_rank_with_ties(seed, dims):
    maps, masks = random_case(seed, 3, 7, 7)
    maps = (maps * 3).round()
    torch.testing.assert_close(
        relevance_rank(maps.flip(dims), masks.flip(dims)), relevance_rank(maps, masks)
    )
