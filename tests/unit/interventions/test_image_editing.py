"""What altered images are made of: filled regions, partners, regions of maps, private noise."""

import pytest
import torch
from torch import nn

from lightning_cam.interventions.image_editing import (
    CENTER_SIDE,
    TOP_SHARE,
    center_masks,
    choose_partners,
    composite,
    inpaint,
    noise_like,
    shift_regions,
    subsample,
    top_regions,
)

# --- inpaint and composite ------------------------------------------------------------------------


def test_inpainting_interpolates_the_surroundings_and_keeps_the_rest():
    images = torch.rand(2, 3, 32, 32)
    masks = torch.zeros(2, 32, 32, dtype=torch.bool)
    masks[:, 8:20, 8:20] = True
    done = inpaint(images, masks)
    outside = ~masks[:, None].expand_as(images)
    assert torch.equal(done[outside], images[outside])
    assert done.min() >= images[outside].min()
    assert done.max() <= images[outside].max()
    flat = inpaint(torch.full_like(images, 0.25), masks)
    assert torch.allclose(flat, torch.tensor(0.25))


def test_inpainting_everything_gives_zeros():
    everything = torch.ones(2, 6, 6, dtype=torch.bool)
    assert inpaint(torch.rand(2, 3, 6, 6), everything).abs().max() == 0


def test_inpainting_nothing_changes_nothing():
    images = torch.rand(2, 3, 7, 9)
    assert torch.equal(inpaint(images, torch.zeros(2, 7, 9, dtype=torch.bool)), images)


def test_a_composite_is_the_object_of_one_image_on_the_background_of_another():
    images = torch.arange(1.0, 4.0).view(3, 1, 1, 1).expand(3, 1, 8, 8)
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[0, :4, :4] = masks[1, 4:, 4:] = masks[2, 2:4] = True
    rows, partners = torch.tensor([0, 2]), torch.tensor([1, 0])
    done = composite(images, masks, rows, partners)[:, 0]
    for image, row, partner in zip(done, rows.tolist(), partners.tolist(), strict=True):
        expected = torch.where(masks[row], row + 1.0, partner + 1.0)
        torch.testing.assert_close(image, expected)


# --- choices --------------------------------------------------------------------------------------


def test_noise_is_standard_normal_repeatable_and_private():
    images = torch.zeros(4, 3, 32, 32, dtype=torch.float64)
    before = torch.get_rng_state()
    noise = noise_like(images, 5)
    assert torch.equal(torch.get_rng_state(), before)
    assert (noise.shape, noise.dtype) == (images.shape, images.dtype)
    assert noise.mean().item() == pytest.approx(0, abs=0.03)
    assert noise.std().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(noise_like(images, 5), noise)
    assert not torch.equal(noise_like(images, 6), noise)


@pytest.mark.parametrize(("count", "expected"), [(8, 8), (9, 5), (64, 32)])
def test_larger_probes_are_subsampled_by_half(count, expected):
    rows = torch.arange(count)
    assert len(subsample(rows)) == expected
    assert subsample(rows)[0] == 0


@pytest.mark.parametrize("same_class", [True, False])
def test_partners_are_usable_other_images_of_the_right_class(same_class):
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    usable = torch.tensor([True, True, False, True, True, True])
    rows, partners = choose_partners(
        labels, usable, torch.Generator().manual_seed(0), same_class=same_class
    )
    assert rows.tolist() == ([0, 1, 3, 4] if same_class else [0, 1, 3, 4, 5])
    assert (rows != partners).all()
    assert usable[partners].all()
    assert ((labels[rows] == labels[partners]) == same_class).all()


def test_partners_vary_with_the_generator_and_may_be_none():
    labels, usable = torch.zeros(12, dtype=torch.long), torch.ones(12, dtype=torch.bool)
    first, again, other = (
        choose_partners(labels, usable, torch.Generator().manual_seed(s), same_class=True)[1]
        for s in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    rows, partners = choose_partners(labels, usable, torch.Generator(), same_class=False)
    assert (len(rows), len(partners)) == (0, 0)


# --- regions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(20, 20), (32, 32), (224, 224), (24, 60), (7, 9)])
def test_the_middle_is_centred_and_of_the_stated_size(size):
    mask = center_masks(torch.zeros(2, 3, *size))
    assert mask.shape == (2, *size)
    assert torch.equal(mask, mask.flip(1))
    assert torch.equal(mask, mask.flip(2))
    for sides, length in ((mask[0].any(dim=1), size[0]), (mask[0].any(dim=0), size[1])):
        assert abs(int(sides.sum()) - CENTER_SIDE * length) <= 1
    if min(size) >= 200:
        assert mask.float().mean().item() == pytest.approx(CENTER_SIDE**2, abs=0.005)
    if size == (20, 20):
        assert mask.float().mean().item() == pytest.approx(CENTER_SIDE**2)


@pytest.mark.parametrize("grid", [(4, 4), (7, 7), (3, 5), (20, 24)])
def test_top_regions_are_the_highest_quarter(grid):
    maps = torch.rand(3, *grid)
    regions = top_regions(maps, 20, 24)
    assert regions.flatten(1).sum(dim=1).tolist() == [round(TOP_SHARE * 20 * 24)] * 3
    large = nn.functional.interpolate(maps[:, None], size=(20, 24), mode="bilinear")[:, 0]
    for each, chosen in zip(large, regions, strict=True):
        assert each[chosen].min() >= each[~chosen].max()


def test_top_regions_ignore_scale_and_follow_flips_and_order():
    maps = torch.rand(3, 5, 6)
    regions = top_regions(maps, 20, 24)
    assert torch.equal(top_regions(maps * 2.0**-20, 20, 24), regions)
    assert torch.equal(top_regions(maps.flip(2), 20, 24), regions.flip(2))
    assert torch.equal(top_regions(maps[[2, 0, 1]], 20, 24), regions[[2, 0, 1]])


def test_shifted_regions_keep_shape_and_area_and_draw_from_the_given_stream():
    regions = torch.zeros(6, 10, 12, dtype=torch.bool)
    regions[:, 2:5, 3:8] = True
    before = torch.get_rng_state()
    moved = shift_regions(regions, torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(moved.flatten(1).sum(1), regions.flatten(1).sum(1))
    for old, new in zip(regions, moved, strict=True):
        shifts = [(y, x) for y in range(10) for x in range(12)]
        assert any(torch.equal(old.roll(by, dims=(0, 1)), new) for by in shifts)
    for dim in (1, 2):  # vertically as well as horizontally
        assert len({tuple(each.any(dim=dim - 1).tolist()) for each in moved}) > 1
    assert torch.equal(shift_regions(regions, torch.Generator().manual_seed(0)), moved)
