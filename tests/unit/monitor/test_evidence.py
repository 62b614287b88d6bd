"""`Evidence`: what is concluded over evaluations, for models of which the truth is known."""

import math

import numpy as np
import pytest
import torch
from helpers.exchanges import batch_of, collected
from helpers.known_models import CLASSES, LABELS, SIZE, RegionReader, coloured, region
from torch import nn

from lightning_cam.interventions import ATTRIBUTES
from lightning_cam.interventions.registry import GRID
from lightning_cam.metrics.reliance import answer_of
from lightning_cam.monitor.evidence import PASSES, Evidence
from lightning_cam.monitor.schedule import interventions_due

CORNER = region(15, 20, 15, 20)


def test_a_patch_is_found_wherever_it_is_and_its_place_named():
    evidence = collected(RegionReader(CORNER), coloured(CORNER), LABELS, rounds=8)
    assert evidence.leading == "patch"
    assert answer_of(evidence.metrics()) == "shortcut"
    assert evidence.cue == "a patch at the lower right corner"
    assert evidence.score > 0.5
    metrics = evidence.metrics()
    assert metrics["shortcut_score_low"] > 0
    assert metrics["patch_reliance_low"] <= metrics["patch_reliance"] + 1e-6
    assert metrics["patch_reliance_low"] > ATTRIBUTES["patch"].limit


def test_an_object_in_the_middle_is_no_shortcut():
    middle = region(5, 15, 5, 15)
    evidence = collected(RegionReader(middle), coloured(middle), LABELS, rounds=8)
    assert evidence.leading is None
    assert evidence.cue == ""
    assert evidence.metrics()["shortcut_score_low"] == 0


class Untaught(nn.Module):
    """Knows nothing: a random projection of the image."""

    def __init__(self, seed, classes=2):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(classes, 3, 16, 16, generator=generator)
        self.register_buffer("weight", weight)

    def forward(self, images):
        return (images[:, None] * self.weight).mean(dim=(2, 3, 4)) * 30


def test_models_that_know_nothing_are_not_accused():
    """Two classes, images that tell nothing, fifty networks: at most one by chance."""
    accused = 0
    for seed in range(50):
        generator = torch.Generator().manual_seed(seed)
        images = torch.randn(32, 3, 16, 16, generator=generator)
        labels = torch.arange(32) % 2
        accused += collected(Untaught(seed), images, labels).leading is not None
    assert accused <= 1


@pytest.mark.parametrize("size", [8, 16, 32, 128])
def test_one_evaluation_takes_no_more_passes_than_stated(size):
    passes = []
    labels = torch.arange(size) % CLASSES
    for masks in (None, region(4, 16, 4, 16).expand(size, -1, -1)):
        fitting = [a for a in ATTRIBUTES.values() if a.masks in (None, masks is not None)]
        evidence = Evidence(fitting, 0.05)

        images = torch.rand(size, 3, SIZE, SIZE)
        batch = batch_of(images, masks=masks, marks=region(0, 3, 0, 3).expand(size, -1, -1))
        requests = evidence.plan(batch, labels).requests
        passes.append(sum(len(r.rows) * len(r.partners) for r in requests) / size)
    assert max(passes) <= (8 if size >= 16 else 10)
    assert size < 32 or min(passes) > 0.7 * PASSES


def test_over_a_training_of_100_evaluations_they_take_little():
    evaluations = sum(interventions_due(count, None) for count in range(100))
    assert evaluations * PASSES / 100 <= 0.6


def test_without_partners_nothing_is_known():
    images = torch.rand(4, 3, 16, 16)
    for labels in (torch.arange(4), torch.zeros(4, dtype=torch.long)):
        evidence = collected(Untaught(0, 4), images, labels, rounds=2)
        assert answer_of(evidence.metrics()) == "unknown"
        assert math.isnan(evidence.score)
        assert evidence.leading is None


def test_surroundings_that_help_are_said_without_an_alarm():
    rim = region(0, 3, 0, 20)
    model = RegionReader(rim)
    images = coloured(rim)
    evidence = collected(model, images, LABELS, names={"context"}, rounds=3)
    assert answer_of(evidence.metrics()) in ("context", "shortcut")
    little = collected(RegionReader(region(9, 11, 9, 11)), coloured(), LABELS, names={"context"})
    assert answer_of(little.metrics()) == "none"


