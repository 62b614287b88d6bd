"""What slow panels ask of the network, and that a watch draws what it was told to."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from lightning_cam.monitor.diagnostics import Diagnostics, classes_of, run_diagnostics
from lightning_cam.monitor.config import PANELS, Options
from lightning_cam.probe import Probe
from lightning_cam.monitor.probe_monitor import Watch


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


def probe(count=6, **known):
    masks = torch.zeros(count, 16, 16, dtype=torch.bool)
    masks[:, 2:8, 2:8] = True
    return Probe(
        torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0)),
        torch.arange(count) % 4,
        masks=masks,
        **known,
    )


def inside(wanted, **options):
    own = probe()
    return run_diagnostics(convnet(), own.images, own, Options(**options), ("3",), wanted, steps=2)


def test_only_what_is_due_is_computed():
    assert inside(()) == Diagnostics()
    assert inside(("features",)).preferences is None
    assert inside(("activation_maximization",)).features == {}


def test_features_are_of_the_watched_layers_unless_others_are_named():
    assert list(inside(("features",)).features) == ["3"]
    named = inside(("features",), feature_layers=["0", "2"], feature_channels=[4, 1]).features
    assert list(named) == ["0", "2"]
    assert named["0"].channels == (4, 1)
    assert len(named["0"].maps) == 4  # images


def test_preferences_are_of_the_probes_classes_unless_others_are_named():
    assert inside(("activation_maximization",)).preferences.wanted == (0, 1, 2, 3)
    assert inside(("activation_maximization",), preferred=["2:3", 1]).preferences.wanted == ("2:3", 1)
    images = inside(("activation_maximization",)).preferences.images
    own = probe().images
    assert bool((images.amin(dim=(0, 2, 3)) >= own.amin(dim=(0, 2, 3))).all())
    assert bool((images.amax(dim=(0, 2, 3)) <= own.amax(dim=(0, 2, 3))).all())


@pytest.mark.parametrize(
    ("targets", "classes"),
    [
        (None, [0, 1]),
        (torch.tensor([3, 1, 3]), [1, 3]),
        (torch.tensor([[0, 1, 0], [0, 1, 1], [0, 0, 0]]), [1, 2]),
        (torch.zeros(3, 5, dtype=torch.long), []),
    ],
    ids=["unknown", "labels", "several labels", "no label"],
)
def test_classes_are_those_of_the_labels(targets, classes):
    assert classes_of(Probe(torch.rand(3, 3, 8, 8), targets)) == classes


def test_at_most_eight_classes():
    assert classes_of(Probe(torch.rand(20, 3, 8, 8), torch.arange(20))) == list(range(8))


# --- from the watch to the pictures --------------------------------------------------------------


def watched(looks, **options):
    """Return the names of the pictures of each look of a watch."""
    own, net = probe(), convnet()
    settings = {"interventions_every": 0, "rules": (), "num_pictures": 2}
    watch = Watch("cam", own, Options(**{**settings, **options}))
    watch.prepare(net, own.images)
    names = []
    for i in range(looks):
        with torch.no_grad():
            net[0].weight.add_(0.05 * torch.randn_like(net[0].weight))
        look = watch.look(net, own.images, i, i)
        look = replace(look, inside=watch.run_diagnostics(net, own.images))
        watch.remember(look)
        names.append([picture.tag for picture in watch.draw(look)])
    return names


def test_a_watch_draws_its_panels_and_the_slow_ones_at_their_looks():
    first, second, third = watched(3, panels=PANELS, slow_panels_every=2)
    expected = {"cam/timeline", "cam/comparison", "cam/worst", "cam/classes", "cam/animation"}
    assert expected < set(second)
    slow = {"cam/features/3", "cam/preferences"}
    assert slow < set(first)
    assert slow < set(third)
    assert not slow & set(second)
    assert "cam/methods" not in first
    assert "cam/methods" in watched(1, method=["gradcam", "layercam"])[0]


def test_a_watch_draws_no_more_than_it_is_told():
    assert watched(1, panels=["timeline"]) == [["cam/timeline"]]
    assert watched(1, panels=[]) == [[]]
