"""Reliance of models for which it is known, measured by `ProbeMonitor` and its parts."""

import pytest
import torch
from helpers.monitoring import probe_monitor
from torch import nn

from lightning_cam import compute_cams
from lightning_cam.interventions.registry import InterventionInput
from lightning_cam.interventions.run import run_interventions
from lightning_cam.metrics.registry import metrics_of
from lightning_cam.monitor.measure import intervention_metrics
from lightning_cam.probe import Probe
from lightning_cam.runtime.chunking import AdaptiveChunkSize
from lightning_cam.runtime.forward_context import ForwardContext

CLASSES, PER_CLASS, SIZE = 4, 4, 16
SHARPNESS = 40.0  # factor on the logits: probabilities are close to 0 and 1
LABELS = torch.arange(CLASSES).repeat_interleave(PER_CLASS)


BACKGROUND = [metric for metric in metrics_of("intervention") if "masks" in metric.needs]


def object_mask():
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[4:12, 4:12] = True
    return mask


def object_patch():
    """Return where the object is read: few pixels, since a mean of many would average out noise."""
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[7:9, 7:9] = True
    return mask


def background_patch():
    """Return where the background is read."""
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[:2, :2] = True
    return mask


def probe_of_both():
    """Return a probe whose object and whose background each show the class by their colour.

    Stripes that no model reads make the colours small compared with the standard deviation of the
    probe, and so compared with the noise that interventions add.
    """
    images = torch.zeros(len(LABELS), CLASSES, SIZE, SIZE)
    images[torch.arange(len(LABELS)), LABELS] = 1.0
    images[..., 14, :] += 12.0
    images[..., 15, :] -= 12.0
    return Probe(images, LABELS, masks=object_mask().expand(len(LABELS), -1, -1).clone())


def probe_of_objects():
    """Return the same with a grey background."""
    probe = probe_of_both()
    grey = probe.images.mean(dim=1, keepdim=True)
    return Probe(torch.where(object_mask(), probe.images, grey), LABELS, masks=probe.masks)


class Reader(nn.Module):
    """Predicts the class from the mean colour of one region, behind a spatial layer."""

    def __init__(self, where):
        super().__init__()
        self.layer = nn.Conv2d(CLASSES, CLASSES, 1, bias=False)
        self.layer.weight.data.copy_(torch.eye(CLASSES)[:, :, None, None])
        self.register_buffer("where", where.float() / where.sum())

    def forward(self, images):
        return SHARPNESS * (self.layer(images) * self.where).sum(dim=(2, 3))


class Blend(nn.Module):
    """Predicts by a weighted mean of what the object and what the background say."""

    def __init__(self, share):
        super().__init__()
        self.object, self.background = Reader(object_patch()), Reader(background_patch())
        self.share = share

    def forward(self, images):
        on, off = self.object(images).softmax(1), self.background(images).softmax(1)
        return (self.share * on + (1 - self.share) * off).log()


class Undecided(nn.Module):
    """Predicts from the object where it shows class 0 or 1, else from the background."""

    def __init__(self):
        super().__init__()
        self.object, self.background = Reader(object_patch()), Reader(background_patch())

    def forward(self, images):
        on, off = self.object(images), self.background(images)
        return torch.where(on.argmax(dim=1, keepdim=True) < CLASSES // 2, on, off)


class Constant(nn.Module):
    """Predicts class 0 for every image."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(CLASSES, CLASSES, 1)

    def forward(self, images):
        bias = torch.zeros(CLASSES)
        bias[0] = SHARPNESS
        return 0 * self.layer(images).mean(dim=(2, 3)) + bias


def reliance_of(model, probe, chunk_size=None):
    """Return the metrics of the background, from interventions on all of a probe's images."""
    result = compute_cams(model, probe.images, probe.targets, method="layercam")
    (maps,) = result.maps.values()
    batch = InterventionInput(probe.images, probe.targets, probe.masks, maps)
    chunk_size = chunk_size and AdaptiveChunkSize(chunk_size)
    results = run_interventions(model, batch, result.logits, chunk_size=chunk_size)
    return intervention_metrics(results, BACKGROUND)


def test_a_model_that_reads_only_the_background():
    found = reliance_of(Reader(background_patch()), probe_of_both())
    assert len(found) == len(BACKGROUND) == 9
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
    found = reliance_of(Reader(object_patch()), probe_of_objects())
    assert found["bg_gap"] == 0
    assert found["bg_gap_confidence"] == pytest.approx(0, abs=1e-4)
    assert found["mixed_rand_drop"] == pytest.approx(0, abs=1e-4)
    assert found["background_accuracy"] == 1 / CLASSES  # nothing is left to read: class 0 for all
    assert found["background_confidence"] == pytest.approx(1 / CLASSES, abs=1e-4)
    assert found["background_skill"] == pytest.approx(0, abs=1e-4)
    assert found["background_reliance"] == pytest.approx(0, abs=1e-4)
    assert found["rfs"] == 1
    assert found["rfs_confidence"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.7])
