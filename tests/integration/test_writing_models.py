"""A network that writes into its input, from some time in the training on: images stay intact."""

import copy

import pytest
import torch
from helpers.training import convnet, squares_probe
from torch import nn

from lightning_cam import CAMMonitor, Probe, compute_cams
from lightning_cam.explain.activation_maximization import maximize_activations
from lightning_cam.explain.candidate_layers import candidate_layers
from lightning_cam.explain.features import feature_maps
from lightning_cam.explain.methods import METHODS
from lightning_cam.explain.targets import resolve_target
from lightning_cam.interventions import ATTRIBUTES, Attribute, register_attribute
from lightning_cam.metrics import METRICS
from lightning_cam.metrics.catalog import reliance_metrics

PANELS = ["overlay", "methods", "features", "activation_maximization"]


class Normalising(nn.Module):
    """Subtracts the mean of each image; in place where `writes`."""

    def __init__(self, *, writes=False):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.writes = convnet(), writes

    def forward(self, x):
        mean = x.detach().mean((1, 2, 3), keepdim=True) + 0.5
        return self.net(x.sub_(mean) if self.writes else x - mean)


def fingerprint(probe):
    """Return the probe's fingerprint as its tensors are now; the property keeps the first one."""
    return Probe(probe.images, probe.targets, masks=probe.foreground).fingerprint


def monitor_of(probe, **options):
    options = {"method": ["gradcam", "scorecam", "ablationcam", "fullgrad"]} | options
    return CAMMonitor(
        probe, strict=True, interventions_every=1, slow_panels_every=1, panels=PANELS, **options
    )


@pytest.fixture
def unaltered():
    """An exchange that returns the probe's own images."""

    def whole(batch, partners):
        return batch.images if len(partners) == len(batch.images) else batch.images[partners]

    register_attribute(Attribute("unaltered", "everything", whole, None, masks=True))
    yield
    del ATTRIBUTES["unaltered"]
    for metric in reliance_metrics("unaltered", "", ()):
        del METRICS[metric.name]


@pytest.mark.parametrize("masks", [True, False], ids=["masks", "no masks"])
@pytest.mark.parametrize("options", [{}, {"aug_smooth": True, "method": "gradcam"}])
def test_evaluations_leave_the_probe_as_it_is(masks, options, unaltered):
    given = squares_probe()
    probe = Probe(given.images.clone(), given.targets, masks=given.foreground if masks else None)
    before = fingerprint(probe)
    model = Normalising()
    intact = Probe(given.images, given.targets, masks=given.foreground if masks else None)
    reference, monitor = monitor_of(intact, **options), monitor_of(probe, **options)
    for epoch in range(4):
        with torch.no_grad():
            model.net[0].weight.mul_(1.1)
        plain = copy.deepcopy(model)
        plain.writes, model.writes = False, epoch >= 2
        found = monitor.evaluate(model, epoch=epoch)
        expected = reference.evaluate(plain, epoch=epoch)
        assert fingerprint(probe) == before
        assert found.metrics == pytest.approx(expected.metrics, nan_ok=True, abs=1e-6)


def test_the_engine_leaves_images_as_they_are():
    images = torch.rand(2, 3, 16, 16)
    before, model = images.clone(), Normalising(writes=True)
    candidate_layers(model, images, resolve_target(0, 2))
    assert torch.equal(images, before)
    for method in METHODS:
        if METHODS[method].place != "attention":
            compute_cams(model, images, 0, method=method)
            assert torch.equal(images, before), method
    feature_maps(model, images)
    assert torch.equal(images, before)


def test_activation_maximisation_is_that_of_a_network_that_does_not_write():
    found, expected = (
        maximize_activations(Normalising(writes=writes), (3, 16, 16), [0, "net.2:1"], steps=3)
        for writes in (True, False)
    )
    assert torch.equal(found.images, expected.images)
    assert found.after == expected.after
