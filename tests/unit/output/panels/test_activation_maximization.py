"""Panel `activation_maximization`: images found by gradient ascent, shown as the probe's are."""

import torch
from helpers.scenes import KEY, probe_of, snapshot_of, spot

from lightning_cam.explain.activation_maximization import MaximizedActivations
from lightning_cam.monitor import History
from lightning_cam.output.config import OutputConfig
from lightning_cam.output.panels.renderer import PanelRenderer


def drawn(probe, activations):
    snapshot = snapshot_of(probe, 0, {KEY: spot(len(probe), 3)})
    renderer = PanelRenderer("cam", probe, OutputConfig(panels=["activation_maximization"]))
    return renderer.draw(snapshot, History().past_of(snapshot), activations=activations)


def test_images_are_brought_into_the_displayed_range():
    probe = probe_of(mean=[0.5] * 3, std=[0.25] * 3)
    grey = torch.zeros(2, 3, 32, 32)  # the mean: half of the range
    found = MaximizedActivations(grey, (1, "layer4:17"), (0.0, 0.0), (2.0, 3.0))
    (picture,) = drawn(probe, found)
    assert picture.tag == "cam/activation_maximization"
    assert (picture.pixels[40:100, 20:100] == 128).all()
    assert picture.caption == "activation maximization, by gradient ascent · epoch 0"


def test_there_is_none_where_nothing_was_computed():
    nothing = MaximizedActivations(torch.zeros(0, 3, 32, 32), (), (), ())
    assert drawn(probe_of(), None) == drawn(probe_of(), nothing) == []
