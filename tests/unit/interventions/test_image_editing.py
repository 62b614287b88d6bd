"""What exchanges are made of: squares, tiles, filled regions, colours, spectra, noise."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from lightning_cam.interventions.image_editing import (
    inpaint,
    largest_rectangle,
    mean_colors,
    middle,
    noise_levels,
    noise_like,
    random_squares,
    squares,
    tile,
    with_noise_of,
    with_sharpness_of,
    with_statistics_of,
)


def smooth(count=4, size=32, seed=0):
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(size, size), mode="bicubic")


# --- regions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(20, 20), (224, 224), (24, 60), (7, 9)])
def test_the_middle_is_centred_and_of_the_stated_size(size):
    mask = middle(*size, 0.7)
    assert mask.shape == size
    assert torch.equal(mask, mask.flip(0))
    assert torch.equal(mask, mask.flip(1))
    for sides, length in ((mask.any(dim=1), size[0]), (mask.any(dim=0), size[1])):
        assert abs(int(sides.sum()) - 0.7 * length) <= 1


def test_squares_lie_at_their_corners():
    found = squares(torch.tensor([[1, 2], [0, 0]]), torch.tensor([[3, 2], [1, 5]]), 6, 5)
    assert found[0].nonzero().amin(dim=0).tolist() == [1, 2]
    assert found[0].nonzero().amax(dim=0).tolist() == [3, 3]
    assert found[1].sum() == 5


def test_random_squares_have_the_area_and_lie_inside_wherever_they_are_drawn():
    draws = torch.tensor([[0.0, 0.0], [0.999, 0.999], [0.5, 0.2]])
    found = random_squares(draws, 0.25, 20, 40)
    assert found.flatten(1).sum(dim=1).tolist() == [200, 200, 200]
    assert found[0, 0, 0]
    assert found[1, -1, -1]
    found = random_squares(draws, 0.25, 20, 40, margin=1 / 10)
    assert found.flatten(1).sum(dim=1).tolist() == [200, 200, 200]
    assert not (found & ~middle(20, 40, 0.8)).any()
    assert found[0, 2, 4]
    assert found[1, -3, -5]
    assert random_squares(draws, 1.0, 20, 40, margin=1 / 10).all()  # no room for a margin


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


def test_inpainting_everything_gives_zeros_and_nothing_changes_nothing():
    images = torch.rand(2, 3, 7, 9)
    assert inpaint(images, torch.ones(2, 7, 9, dtype=torch.bool)).abs().max() == 0
    assert torch.equal(inpaint(images, torch.zeros(2, 7, 9, dtype=torch.bool)), images)


# --- textures -------------------------------------------------------------------------------------


def test_a_tile_is_mirrored_and_repeated():
    texture = tile(torch.tensor([[[1.0, 2.0, 3.0]]]), 2, 8)
    assert texture.tolist() == [[[1, 2, 3, 3, 2, 1, 1, 2]] * 2]
    large = torch.rand(3, 9, 9)
    assert torch.equal(tile(large, 9, 9), large)


def test_the_largest_rectangle_is_that_of_a_search_of_all():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        free = torch.rand(6, 7, generator=generator) > 0.35
        rows, columns = largest_rectangle(free)
        assert free[rows, columns].all()
        best = max(
            (b - a) * (d - c)
            for a, b in itertools.combinations(range(7), 2)
            for c, d in itertools.combinations(range(8), 2)
            if free[a:b, c:d].all()
        )
        assert (rows.stop - rows.start) * (columns.stop - columns.start) == best
    assert largest_rectangle(torch.zeros(3, 3, dtype=torch.bool)) is None


def test_a_texture_takes_the_statistics_of_the_images():
    where = ~middle(16, 16, 0.6)
    texture, images = torch.rand(2, 3, 16, 16), 5 + 2 * torch.rand(2, 3, 16, 16)
    done = with_statistics_of(texture, images, where)
    assert torch.allclose(done[..., where].mean(-1), images[..., where].mean(-1), atol=1e-4)
    assert torch.allclose(
        done[..., where].std(-1, correction=0), images[..., where].std(-1, correction=0), atol=1e-4
    )
    assert torch.allclose(mean_colors(images, where)[..., 0, 0], images[..., where].mean(-1))


# --- sharpness and noise --------------------------------------------------------------------------


def test_exchanging_the_sharpness_with_itself_changes_nothing():
    images = torch.rand(2, 3, 17, 24)
    assert torch.allclose(with_sharpness_of(images, images), images, atol=1e-5)


def test_an_image_becomes_as_blurred_or_as_sharp_as_its_partner():
    sharp = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    blurred = F.avg_pool2d(F.pad(sharp, (2, 2, 2, 2), mode="reflect"), 5, stride=1)

    def detail(images):
        return images.diff(dim=-1).square().mean().sqrt()

    assert detail(with_sharpness_of(sharp, blurred)) < 0.3 * detail(sharp)
    assert detail(with_sharpness_of(blurred, sharp)) > 3 * detail(blurred)
    moved = with_sharpness_of(sharp, blurred).mean(dim=(2, 3)) - sharp.mean(dim=(2, 3))
    assert moved.abs().max() < 0.02  # colours stay


def test_half_precision_stays_half_precision():
    images = torch.rand(2, 3, 16, 16).bfloat16()
    assert with_sharpness_of(images, images.flip(0)).dtype == torch.bfloat16
    assert with_noise_of(images, images.flip(0), 0).dtype == torch.bfloat16


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_the_level_of_noise_is_found_on_smooth_images(level):
    images = smooth()
    noisy = images + level * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    assert noise_levels(images).max() < 0.01
    assert noise_levels(noisy).flatten().tolist() == pytest.approx([level] * 4, rel=0.15)


def test_noise_is_added_or_smoothed_away_until_it_is_the_partners():
    images = smooth()
    noisy = images + 0.2 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    assert noise_levels(with_noise_of(images, noisy, 3)).mean() == pytest.approx(0.2, rel=0.2)
    assert noise_levels(with_noise_of(noisy, images, 3)).mean() < 0.12
    assert torch.allclose(with_noise_of(images, images, 3), images, atol=1e-5)


def test_noise_is_standard_normal_repeatable_and_private():
    images = torch.zeros(4, 3, 64, 64, dtype=torch.float64)
    before = torch.get_rng_state()
    noise = noise_like(images, 5)
    assert torch.equal(torch.get_rng_state(), before)
    assert (noise.shape, noise.dtype) == (images.shape[1:], images.dtype)
    assert noise.mean().item() == pytest.approx(0, abs=0.03)
    assert noise.std().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(noise_like(images, 5), noise)
    assert not torch.equal(noise_like(images, 6), noise)
