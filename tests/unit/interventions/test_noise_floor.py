"""How far maps move under what should not move them, on models that know how far that is."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lightning_cam import compute_cams
from lightning_cam.interventions.jitter import flipped, jittered
from lightning_cam.explain.targets import resolve_target
from lightning_cam.metrics import jsd
from lightning_cam.monitor.config import Options
from lightning_cam.probe import Probe
from lightning_cam.interventions.run import ask_noise_floor
from lightning_cam.monitor.probe_monitor import Watch

SIZE = 32
LABELS = torch.arange(6) % 3


class Painter(nn.Module):
    """Shows a pattern that no image moves; a brighter image only makes it stronger."""

    def __init__(self, pattern):
        super().__init__()
        self.register_buffer("pattern", pattern)
        self.see, self.fc = nn.Identity(), nn.Linear(1, 3)
        self.fc.weight.data.fill_(1.0)

    def forward(self, images):
        strength = images.mean(dim=(1, 2, 3)).view(-1, 1, 1, 1)
        features = self.see(self.pattern * (1 + strength).abs())
        return self.fc(features.mean(dim=(2, 3)))


class Spotter(nn.Module):
    """Shows where the image is bright, cell by cell, alike on both sides."""

    def __init__(self, cell):
        super().__init__()
        self.see, self.fc = nn.AvgPool2d(cell), nn.Linear(3, 3)
        self.fc.weight.data.fill_(1.0)

    def forward(self, images):
        return self.fc(self.see(images).mean(dim=(2, 3)))


class Lopsided(Spotter):
    """Does not see the left half."""

    def forward(self, images):
        features = self.see(images)
        half = torch.zeros_like(features)
        half[..., features.shape[3] // 2 :] = 1.0
        return self.fc((features * half).mean(dim=(2, 3)))


def floor_of(model, images, target=None, method="layercam", seed=0):
    def compute(make, inputs, what, layers):
        return compute_cams(make(), inputs, what, method=method, layers=layers)

    target = resolve_target(LABELS if target is None else target, len(images))
    result = compute(lambda: model, images, target, ["see"])
    return ask_noise_floor(model, images, target, result, compute, seed), result


def smooth_images(seed=0):
    """Return images without sharp edges: a small shift changes them little."""
    rough = torch.rand(len(LABELS), 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(rough, size=(SIZE, SIZE), mode="bicubic").clamp(0.01, 1)


# --- the jitter ---


@given(st.integers(0, 2**31), st.sampled_from([32, 64, 96]), st.sampled_from([32, 64, 96]))
def test_a_jitter_is_a_shift_by_a_32nd_at_most_and_a_gain_of_5_percent(seed, height, width):
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    images = torch.stack([torch.ones(height, width), y, x]).expand(2, -1, -1, -1).float()
    done = jittered(images, seed)
    assert done.shape == images.shape
    gain = done[0, 0, 0, 0].item()
    assert 0.95 <= gain <= 1.05
    assert (done[:, 0] - gain).abs().max() <= 1e-6
    for channel, places, side in ((1, y, height), (2, x, width)):
        moved = (done[0, channel] / gain - places).round()
        assert 1 <= moved.abs().max() <= side // 32  # it does move
        assert moved.unique().numel() <= side // 32 + 1  # all by the same, but where edges repeat
    assert torch.equal(done[0], done[1])


def test_small_images_move_by_one_pixel():
    images = torch.rand(1, 1, 8, 8)
    done = jittered(images, 0)
    shifts = [(dy, dx) for dy in (-1, 1) for dx in (-1, 1)]
    inside = [(images.roll((-dy, -dx), (2, 3)) / done)[..., 1:-1, 1:-1] for dy, dx in shifts]
    assert any(ratio.std() < 1e-5 for ratio in inside)


@pytest.mark.parametrize("side", [48, 56, 112, 224, 384])
def test_no_side_moves_by_more_than_a_32nd(side):
    ramp = torch.arange(float(side)).expand(1, 1, side, side) + 1
    for seed in range(12):
        done = jittered(torch.cat([ramp, torch.ones_like(ramp)], dim=1), seed)
        moved = (done[0, 0] / done[0, 1] - ramp[0, 0]).abs().max().item()
        assert moved <= side / 32 + 1e-3


def test_jitters_differ_by_seed_repeat_by_seed_and_draw_no_global_number():
    images = torch.rand(2, 3, SIZE, SIZE)
    before = torch.get_rng_state()
    made = [jittered(images, seed) for seed in range(8)]
    assert torch.equal(torch.get_rng_state(), before)
    assert len({each.numpy().tobytes() for each in made}) == 8
    assert torch.equal(jittered(images, 3), made[3])
    assert {bool(each.mean() > images.mean()) for each in made} == {True, False}


def test_a_flip_twice_is_none():
    images = torch.rand(2, 3, 4, 5)
    assert torch.equal(flipped(flipped(images)), images)
    assert torch.equal(flipped(images)[..., 0], images[..., -1])


# --- the floor ---


def mirrored_pattern():
    half = torch.rand(1, 1, 6, 3) + 0.1
    return torch.cat([half, half.flip(3)], dim=3)


def test_a_model_that_no_flip_and_no_jitter_moves_has_no_floor():
    floor, _ = floor_of(Painter(mirrored_pattern()), smooth_images())
    assert floor == pytest.approx(0, abs=1e-6)


def test_the_floor_is_the_mean_of_what_the_flip_and_the_jitter_move():
    """The jitter does not move a painted pattern; the flip moves it by what can be computed."""
    pattern = torch.rand(1, 1, 6, 6) + 0.1
    floor, _ = floor_of(Painter(pattern), smooth_images())
    assert floor == pytest.approx(jsd(pattern[0], pattern[0].flip(2)).item() / 2, rel=1e-4)
    assert floor > 0.01


def test_a_model_that_mirrors_with_its_images_moves_by_the_jitter_alone():
    images, model = smooth_images(), Spotter(8)
    floor, result = floor_of(model, images)
    again = compute_cams(model, jittered(images, 0), LABELS, method="layercam", layers="see")
    moved = jsd(result["layercam", "see"], again["layercam", "see"]).mean().item()
    assert 0 < floor < 0.01
    assert floor == pytest.approx(moved / 2, rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_a_model_that_treats_sides_differently_has_a_higher_floor(seed):
    images = smooth_images(seed)
    assert floor_of(Lopsided(8), images)[0] > 20 * floor_of(Spotter(8), images)[0]


def test_finer_maps_of_rougher_images_move_more():
    rough = torch.rand(len(LABELS), 3, SIZE, SIZE) ** 4
    assert floor_of(Spotter(1), rough)[0] > 3 * floor_of(Spotter(8), smooth_images())[0]


def test_images_with_flat_maps_do_not_count_and_all_flat_is_nan():
    images = smooth_images()
    expected, _ = floor_of(Spotter(8), images[:3], target=LABELS[:3])
    images[3:] = 0
    assert floor_of(Spotter(8), images)[0] == pytest.approx(expected, rel=1e-4)
    assert math.isnan(floor_of(Spotter(8), torch.zeros_like(images))[0])


class Torn(nn.Module):
    """Sees class 0 in one channel and class 1 in another; the brighter side of a third decides."""

    def __init__(self):
        super().__init__()
        self.see = nn.AvgPool2d(8)

    def forward(self, images):
        features = self.see(images)
        one, other, light = features.mean(dim=3).mean(dim=2).T
        left = features[:, 2, :, :2].mean(dim=(1, 2)) - light
        return torch.stack([one + 1e-3 * left, other - 1e-3 * left], dim=1)


def test_a_flip_that_changes_the_prediction_changes_not_what_is_explained():
    """Maps of the predicted class are compared with maps of that class, not of its mirror's."""
    images = torch.zeros(len(LABELS), 3, SIZE, SIZE)
    images[:, 0, :8], images[:, 1, -8:], images[:, 2, :, :16] = 1.0, 1.0, 1.0
    assert Torn()(images).argmax(dim=1).tolist() == [0] * len(LABELS)
    assert Torn()(flipped(images)).argmax(dim=1).tolist() == [1] * len(LABELS)
    by_name, _ = floor_of(Torn(), images, target=0)
    assert by_name < 0.05
    assert floor_of(Torn(), images, target="prediction")[0] == pytest.approx(by_name)


