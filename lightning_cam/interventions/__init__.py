"""Altered images, the passes over them, and what the model's answers mean.

A map says where a gradient points; an intervention says what happens to the prediction when an
attribute of the image is exchanged for that of another image.
"""

from lightning_cam.interventions import attributes
from lightning_cam.interventions.registry import (
    ATTRIBUTES,
    Attribute,
    ExchangeBatch,
    register_attribute,
)

__all__ = ["ATTRIBUTES", "Attribute", "ExchangeBatch", "attributes", "register_attribute"]
