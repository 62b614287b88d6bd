"""Interventions that exchange, remove or disturb object and background by the masks."""

import pytest
import torch

from lightning_cam.interventions import InterventionInput, interventions_for
from lightning_cam.interventions.image_editing import noise_like
from lightning_cam.metrics.reliance import (
    InterventionResults,
    background_accuracy,
    background_reliance,
    bg_gap,
    bg_gap_confidence,
    mixed_rand_drop,
    outcome,
    rfs,
)

CLASSES, PER_CLASS, SIZE = 4, 4, 16


def batch_of(images, labels, masks, seed=0):
    return InterventionInput(images, labels, masks, maps=torch.zeros(len(images), 4, 4), seed=seed)


def squares(count, size, start, stop):
    masks = torch.zeros(count, size, size, dtype=torch.bool)
    masks[:, start:stop, start:stop] = True
    return masks


@pytest.fixture
def batch():
    """Return images whose object and whose background both show the class by their brightness."""
    labels = torch.arange(CLASSES).repeat_interleave(PER_CLASS)
    levels = labels.view(-1, 1, 1, 1) + 1.0
    images = levels.expand(-1, 3, SIZE, SIZE).clone()
    return batch_of(images, labels, squares(len(labels), SIZE, 4, 12))


def pixel_reader(row, column):
    """Return a model that predicts the class from the brightness of one pixel."""

    def probabilities(images):
        level = images[:, 0, row, column]
        return (-20 * (level[:, None] - 1 - torch.arange(CLASSES)) ** 2).softmax(dim=1)

    return probabilities


def results_of(model, batch):
    labels = batch.labels
    altered = {
        name: outcome(model(each.make()), labels[each.rows], each.rows)
        for name, each in interventions_for(batch).items()
    }
    clean = outcome(model(batch.images), labels, torch.arange(len(labels)))
    return InterventionResults(clean, altered)


# --- models whose answers are known ---------------------------------------------------------------


def test_a_model_that_reads_only_the_background_relies_on_it_entirely(batch):
    results = results_of(pixel_reader(0, 0), batch)
    assert bg_gap(results) == 1
    assert bg_gap_confidence(results) == pytest.approx(1, abs=1e-3)
    assert mixed_rand_drop(results) == pytest.approx(1, abs=1e-3)
    assert background_accuracy(results) == 1
    assert background_reliance(results) == pytest.approx(1, abs=1e-3)
    assert rfs(results) == -1


def test_a_model_that_reads_only_the_object_does_not_rely_on_the_background(batch):
    results = results_of(pixel_reader(8, 8), batch)
    assert bg_gap(results) == 0
    assert bg_gap_confidence(results) == pytest.approx(0, abs=1e-3)
    assert mixed_rand_drop(results) == pytest.approx(0, abs=1e-3)
    assert rfs(results) == 1


# --- the altered images ---------------------------------------------------------------------------


def test_backgrounds_come_from_the_same_or_from_another_class_and_the_object_stays(batch):
    altered = interventions_for(batch)
    made = {name: altered[name].make() for name in ("mixed_same", "mixed_rand")}
    corner = {name: images[:, 0, 0, 0].round().long() - 1 for name, images in made.items()}
    assert torch.equal(corner["mixed_same"], batch.labels)
    assert (corner["mixed_rand"] != batch.labels).all()
    for images in made.values():
        assert torch.equal(images[:, 0, 8, 8].long() - 1, batch.labels)


def test_background_removes_the_object_and_nothing_else():
    images = torch.rand(4, 3, 16, 16)
    batch = batch_of(images, torch.arange(4), squares(4, 16, 4, 12))
    done = interventions_for(batch)["background"].make()
    changed = (done != images).any(dim=1)
    assert not (changed & ~batch.masks).any()
    assert changed[batch.masks].float().mean() > 0.99


def test_the_same_noise_is_added_to_the_object_and_to_the_background():
    """Its standard deviation is that of the probe, per channel."""
    images = torch.rand(6, 3, 16, 16) * torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)
    batch = batch_of(images, torch.arange(6), squares(6, 16, 4, 12), seed=9)
    altered = interventions_for(batch)
    on_object = altered["noisy_object"].make() - images
    on_background = altered["noisy_background"].make() - images
    masks = batch.masks[:, None].expand_as(images)
    assert on_object[~masks].abs().max() == 0
    assert on_background[masks].abs().max() == 0
    expected = noise_like(images, 9) * images.std(dim=(0, 2, 3), keepdim=True)
    torch.testing.assert_close(on_object + on_background, expected, atol=1e-5, rtol=1e-4)


def test_all_interventions_cost_four_passes_of_the_probe():
    batch = batch_of(torch.rand(64, 3, 8, 8), torch.arange(64) % 4, squares(64, 8, 2, 5))
    altered = interventions_for(batch)
    assert sum(len(each.rows) for each in altered.values()) == 4 * 64
    for each in altered.values():
        assert each.make().shape == (len(each.rows), 3, 8, 8)


# --- what a probe does not allow ------------------------------------------------------------------


def test_images_with_an_empty_or_full_mask_are_left_out():
    masks = squares(4, 8, 2, 5)
    masks[0], masks[3] = False, True
    altered = interventions_for(batch_of(torch.rand(4, 3, 8, 8), torch.tensor([0, 0, 1, 1]), masks))
    assert {name: each.rows.tolist() for name, each in altered.items()} == {
        "mixed_rand": [1, 2],
        "background": [1, 2],
        "noisy_object": [1, 2],
        "noisy_background": [1, 2],
    }
    empty = torch.zeros_like(masks)
    assert interventions_for(batch_of(torch.rand(4, 3, 8, 8), torch.arange(4), empty)) == {}


@pytest.mark.parametrize(
    ("labels", "missing"), [([0, 1, 2], "mixed_same"), ([1, 1, 1], "mixed_rand")]
)
def test_without_partners_an_intervention_is_left_out(labels, missing):
    batch = batch_of(torch.rand(3, 3, 8, 8), torch.tensor(labels), squares(3, 8, 2, 4))
    names = {"mixed_same", "mixed_rand", "background", "noisy_object", "noisy_background"}
    assert set(interventions_for(batch)) == names - {missing}


def test_interventions_are_repeatable_and_leave_the_global_stream(batch):
    def made(seed):
        altered = interventions_for(batch_of(batch.images, batch.labels, batch.masks, seed))
        return torch.cat([each.make() for each in altered.values()])

    before = torch.get_rng_state()
    assert torch.equal(made(3), made(3))
    assert not torch.equal(made(3), made(4))
    assert torch.equal(before, torch.get_rng_state())
