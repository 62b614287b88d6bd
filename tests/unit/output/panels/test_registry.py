"""`register_panel`: a registered panel is drawn, by name or by default."""

import numpy as np
import pytest
from helpers.scenes import draw, probe_of, spots

from lightning_cam.output.config import OutputConfig
from lightning_cam.output.panels import PANELS, register_panel


@pytest.fixture(autouse=True)
def _restored_registry():
    before = dict(PANELS)
    yield
    PANELS.clear()
    PANELS.update(before)


def grey(scene):
    """Return one grey image."""
    pixels = np.full((4, 4, 3), 128, np.uint8)
    return [scene.displayed.picture("grey", pixels, "grey", scene.snapshot.epoch)]


def test_a_registered_panel_is_drawn_where_it_is_named():
    assert register_panel("grey")(grey) is grey
    pictures = draw(probe_of(), spots([0]), panels=["grey"])
    assert (pictures["grey"].pixels == 128).all()
    assert "grey" not in OutputConfig().panel_names


def test_a_registered_default_panel_is_drawn_without_being_named():
    register_panel("grey", default=True)(grey)
    assert OutputConfig().panel_names[-1] == "grey"


def test_a_registered_slow_panel_is_due_at_every_nth_evaluation():
    register_panel("grey", slow=True)(grey)
    config = OutputConfig(panels=["grey"], slow_panels_every=2)
    assert [config.slow_panels_due(count) for count in range(3)] == [("grey",), (), ("grey",)]


def test_the_packages_panels():
    default = {name for name, panel in PANELS.items() if panel.default}
    assert default == {"overlay", "timeline", "comparison", "methods", "worst", "classes"}
    slow = {name for name, panel in PANELS.items() if panel.slow}
    assert slow == {"features", "activation_maximization"}
    assert set(PANELS) == default | slow | {"animation"}
