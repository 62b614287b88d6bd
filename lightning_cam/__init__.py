"""Where does the network look while it trains?

`CAMCallback` monitors a Lightning training, `CAMTrainerCallback` one of Hugging Face's `Trainer`,
`CAMMonitor` any other; `compute_cams` is the engine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_cam.callback import CAMCallback
    from lightning_cam.explain.candidate_layers import candidate_layers
    from lightning_cam.explain.engine import compute_cams
    from lightning_cam.explain.methods import METHODS
    from lightning_cam.explain.result import CAMResult
    from lightning_cam.explain.targets import (
        ClassTarget,
        DetectionTarget,
        DifferenceTarget,
        MultiLabelTarget,
        SegmentationTarget,
        Target,
    )
    from lightning_cam.integrations.transformers import CAMTrainerCallback as CAMTrainerCallback
    from lightning_cam.monitor import Alert, CAMMonitor, ControlChart, Evaluation, Threshold
    from lightning_cam.probe import Probe
    from lightning_cam.runtime.checkpoints import load_weights

__version__ = "0.1.0"
__all__ = [
    "METHODS",
    "Alert",
    "CAMCallback",
    "CAMMonitor",
    "CAMResult",
    "ClassTarget",
    "ControlChart",
    "DetectionTarget",
    "DifferenceTarget",
    "Evaluation",
    "MultiLabelTarget",
    "Probe",
    "SegmentationTarget",
    "Target",
    "Threshold",
    "candidate_layers",
    "compute_cams",
    "load_weights",
]

# `__all__` leaves out what needs an extra, so that `import *` does not.
_WITH_EXTRAS = {"CAMTrainerCallback": "lightning_cam.integrations.transformers"}
# Imported on first use: the engine needs no Lightning, the package no second of import time.
_MODULES = {
    "Alert": "lightning_cam.monitor",
    "CAMCallback": "lightning_cam.callback",
    "CAMMonitor": "lightning_cam.monitor",
    "CAMResult": "lightning_cam.explain.result",
    "ClassTarget": "lightning_cam.explain.targets",
    "ControlChart": "lightning_cam.monitor",
    "DetectionTarget": "lightning_cam.explain.targets",
    "DifferenceTarget": "lightning_cam.explain.targets",
    "Evaluation": "lightning_cam.monitor",
    "METHODS": "lightning_cam.explain.methods",
    "MultiLabelTarget": "lightning_cam.explain.targets",
    "Probe": "lightning_cam.probe",
    "SegmentationTarget": "lightning_cam.explain.targets",
    "Target": "lightning_cam.explain.targets",
    "Threshold": "lightning_cam.monitor",
    "candidate_layers": "lightning_cam.explain.candidate_layers",
    "compute_cams": "lightning_cam.explain.engine",
    "load_weights": "lightning_cam.runtime.checkpoints",
}


def __getattr__(name: str) -> Any:
    module = (_MODULES | _WITH_EXTRAS).get(name)
    if module is not None:
        return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, *_WITH_EXTRAS])
