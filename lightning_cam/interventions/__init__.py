"""Altered images, the passes over them, and what the model's answers mean.

A map says where a gradient points; an intervention says what happens to the prediction when that
part of the image is replaced.
"""

from lightning_cam.interventions import with_masks, without_masks
from lightning_cam.interventions.registry import (
    INTERVENTIONS,
    Altered,
    Intervention,
    InterventionInput,
    interventions_for,
    register_intervention,
)

__all__ = [
    "INTERVENTIONS",
    "Altered",
    "Intervention",
    "InterventionInput",
    "interventions_for",
    "register_intervention",
    "with_masks",
    "without_masks",
]
