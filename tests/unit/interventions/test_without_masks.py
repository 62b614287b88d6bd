"""Interventions without masks: the rim in place of the background, and the map's own top region."""

import math

import pytest
import torch
from helpers.known_models import LABELS, PATCH, coloured, maps_on

from lightning_cam.interventions import InterventionInput, interventions_for
from lightning_cam.interventions.image_editing import TOP_SHARE, center_masks


def altered_images(images, maps, labels=LABELS, seed=0):
    return interventions_for(InterventionInput(images, labels, None, maps, seed))


def test_all_interventions_cost_four_passes_of_the_probe():
    images = torch.rand(64, 3, 8, 8)
    altered = altered_images(images, torch.rand(64, 4, 4), torch.arange(64) % 4)
    assert sum(len(each.rows) for each in altered.values()) == 4 * 64
    for each in altered.values():
        assert each.make().shape == (len(each.rows), 3, 8, 8)


def test_rims_are_exchanged_and_the_middle_stays():
    images = coloured()
    labels = images[:, :, 0, 0].argmax(dim=1)
    altered = altered_images(images, maps_on(PATCH), labels)
    middle = center_masks(images)[0]
    for name in ("rim_same", "rim_rand"):
        done = altered[name].make()
        assert torch.equal(done[..., middle], images[..., middle])
        rim = done[:, :, 0, 0].argmax(dim=1)
        assert torch.equal(rim == labels, torch.full((16,), name == "rim_same"))
    alone = altered["rim"].make()
    assert torch.equal(alone[..., ~middle], images[..., ~middle])


def test_the_top_region_and_a_random_one_of_its_size_are_inpainted():
    images = torch.rand(16, 3, 20, 20)
    altered = altered_images(images, maps_on(PATCH))
    rows = altered["without_top"].rows
    assert torch.equal(rows, torch.arange(0, 16, 2))
    assert torch.equal(altered["without_random"].rows, rows)
    top = (altered["without_top"].make() != images[rows]).any(dim=1)
    random = (altered["without_random"].make() != images[rows]).any(dim=1)
    assert torch.equal(top, PATCH.expand(8, -1, -1))
    assert random.flatten(1).sum(dim=1).tolist() == [round(TOP_SHARE * 20 * 20)] * 8
    assert not torch.equal(random, top)


@pytest.mark.parametrize("value", [0.0, 3.0, math.nan])
def test_images_with_a_flat_map_have_no_top_region(value):
    maps = maps_on(PATCH)
    maps[:8] = value
    altered = altered_images(coloured(), maps)
    for name in ("without_top", "without_random"):
        assert altered[name].rows.min() >= 8


def test_interventions_are_repeatable_and_leave_the_global_stream():
    def made(seed):
        altered = altered_images(coloured(), maps_on(PATCH), seed=seed)
        return torch.cat([each.make() for each in altered.values()])

    before = torch.get_rng_state()
    assert torch.equal(made(3), made(3))
    assert not torch.equal(made(3), made(4))
    assert torch.equal(before, torch.get_rng_state())