def test_the_gap_in_probability_is_the_share_that_the_background_decides(share):
    found = reliance_of(Blend(share), probe_of_both())
    assert found["bg_gap_confidence"] == pytest.approx(1 - share, abs=1e-3)
    assert found["mixed_rand_drop"] == pytest.approx(1 - share, abs=1e-3)


def test_a_model_that_needs_the_background_for_half_of_the_classes():
    found = reliance_of(Undecided(), probe_of_both())
    assert found["bg_gap"] == 0.5
    assert found["mixed_rand_drop"] == pytest.approx(0.5, abs=1e-3)


def test_a_constant_model_uses_no_background_and_has_no_sensitivity():
    found = reliance_of(Constant(), probe_of_both())
    assert found["bg_gap"] == 0
    assert found["mixed_rand_drop"] == pytest.approx(0, abs=1e-6)
    assert found["background_accuracy"] == 1 / CLASSES
    assert found["background_skill"] == pytest.approx(0, abs=1e-6)
    assert found["rfs"] == 0  # noise anywhere leaves the same 1 / 4


@pytest.mark.parametrize("chunk_size", [1, 3, 64])
def test_the_chunk_size_does_not_change_the_metrics(chunk_size):
    expected = reliance_of(Undecided(), probe_of_both())
    assert reliance_of(Undecided(), probe_of_both(), chunk_size=chunk_size) == pytest.approx(
        expected, nan_ok=True
    )


def test_images_without_a_usable_mask_are_left_out():
    """The model is wrong on these images: if they counted, no value would be extreme."""
    good = probe_of_both()
    images, masks = good.images.clone(), good.masks.clone()
    masks[0], masks[5] = False, True
    images[0], images[5] = 0, 0
    found = reliance_of(Reader(background_patch()), Probe(images, LABELS, masks=masks))
    values = (found["bg_gap"], found["background_accuracy"], found["rfs"])
    assert values == pytest.approx((1, 1, -1))


def evaluation_of(model, probe):
    monitor = probe_monitor(model, probe, method="layercam", panels=())
    return monitor.evaluate(model, ForwardContext.of(model), epoch=0, step=0)


def test_an_evaluation_has_the_metrics_as_evidence_and_leaves_the_model_alone():
    probe, model = probe_of_both(), Reader(background_patch())
    before = torch.get_rng_state()
    evaluation = evaluation_of(model, probe)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert model.layer.weight.grad is None
    assert evaluation.evidence == reliance_of(model, probe)
    assert evaluation.metrics["bg_gap"] == 1
    assert evaluation.metrics["rfs"] == -1
    assert evaluation.metrics["pointing_game"] == 0  # the map agrees: it is off the object
    metrics = evaluation_of(Reader(object_patch()), probe).metrics
    assert (metrics["bg_gap"], metrics["rfs"], metrics["pointing_game"]) == (0, 1, 1)
    assert metrics["relevance_mass"] == pytest.approx(1)


def test_undefined_metrics_are_logged_as_nan_and_are_no_evidence():
    both, model = probe_of_both(), Reader(background_patch())
    rows = torch.arange(0, len(LABELS), PER_CLASS)  # one image per class: no partner of the same
    probe = Probe(both.images[rows], LABELS[rows], masks=both.masks[rows])
    evaluation = evaluation_of(model, probe)
    assert evaluation.metrics["bg_gap"] != evaluation.metrics["bg_gap"]
    assert "bg_gap" not in evaluation.evidence
    assert evaluation.evidence["mixed_rand_drop"] == pytest.approx(1, abs=1e-4)
