"""`run_diagnostics`: the passes that slow panels need, only those that are due."""

import pytest
import torch
from torch import nn

from lightning_cam import Probe
from lightning_cam.monitor.diagnostics import Diagnostics, classes_of, run_diagnostics
from lightning_cam.output.config import OutputConfig
from lightning_cam.runtime.chunking import AdaptiveChunkSize


def convnet():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 12, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 4),
    )


def probe(count=6):
    images = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return Probe(images, torch.arange(count) % 4)


def diagnostics(due, *, net=None, chunk_size=64, **options):
    own, chunks = probe(), AdaptiveChunkSize(chunk_size)
    config, net = OutputConfig(**options), convnet() if net is None else net
    return run_diagnostics(net, own.images, own, config, ("3",), due, chunks, steps=2)


def test_only_what_is_due_is_computed():
    assert diagnostics(()) == Diagnostics()
    assert diagnostics(("features",)).activations is None
    assert diagnostics(("activation_maximization",)).features == {}


def test_features_are_of_the_maps_layers_unless_others_are_named():
    assert list(diagnostics(("features",)).features) == ["3"]
    named = diagnostics(("features",), feature_layers=["0", "2"], feature_channels=[4, 1]).features
    assert list(named) == ["0", "2"]
    assert named["0"].channels == (4, 1)
    assert len(named["0"].maps) == 4  # images


def test_activations_are_of_the_probes_classes_unless_others_are_named():
    found = diagnostics(("activation_maximization",)).activations
    assert found.targets == (0, 1, 2, 3)
    named = diagnostics(("activation_maximization",), activation_maximization=["2:3", 1])
    assert named.activations.targets == ("2:3", 1)
    own = probe().images
    assert bool((found.images.amin(dim=(0, 2, 3)) >= own.amin(dim=(0, 2, 3))).all())
    assert bool((found.images.amax(dim=(0, 2, 3)) <= own.amax(dim=(0, 2, 3))).all())


@pytest.mark.parametrize(
    ("due", "options"),
    [
        (("features",), {"feature_layers": ["missing"]}),
        (("features",), {"feature_channels": [99]}),
        (("activation_maximization",), {"activation_maximization": [99]}),
        (("activation_maximization",), {"activation_maximization": ["2:99"]}),
    ],
    ids=str,
)
def test_layers_channels_and_classes_that_the_model_lacks_are_reported(due, options):
    with pytest.raises(ValueError, match=r"99|missing"):
        diagnostics(due, **options)


def test_fewer_images_are_shown_where_memory_runs_out():
    class Limited(nn.Sequential):
        def forward(self, images):
            if len(images) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(images)

    found = diagnostics(("features",), net=Limited(*convnet()))
    assert len(found.features["3"].maps) == 1


@pytest.mark.parametrize(
    ("targets", "classes"),
    [
        (None, [0, 1]),
        (torch.tensor([3, 1, 3]), [1, 3]),
        (torch.tensor([[0, 1, 0], [0, 1, 1], [0, 0, 0]]), [1, 2]),
        (torch.zeros(3, 5, dtype=torch.long), []),
    ],
    ids=["no labels", "labels", "several labels", "no positive label"],
)
def test_classes_are_those_of_the_labels(targets, classes):
    assert classes_of(Probe(torch.rand(3, 3, 8, 8), targets)) == classes


def test_there_are_at_most_eight_classes():
    assert classes_of(Probe(torch.rand(20, 3, 8, 8), torch.arange(20))) == list(range(8))