# --- in a watch ---


def watched(model, images, **choices):
    watch = Watch("cam", Probe(images, LABELS), Options(**{"method": "layercam", **choices}))
    watch.prepare(model, images)
    look = watch.look(model, images, epoch=0, step=0)
    watch.remember(look)
    return watch, look


def test_a_watch_states_drift_in_multiples_of_the_floor_and_touches_nothing():
    images, model = smooth_images(), Lopsided(8)
    before = torch.get_rng_state()
    watch, look = watched(model, images)
    floor = look.metrics["cam/noise_floor"]
    assert floor == pytest.approx(floor_of(model, images)[0], rel=1e-3)
    assert look.metrics["cam/drift_previous"] == pytest.approx(0, abs=1e-4)
    with torch.no_grad():
        model.fc.weight[:, 0] = -1.0
    later = watch.look(model, images, epoch=1, step=1).metrics
    assert later["cam/jsd_previous"] > 0.001
    assert later["cam/drift_previous"] == pytest.approx(later["cam/jsd_previous"] / floor)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.grad is None for p in model.parameters())
    assert model.training


def test_the_floor_is_of_maps_smoothed_as_the_looks_are():
    """Averaged over flips no map tells the sides apart: nothing is left that a flip could move."""
    _, plain = watched(Lopsided(8), smooth_images())
    _, smoothed = watched(Lopsided(8), smooth_images(), aug_smooth=True)
    assert plain.metrics["cam/noise_floor"] > 0.1
    assert smoothed.metrics["cam/noise_floor"] < 0.01


def test_the_floor_of_principal_components_is_of_principal_components():
    pattern = torch.cat([mirrored_pattern() ** power for power in (1, 3, 9)], dim=1)
    model = Painter(pattern)
    model.fc = nn.Linear(3, 3)
    model.fc.weight.data.copy_(torch.tensor([3.0, 1.0, 2.0]).expand(3, 3))
    _, look = watched(model, smooth_images(), eigen_smooth=True)
    assert look.metrics["cam/noise_floor"] == pytest.approx(0, abs=1e-5)
