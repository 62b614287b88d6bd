"""The choices about panels are checked when they are made."""

import pytest

from lightning_cam.monitor.config import DEFAULT_PANELS, PANELS, SLOW_PANELS, Options
from lightning_cam.output.panels import draw


def test_every_name_has_its_panel():
    assert set(draw._DRAWN_BY) == set(PANELS)
    assert set(DEFAULT_PANELS) < set(PANELS)
    assert not set(DEFAULT_PANELS) & set(SLOW_PANELS)


def test_the_default_and_a_choice():
    assert Options().shown_panels == DEFAULT_PANELS
    assert Options(panels=["worst", "overlay", "worst"]).shown_panels == ("worst", "overlay")
    assert Options(panels=()).shown_panels == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"panels": ["timelime"]}, "Did you mean 'timeline'"),
        ({"scale": "epoch"}, "expected scale 'image' or 'run', got 'epoch'"),
        ({"slow_panels_every": 0}, "slow_panels_every as a whole number of 1"),
        ({"feature_channels": 0}, "expected channels as a number of 1 or more"),
        ({"feature_channels": [-1]}, "or as indices of 0 and more"),
        ({"feature_channels": []}, "expected channels"),
        ({"preferred": ["layer4"]}, "'<layer>:<number>', got 'layer4'"),
        ({"preferred": [-1]}, "a class index of 0 or more, got -1"),
    ],
    ids=str,
)
def test_slips_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Options(**arguments)


@pytest.mark.parametrize("arguments", [{"panels": "overlay"}, {"preferred": [1.5]}], ids=str)
def test_wrong_kinds_are_named(arguments):
    with pytest.raises(TypeError, match="expected"):
        Options(**arguments)


def test_slow_panels_are_due_at_every_nth_look():
    options = Options(panels=["overlay", "features"], slow_panels_every=3)
    due = [options.slow_panels_at(count) for count in range(5)]
    assert due == [("features",), (), (), ("features",), ()]
    assert Options(panels=["overlay"]).slow_panels_at(0) == ()
