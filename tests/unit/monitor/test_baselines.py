"""`localization_baselines`: values of maps that know nothing of the image, in closed form."""

import math

import pytest
import torch

from lightning_cam.metrics import enrichment, relevance_mass
from lightning_cam.metrics.registry import BASELINES, metrics_of
from lightning_cam.monitor.baselines import center_prior, localization_baselines


def masks(count=4, size=16):
    """Return masks of the left half."""
    found = torch.zeros(count, size, size, dtype=torch.bool)
    found[:, :, : size // 2] = True
    return found


def test_every_metric_of_masks_has_each_baseline():
    untrained = torch.rand(4, 8, 8)
    found = localization_baselines(masks(), (8, 8), untrained)
    assert set(found) == {f"{m.name}_{b}" for m in metrics_of("mask") for b in BASELINES}
    without = localization_baselines(masks(), (8, 8), None)
    assert set(without) == {name for name in found if not name.endswith("_untrained")}


def test_random_maps_have_the_objects_share_of_the_mass():
    found = localization_baselines(masks(64), (8, 8), None)
    assert found["relevance_mass_random"] == pytest.approx(0.5, abs=0.01)
    assert found["enrichment_random"] == pytest.approx(1, abs=0.02)
    assert found["pointing_game_random"] == pytest.approx(0.5, abs=0.06)


def test_the_center_prior_of_half_of_the_image_is_even():
    """By symmetry: the left half has half of the mass."""
    found = localization_baselines(masks(), (8, 8), None)
    assert found["relevance_mass_center"] == pytest.approx(0.5)
    assert found["enrichment_center"] == pytest.approx(1)


def test_untrained_values_are_those_of_the_given_maps():
    untrained = torch.rand(4, 8, 8)
    found = localization_baselines(masks(), (8, 8), untrained)
    expected = enrichment(untrained, masks()).mean().item()
    assert found["enrichment_untrained"] == pytest.approx(expected)


def test_images_with_an_empty_mask_do_not_count():
    some = masks()
    some[0] = False
    found = localization_baselines(some, (8, 8), None)
    assert found["relevance_mass_center"] == pytest.approx(0.5)
    empty = localization_baselines(torch.zeros_like(some), (8, 8), None)
    assert all(math.isnan(value) for value in empty.values())


def test_random_maps_depend_on_the_seed_alone():
    before = torch.get_rng_state()
    first, again, other = (
        localization_baselines(masks(), (8, 8), None, seed) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert first == again
    assert first["enrichment_random"] != other["enrichment_random"]


@pytest.mark.parametrize("grid", [(8, 8), (7, 13), (1, 4)])
def test_the_center_prior_is_a_gaussian_of_a_quarter_of_each_side(grid):
    prior = center_prior(grid)
    assert prior.shape == grid
    assert torch.allclose(prior, prior.flip(0))
    assert torch.allclose(prior, prior.flip(1))
    y, x = (torch.arange(n).add(0.5).div(n).sub(0.5) for n in grid)
    expected = torch.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / (2 * 0.25**2))
    torch.testing.assert_close(prior, expected)


def test_the_center_prior_prefers_an_object_in_the_middle():
    middle = torch.zeros(1, 16, 16, dtype=torch.bool)
    middle[:, 5:11, 5:11] = True
    found = localization_baselines(middle, (8, 8), None)
    assert found["enrichment_center"] > 1.5
    assert found["relevance_mass_center"] == pytest.approx(
        relevance_mass(center_prior((8, 8))[None], middle).item()
    )
