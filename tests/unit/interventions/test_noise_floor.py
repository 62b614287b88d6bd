"""`noise_divergences` on models for which it is known how far a flip and a jitter move a map."""

import math

import pytest
import torch
from helpers.known_models import (
    BrightnessGrid,
    FixedPattern,
    RightHalfOnly,
    mirrored_pattern,
    smooth_images,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lightning_cam import compute_cams
from lightning_cam.explain.targets import resolve_target
from lightning_cam.interventions.noise_floor import flip, jitter, noise_divergences
from lightning_cam.metrics import jsd

SIZE = 32
LABELS = torch.arange(6) % 3


def maps_of(model, images, target, method="layercam"):
    return compute_cams(model, images, target, method=method, layers="layer")


def floor_of(model, images, target=None, seed=0):
    target = resolve_target(LABELS if target is None else target, len(images))

    def first_maps(altered, of):
        return maps_of(model, altered, of)["layercam", "layer"]

    done = noise_divergences(images, target, maps_of(model, images, target), first_maps, seed)
    return float(done.nanmean())


# --- flip and jitter ------------------------------------------------------------------------------


@given(st.integers(0, 2**31), st.sampled_from([32, 64, 96]), st.sampled_from([32, 64, 96]))
def test_a_jitter_shifts_by_up_to_a_32nd_and_scales_by_up_to_5_percent(seed, height, width):
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    images = torch.stack([torch.ones(height, width), y, x]).expand(2, -1, -1, -1).float()
    done = jitter(images, seed)
    assert done.shape == images.shape
    gain = done[0, 0, 0, 0].item()
    assert 0.95 <= gain <= 1.05
    assert (done[:, 0] - gain).abs().max() <= 1e-6
    for channel, places, side in ((1, y, height), (2, x, width)):
        moved = (done[0, channel] / gain - places).round()
        assert 1 <= moved.abs().max() <= side // 32
        assert moved.unique().numel() <= side // 32 + 1  # one shift, less where edges repeat
    assert torch.equal(done[0], done[1])


def test_small_images_are_shifted_by_one_pixel():
    images = torch.rand(1, 1, 8, 8)
    done = jitter(images, 0)
    shifts = [(dy, dx) for dy in (-1, 1) for dx in (-1, 1)]
    inside = [(images.roll((-dy, -dx), (2, 3)) / done)[..., 1:-1, 1:-1] for dy, dx in shifts]
    assert any(ratio.std() < 1e-5 for ratio in inside)


@pytest.mark.parametrize("side", [48, 56, 112, 224, 384])
def test_no_side_is_shifted_by_more_than_a_32nd(side):
    ramp = torch.arange(float(side)).expand(1, 1, side, side) + 1
    for seed in range(12):
        done = jitter(torch.cat([ramp, torch.ones_like(ramp)], dim=1), seed)
        moved = (done[0, 0] / done[0, 1] - ramp[0, 0]).abs().max().item()
        assert moved <= side / 32 + 1e-3


def test_jitters_depend_on_the_seed_alone():
    images = torch.rand(2, 3, SIZE, SIZE)
    before = torch.get_rng_state()
    made = [jitter(images, seed) for seed in range(8)]
    assert torch.equal(torch.get_rng_state(), before)
    assert len({each.numpy().tobytes() for each in made}) == 8
    assert torch.equal(jitter(images, 3), made[3])
    assert {bool(each.mean() > images.mean()) for each in made} == {True, False}


def test_a_flip_mirrors_columns_and_undoes_itself():
    images = torch.rand(2, 3, 4, 5)
    assert torch.equal(flip(flip(images)), images)
    assert torch.equal(flip(images)[..., 0], images[..., -1])


# --- the noise floor ------------------------------------------------------------------------------


def test_the_floor_of_maps_that_neither_flip_nor_jitter_moves_is_zero():
    assert floor_of(FixedPattern(mirrored_pattern()), smooth_images()) == pytest.approx(0, abs=1e-6)


def test_the_floor_is_the_mean_over_flip_and_jitter():
    """The jitter does not move a fixed pattern; the flip moves it by what can be computed."""
    pattern = torch.rand(1, 1, 6, 6) + 0.1
    floor = floor_of(FixedPattern(pattern), smooth_images())
    assert floor == pytest.approx(jsd(pattern[0], pattern[0].flip(2)).item() / 2, rel=1e-4)
    assert floor > 0.01


def test_maps_that_are_mirrored_with_their_images_move_by_the_jitter_alone():
    images, model = smooth_images(), BrightnessGrid(8)
    floor = floor_of(model, images)
    before, after = (maps_of(model, each, LABELS) for each in (images, jitter(images, 0)))
    moved = jsd(before["layercam", "layer"], after["layercam", "layer"]).mean().item()
    assert 0 < floor < 0.01
    assert floor == pytest.approx(moved / 2, rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_a_model_that_ignores_one_side_has_a_higher_floor(seed):
    images = smooth_images(seed=seed)
    assert floor_of(RightHalfOnly(8), images) > 20 * floor_of(BrightnessGrid(8), images)


def test_finer_maps_of_rougher_images_have_a_higher_floor():
    rough = torch.rand(len(LABELS), 3, SIZE, SIZE) ** 4
    assert floor_of(BrightnessGrid(1), rough) > 3 * floor_of(BrightnessGrid(8), smooth_images())


def test_images_with_flat_maps_do_not_count_and_all_flat_is_nan():
    images = smooth_images()
    expected = floor_of(BrightnessGrid(8), images[:3], target=LABELS[:3])
    images[3:] = 0
    assert floor_of(BrightnessGrid(8), images) == pytest.approx(expected, rel=1e-4)
    assert math.isnan(floor_of(BrightnessGrid(8), torch.zeros_like(images)))


class SideDecides(nn.Module):
    """Scores class 0 by one channel, class 1 by another; the brighter side of a third decides."""

    def __init__(self):
        super().__init__()
        self.layer = nn.AvgPool2d(8)

    def forward(self, images):
        features = self.layer(images)
        one, other, light = features.mean(dim=3).mean(dim=2).T
        left = features[:, 2, :, :2].mean(dim=(1, 2)) - light
        return torch.stack([one + 1e-3 * left, other - 1e-3 * left], dim=1)


def test_maps_of_the_predicted_class_are_compared_with_maps_of_the_same_class():
    """Also where the flip changes the prediction."""
    images = torch.zeros(len(LABELS), 3, SIZE, SIZE)
    images[:, 0, :8], images[:, 1, -8:], images[:, 2, :, :16] = 1.0, 1.0, 1.0
    assert SideDecides()(images).argmax(dim=1).tolist() == [0] * len(LABELS)
    assert SideDecides()(flip(images)).argmax(dim=1).tolist() == [1] * len(LABELS)
    by_index = floor_of(SideDecides(), images, target=0)
    assert by_index < 0.05
    assert floor_of(SideDecides(), images, target="prediction") == pytest.approx(by_index)