def test_the_narrowest_of_equal_attributes_leads():
    """All that is in the corner is in the border's and in the surroundings' region too."""
    corner = region(0, 2, 0, 2)
    evidence = collected(
        RegionReader(corner), coloured(corner), LABELS, rounds=12,
        names={"context", "border", "patch"},
    )  # fmt: skip
    assert evidence.found["context"].is_shortcut
    assert evidence.leading == "patch"


def evidence_of(**reliance):
    """Return evidence in which attributes were found to have these reliances, but for doubts."""
    evidence = Evidence([ATTRIBUTES[name] for name in reliance], 0.05)
    for name, value in reliance.items():
        evidence.found[name].estimate.update(np.array([value - 0.1, value + 0.1] * 10), np.ones(20))
    return evidence


@pytest.mark.parametrize(("patch", "leading"), [(0.8, "patch"), (0.3, "border")])
def test_a_likely_patch_leads_before_the_border_that_it_is_a_part_of(patch, leading):
    evidence = evidence_of(patch=patch, border=0.5, context=1.0)
    assert evidence.leading is None
    evidence.found["border"].bound.low = 0.1
    assert evidence.leading == leading


def test_a_cell_whose_exchange_costs_nothing_is_not_tried_again():
    """One image per cell is searched; more of them are exchanged, and tell more."""
    evidence, batch = Evidence([ATTRIBUTES["patch"]], 0.05), batch_of(torch.rand(16, 3, 20, 20))
    labels = torch.arange(16) % CLASSES
    clean = nn.functional.one_hot(labels, CLASSES).float()
    first = evidence.plan(batch, labels)
    row, column = (2, 2) if first.cell == (1, 1) else (1, 1)  # the first is drawn at random
    answers = [torch.ones(len(r.partners), len(r.rows)) for r in first.requests]
    answers[0][0, GRID * row + column] = 0.0
    evidence.take_in(first, answers, labels, clean)
    second = evidence.plan(batch, labels)
    assert second.cell == (row, column)
    answers = [torch.ones(len(r.partners), len(r.rows)) for r in second.requests]
    evidence.take_in(second, answers, labels, clean)
    assert evidence.plan(batch, labels).cell != (row, column)


def test_a_model_that_diverged_leaves_the_evidence_as_it_was():
    class Diverging(RegionReader):
        def forward(self, images):
            return super().forward(images) * math.nan

    evidence = collected(Diverging(CORNER), coloured(CORNER), LABELS, rounds=2)
    attributes = [found.attribute for found in evidence.found.values()]
    assert evidence.state_dict() == Evidence(attributes, 0.05).state_dict()


def test_what_was_relied_on_still_leads_when_it_is_relied_on_no_more():
    evidence = collected(RegionReader(CORNER), coloured(CORNER), LABELS, rounds=8)
    for found in evidence.found.values():
        for _ in range(20):
            found.estimate.update(np.zeros(8), np.ones(8))
    assert evidence.leading == "patch"
    assert evidence.score == 0


def test_a_smaller_error_rate_needs_more_evidence():
    model, images = RegionReader(CORNER), coloured(CORNER)
    lows = [
        collected(model, images, LABELS, rounds=4, rate=rate).found["patch"].bound.low
        for rate in (0.2, 0.001)
    ]
    assert lows[0] > lows[1]


def test_the_state_is_restored_and_a_damaged_one_refused():
    evidence = collected(RegionReader(CORNER), coloured(CORNER), LABELS, rounds=3)
    attributes = [found.attribute for found in evidence.found.values()]
    again = Evidence(attributes, 0.05)
    again.load_state_dict(evidence.state_dict())
    assert again.state_dict() == evidence.state_dict()
    assert again.metrics() == pytest.approx(evidence.metrics(), nan_ok=True)
    damaged = evidence.state_dict() | {"cell_weights": math.inf}
    with pytest.raises(ValueError, match="finite"):
        again.load_state_dict(damaged)
