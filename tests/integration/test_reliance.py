"""Reliance of models whose answer is known, asked as a watch asks it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lightning_cam import compute_cams
from lightning_cam.metrics.reliance import (
    RELIANCE_METRICS,
    Outcome,
    background_gap,
    foreground_sensitivity,
    outcome,
    reliance,
)
from lightning_cam.monitor.config import Options
from lightning_cam.probe import Probe
from lightning_cam.interventions.run import ask_reliance
from lightning_cam.monitor.probe_monitor import Watch

CLASSES, PER_CLASS, SIZE = 4, 4, 16
SHARP = 40.0  # of the softmax: right or wrong, hardly anything between
LABELS = torch.arange(CLASSES).repeat_interleave(PER_CLASS)


def object_mask():
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[4:12, 4:12] = True
    return mask


def inside():
    """Return where the object is read: few pixels, since a mean over many would outlive noise."""
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[7:9, 7:9] = True
    return mask


def corner():
    """Return where the background is read."""
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[:2, :2] = True
    return mask


def both_tell():
    """Return a probe whose object and whose background each show the class, by a colour.

    Stripes that nobody reads make the colours small beside the probe's deviation, and so beside the
    noise of the interventions.
    """
    images = torch.zeros(len(LABELS), CLASSES, SIZE, SIZE)
    images[torch.arange(len(LABELS)), LABELS] = 1.0
    images[..., 14, :] += 12.0
    images[..., 15, :] -= 12.0
    return Probe(images, LABELS, masks=object_mask().expand(len(LABELS), -1, -1).clone())


def object_tells():
    """Return the same with a grey background."""
    probe = both_tell()
    grey = probe.images.mean(dim=1, keepdim=True)
    return Probe(torch.where(object_mask(), probe.images, grey), LABELS, masks=probe.masks)


class Reader(nn.Module):
    """Reads the class off the colour of one region, pixel by pixel behind a spatial layer."""

    def __init__(self, where):
        super().__init__()
        self.see = nn.Conv2d(CLASSES, CLASSES, 1, bias=False)
        self.see.weight.data.copy_(torch.eye(CLASSES)[:, :, None, None])
        self.register_buffer("where", where.float() / where.sum())

    def forward(self, images):
        return SHARP * (self.see(images) * self.where).sum(dim=(2, 3))


class Blend(nn.Module):
    """Answers `share` of the object's and the rest of the background's reader, in probability."""

    def __init__(self, share):
        super().__init__()
        self.object, self.background = Reader(inside()), Reader(corner())
        self.share = share

    def forward(self, images):
        on, off = self.object(images).softmax(1), self.background(images).softmax(1)
        return (self.share * on + (1 - self.share) * off).log()


class Undecided(nn.Module):
    """Reads the object where its class is 0 or 1, else the background."""

    def __init__(self):
        super().__init__()
        self.object, self.background = Reader(inside()), Reader(corner())

    def forward(self, images):
        on, off = self.object(images), self.background(images)
        return torch.where(on.argmax(dim=1, keepdim=True) < CLASSES // 2, on, off)


class Constant(nn.Module):
    """Says class 0 whatever it sees."""

    def __init__(self):
        super().__init__()
        self.see = nn.Conv2d(CLASSES, CLASSES, 1)

    def forward(self, images):
        bias = torch.zeros(CLASSES)
        bias[0] = SHARP
        return 0 * self.see(images).mean(dim=(2, 3)) + bias


def asked(model, probe, **choices):
    result = compute_cams(model, probe.images, probe.targets, method="layercam")
    return ask_reliance(model, probe, probe.images, result, Options(**choices))


def test_a_model_that_reads_only_the_background():
    found = asked(Reader(corner()), both_tell())
    assert set(found) == set(RELIANCE_METRICS)
    assert found["bg_gap"] == 1
    assert found["bg_gap_confidence"] == pytest.approx(1, abs=1e-4)
    assert found["mixed_rand_drop"] == pytest.approx(1, abs=1e-4)
    assert found["background_accuracy"] == 1
    assert found["background_confidence"] == pytest.approx(1, abs=1e-4)
    assert found["background_skill"] == pytest.approx(1, abs=1e-4)
    assert found["background_reliance"] == pytest.approx(1, abs=1e-4)
    assert found["rfs"] == -1
    assert found["rfs_confidence"] == pytest.approx(-1, abs=1e-3)


def test_a_model_that_reads_only_the_object():
    found = asked(Reader(inside()), object_tells())
    assert found["bg_gap"] == 0
    assert found["bg_gap_confidence"] == pytest.approx(0, abs=1e-4)
    assert found["mixed_rand_drop"] == pytest.approx(0, abs=1e-4)
    assert found["background_accuracy"] == 1 / CLASSES  # nothing left: all are class 0
    assert found["background_confidence"] == pytest.approx(1 / CLASSES, abs=1e-4)
    assert found["background_skill"] == pytest.approx(0, abs=1e-4)
    assert found["background_reliance"] == pytest.approx(0, abs=1e-4)
    assert found["rfs"] == 1
    assert found["rfs_confidence"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.7])
def test_the_gap_in_probability_is_the_share_that_the_background_decides(share):
    found = asked(Blend(share), both_tell())
    assert found["bg_gap_confidence"] == pytest.approx(1 - share, abs=1e-3)
    assert found["mixed_rand_drop"] == pytest.approx(1 - share, abs=1e-3)


def test_a_model_that_needs_the_background_for_half_of_the_classes():
    found = asked(Undecided(), both_tell())
    assert found["bg_gap"] == 0.5
    assert found["mixed_rand_drop"] == pytest.approx(0.5, abs=1e-3)


def test_a_model_that_looks_at_nothing_uses_no_background_and_has_no_sensitivity():
    found = asked(Constant(), both_tell())
    assert found["bg_gap"] == 0
    assert found["mixed_rand_drop"] == pytest.approx(0, abs=1e-6)
    assert found["background_accuracy"] == 1 / CLASSES
    assert found["background_skill"] == pytest.approx(0, abs=1e-6)
    assert found["rfs"] == 0  # noise anywhere leaves the same 1 / 4


@pytest.mark.parametrize("chunk_size", [1, 3, 64])
def test_the_size_of_the_chunks_changes_nothing(chunk_size):
    expected = asked(Undecided(), both_tell())
    assert asked(Undecided(), both_tell(), chunk_size=chunk_size) == pytest.approx(
        expected, nan_ok=True
    )


def test_images_without_a_usable_mask_are_left_out():
    """The model is wrong on them; were they asked, no value would be extreme."""
    good = both_tell()
    images, masks = good.images.clone(), good.masks.clone()
    masks[0], masks[5] = False, True
    images[0], images[5] = 0, 0
    found = asked(Reader(corner()), Probe(images, LABELS, masks=masks))
    values = (found["bg_gap"], found["background_accuracy"], found["rfs"])
    assert values == pytest.approx((1, 1, -1))


def test_a_watch_reports_what_was_asked_and_touches_nothing():
    probe, model = both_tell(), Reader(corner())
    watch = Watch("cam", probe, Options(method="layercam", panels=()))
    watch.prepare(model, probe.images)
    before = torch.get_rng_state()
    look = watch.look(model, probe.images, epoch=0, step=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert model.see.weight.grad is None
    assert look.evidence == asked(model, probe)
    assert look.metrics["cam/bg_gap"] == 1
    assert look.metrics["cam/rfs"] == -1
    assert look.metrics["cam/pointing_game"] == 0  # the map says the same: off the object
    object_look = Watch("cam", probe, Options(method="layercam", panels=()))
    reader = Reader(inside())
    object_look.prepare(reader, probe.images)
    metrics = object_look.look(reader, probe.images, epoch=0, step=0).metrics
    assert (metrics["cam/bg_gap"], metrics["cam/rfs"], metrics["cam/pointing_game"]) == (0, 1, 1)
    assert metrics["cam/relevance_mass"] == pytest.approx(1)


# --- the papers' definitions ---


def answers(rows, confidence):
    confidence = torch.tensor(confidence).float()
    return Outcome(torch.tensor(rows), confidence, confidence > 0.5, confidence - 0.1)


def test_bg_gap_is_accuracy_on_mixed_same_minus_on_mixed_rand():
    same = answers(range(8), [1, 1, 1, 1, 1, 1, 1, 0])
    rand = answers(range(8), [1, 1, 1, 0, 0, 0, 0, 0])
    clean = answers(range(8), [1] * 8)
    found = reliance(clean, {"mixed_same": same, "mixed_rand": rand})
    assert found["bg_gap"] == pytest.approx(7 / 8 - 3 / 8)
    assert found["mixed_rand_drop"] == pytest.approx(5 / 8)


def test_bg_gap_compares_the_same_images():
    """Image 9 has no partner of its class, 8 none of another: they would be a difference too."""
    same = answers([8, 0, 1, 2, 3], [0, 1, 1, 1, 1])
    rand = answers([9, 0, 1, 2, 3], [0, 1, 1, 1, 1])
    clean = answers(range(10), [1] * 10)
    assert reliance(clean, {"mixed_same": same, "mixed_rand": rand})["bg_gap"] == 0


def test_the_drop_is_of_the_images_that_were_altered():
    clean, rand = answers(range(3), [0.9, 0.2, 0.5]), answers([0, 2], [0.3, 0.3])
    found = reliance(clean, {"mixed_rand": rand})
    assert found["mixed_rand_drop"] == pytest.approx(0.7 - 0.3)
    assert "bg_gap" not in found


def test_skill_is_the_labels_chance_beyond_what_others_images_are_given_for_it():
    chances = torch.tensor([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8], [0.4, 0.6]])
    found = outcome(chances, torch.tensor([0, 0, 1, 1]), torch.tensor([4, 5, 6, 7]))
    assert found.confidence.tolist() == pytest.approx([0.7, 0.5, 0.8, 0.6])
    assert found.correct.tolist() == [True, True, True, True]
    assert found.rows.tolist() == [4, 5, 6, 7]
    expected = [0.7 - 0.3, 0.5 - 0.3, 0.8 - 0.4, 0.6 - 0.4]
    assert found.skill.tolist() == pytest.approx(expected)
    assert outcome(chances, torch.zeros(4).long(), torch.arange(4)).skill.isnan().all()


def test_rfs_is_of_accuracies_under_noise():
    fg, bg = answers(range(8), [1, 1, 0, 0, 0, 0, 0, 0]), answers(range(8), [1] * 6 + [0, 0])
    clean = answers(range(8), [1] * 8)
    found = reliance(clean, {"noisy_object": fg, "noisy_background": bg})
    assert found["rfs"] == pytest.approx((0.75 - 0.25) / (2 * 0.5))


chances = st.floats(0, 1)


@given(chances, chances)
def test_rfs_is_bounded_and_changes_sign_with_its_sides(fg, bg):
    value = foreground_sensitivity(fg, bg)
    if math.isnan(value):
        assert fg == bg
        assert fg in (0, 1)
        return
    assert -1 - 1e-9 <= value <= 1 + 1e-9
    assert foreground_sensitivity(bg, fg) == pytest.approx(-value)
    assert (value > 0) == (bg > fg) or value == pytest.approx(0)


@given(st.floats(0.01, 0.99))
def test_rfs_reaches_one_when_only_one_side_hurts(other):
    """Noise on the object leaves none right, or noise on the background leaves all right."""
    assert foreground_sensitivity(0.0, other) == pytest.approx(1)
    assert foreground_sensitivity(other, 1.0) == pytest.approx(1)


@given(chances, chances)
def test_the_gap_of_swapped_backgrounds_changes_sign(same, rand):
    assert background_gap(same, rand) == -background_gap(rand, same)
    assert -1 <= background_gap(same, rand) <= 1
