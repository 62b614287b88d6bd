"""Reliance: the papers' formulas, and models whose answer is known."""

import math

import pytest
import torch

from lightning_cam.interventions.background import filled, interventions
from lightning_cam.metrics.reliance import (
    background_gap,
    foreground_sensitivity,
    outcome,
    reliance,
)

CLASSES, PER_CLASS, SIZE = 4, 4, 16


@pytest.fixture
def probe():
    """Return images whose object and whose background each show the class by its brightness."""
    labels = torch.arange(CLASSES).repeat_interleave(PER_CLASS)
    masks = torch.zeros(len(labels), SIZE, SIZE, dtype=torch.bool)
    masks[:, 4:12, 4:12] = True
    levels = labels.view(-1, 1, 1, 1) + 1.0
    return levels.expand(-1, 3, SIZE, SIZE).clone(), masks, labels


def reader(where):
    """Return a model that reads the class off one pixel of the image."""

    def chances(images):
        level = images[:, 0, 8, 8] if where == "object" else images[:, 0, 0, 0]
        return (-20 * (level[:, None] - 1 - torch.arange(CLASSES)) ** 2).softmax(dim=1)

    return chances


def asked(chances, images, masks, labels):
    clean = outcome(chances(images), labels, torch.arange(len(labels)))
    altered = {
        each.name: outcome(chances(each.make()), labels[each.rows], each.rows)
        for each in interventions(images, masks, labels)
    }
    return reliance(clean, altered)


def test_a_model_that_reads_only_the_background(probe):
    found = asked(reader("background"), *probe)
    assert found["bg_gap"] == 1
    assert found["bg_gap_confidence"] == pytest.approx(1, abs=1e-3)
    assert found["mixed_rand_drop"] == pytest.approx(1, abs=1e-3)
    assert found["background_accuracy"] == 1
    assert found["rfs"] == -1


def test_a_model_that_reads_only_the_object(probe):
    found = asked(reader("object"), *probe)
    assert found["bg_gap"] == 0
    assert found["bg_gap_confidence"] == pytest.approx(0, abs=1e-3)
    assert found["mixed_rand_drop"] == pytest.approx(0, abs=1e-3)
    assert found["rfs"] == 1


def test_a_round_costs_four_forwards_of_the_probe():
    images, labels = torch.rand(64, 3, 8, 8), torch.arange(64) % 4
    masks = torch.zeros(64, 8, 8, dtype=torch.bool)
    masks[:, 2:5, 2:5] = True
    assert sum(len(each.rows) for each in interventions(images, masks, labels)) == 4 * 64


def test_partners_share_the_class_or_do_not(probe):
    images, masks, labels = probe
    made = {each.name: each for each in interventions(images, masks, labels)}
    edge = {name: made[name].make()[:, 0, 0, 0] - 1 for name in ("mixed_same", "mixed_rand")}
    assert torch.equal(edge["mixed_same"].round().long(), labels)
    assert (edge["mixed_rand"].round().long() != labels).all()
    for name in edge:  # the object stays
        assert torch.equal(made[name].make()[:, 0, 8, 8].long() - 1, labels)


def test_what_cannot_be_asked_is_left_out():
    images, masks = torch.rand(3, 3, 8, 8), torch.zeros(3, 8, 8, dtype=torch.bool)
    assert interventions(images, masks, torch.tensor([0, 1, 2])) == []  # empty masks
    masks[:, 2:4] = True
    names = [each.name for each in interventions(images, masks, torch.tensor([0, 1, 2]))]
    assert "mixed_same" not in names
    assert "mixed_rand" in names
    names = [each.name for each in interventions(images, masks, torch.tensor([1, 1, 1]))]
    assert "mixed_rand" not in names
    assert names


def test_interventions_are_repeatable_and_leave_the_global_stream(probe):
    before = torch.get_rng_state()
    once = [each.make() for each in interventions(*probe, seed=3)]
    again = [each.make() for each in interventions(*probe, seed=3)]
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert torch.equal(before, torch.get_rng_state())


def test_filling_takes_from_around_and_keeps_the_rest():
    images = torch.rand(2, 3, 32, 32)
    masks = torch.zeros(2, 32, 32, dtype=torch.bool)
    masks[:, 8:20, 8:20] = True
    done = filled(images, masks)
    outside = ~masks[:, None].expand_as(images)
    assert torch.equal(done[outside], images[outside])
    assert done.min() >= images[outside].min()
    assert done.max() <= images[outside].max()
    flat = filled(torch.full_like(images, 0.25), masks)
    assert torch.allclose(flat, torch.tensor(0.25))


@pytest.mark.parametrize(
    ("noisy_object", "noisy_background", "expected"),
    [(0.0, 0.8, 1.0), (0.8, 0.0, -1.0), (0.5, 0.5, 0.0), (0.6, 0.9, 0.6), (0.1, 0.3, 0.5)],
)
def test_rfs_is_the_papers_formula(noisy_object, noisy_background, expected):
    assert foreground_sensitivity(noisy_object, noisy_background) == pytest.approx(expected)


@pytest.mark.parametrize("both", [0.0, 1.0, math.nan])
def test_rfs_is_undefined_where_no_difference_is_possible(both):
    assert math.isnan(foreground_sensitivity(both, both))


def test_the_gap_is_a_difference():
    assert background_gap(0.9, 0.4) == pytest.approx(0.5)
