"""Where does the network look while it trains?

`CAMCallback` watches a Lightning training; `compute_cams` is the engine without a trainer.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_cam.callback import CAMCallback
    from lightning_cam.checkpoints import load_weights
    from lightning_cam.explain.engine import CAMResult, compute_cams
    from lightning_cam.explain.methods import METHODS
    from lightning_cam.explain.survey import survey
    from lightning_cam.explain.targets import (
        ClassTarget,
        DetectionTarget,
        DifferenceTarget,
        MultiLabelTarget,
        SegmentationTarget,
        Target,
    )
    from lightning_cam.monitor import Alert, Change, Level
    from lightning_cam.probe import Probe

__version__ = "0.1.0"
__all__ = [
    "METHODS",
    "Alert",
    "CAMCallback",
    "CAMResult",
    "Change",
    "ClassTarget",
    "DetectionTarget",
    "DifferenceTarget",
    "Level",
    "MultiLabelTarget",
    "Probe",
    "SegmentationTarget",
    "Target",
    "compute_cams",
    "load_weights",
    "survey",
]

# Loaded on first use: the engine needs no Lightning, the package no second of import time.
_HOME = {
    "CAMCallback": "lightning_cam.callback",
    "CAMResult": "lightning_cam.explain.engine",
    "Alert": "lightning_cam.monitor",
    "Change": "lightning_cam.monitor",
    "ClassTarget": "lightning_cam.explain.targets",
    "DetectionTarget": "lightning_cam.explain.targets",
    "DifferenceTarget": "lightning_cam.explain.targets",
    "Level": "lightning_cam.monitor",
    "METHODS": "lightning_cam.explain.methods",
    "MultiLabelTarget": "lightning_cam.explain.targets",
    "Probe": "lightning_cam.probe",
    "SegmentationTarget": "lightning_cam.explain.targets",
    "Target": "lightning_cam.explain.targets",
    "compute_cams": "lightning_cam.explain.engine",
    "load_weights": "lightning_cam.checkpoints",
    "survey": "lightning_cam.explain.survey",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
