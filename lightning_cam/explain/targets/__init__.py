"""What is explained: which scalars of the model's output the maps are about."""

from lightning_cam.explain.targets.base import NoTarget, Scores, Target
from lightning_cam.explain.targets.classes import ClassTarget, DifferenceTarget, MultiLabelTarget
from lightning_cam.explain.targets.regions import DetectionTarget, SegmentationTarget
from lightning_cam.explain.targets.resolve import FunctionTarget, TargetLike, resolve_target

__all__ = [
    "ClassTarget",
    "DetectionTarget",
    "DifferenceTarget",
    "FunctionTarget",
    "MultiLabelTarget",
    "NoTarget",
    "Scores",
    "SegmentationTarget",
    "Target",
    "TargetLike",
    "resolve_target",
]
