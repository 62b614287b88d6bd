"""The images of one evaluation: one file per panel, found by name in `PANELS`."""

from lightning_cam.output.panels import (
    activation_maximization,
    animation,
    classes,
    comparison,
    features,
    methods,
    overlay,
    timeline,
    worst,
)
from lightning_cam.output.panels.registry import PANELS, Panel, register_panel

__all__ = [
    "PANELS",
    "Panel",
    "activation_maximization",
    "animation",
    "classes",
    "comparison",
    "features",
    "methods",
    "overlay",
    "register_panel",
    "timeline",
    "worst",
]
