"""`OutputConfig`: its checks, the panels that are drawn, and when slow ones are due."""

import pytest

from lightning_cam.output.config import OutputConfig
from lightning_cam.output.panels import PANELS


def test_default_panels_are_those_that_are_registered_as_default():
    default = OutputConfig().panel_names
    assert default == tuple(name for name, panel in PANELS.items() if panel.default)
    assert set(default) < set(PANELS)


def test_named_panels_are_drawn_in_order_and_once():
    assert OutputConfig(panels=["worst", "overlay", "worst"]).panel_names == ("worst", "overlay")
    assert OutputConfig(panels=()).panel_names == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"panels": ["timelime"]}, "Did you mean 'timeline'"),
        ({"num_pictures": -1}, "num_pictures as an integer of 0 or more, got -1"),
        ({"colormap": "virids"}, "Did you mean 'viridis'"),
        ({"alpha": 1.5}, "alpha between 0 and 1, got 1.5"),
        ({"alpha": "0.5"}, "alpha between 0 and 1, got '0.5'"),
        ({"scale": "epoch"}, "expected scale 'image' or 'run', got 'epoch'"),
        ({"slow_panels_every": 0}, "slow_panels_every as an integer of 1"),
        ({"feature_channels": 0}, "expected channels as a number of 1 or more"),
        ({"feature_channels": [-1]}, "or as indices of 0 or more"),
        ({"feature_channels": []}, "expected channels"),
        ({"activation_maximization": ["layer4"]}, "got 'layer4'"),
        ({"activation_maximization": [-1]}, "a class index of 0 or more, got -1"),
    ],
    ids=str,
)
def test_wrong_values_are_reported(arguments, message):
    with pytest.raises(ValueError, match=message):
        OutputConfig(**arguments)


@pytest.mark.parametrize(
    "arguments", [{"panels": "overlay"}, {"activation_maximization": [1.5]}], ids=str
)
def test_wrong_types_are_reported(arguments):
    with pytest.raises(TypeError, match="expected"):
        OutputConfig(**arguments)


def test_slow_panels_are_due_at_every_nth_evaluation():
    config = OutputConfig(panels=["overlay", "features"], slow_panels_every=3)
    due = [config.slow_panels_due(count) for count in range(5)]
    assert due == [("features",), (), (), ("features",), ()]
    assert OutputConfig(panels=["overlay"]).slow_panels_due(0) == ()
