"""The methods: one function each, by family, found by name in `METHODS`."""

from lightning_cam.explain.methods import (
    attention,
    component,
    fullgrad,
    gradient,
    perturbation,
    pixel,
    weights,
)
from lightning_cam.explain.methods.registry import METHODS, Method, resolve_methods

__all__ = [
    "METHODS",
    "Method",
    "attention",
    "component",
    "fullgrad",
    "gradient",
    "perturbation",
    "pixel",
    "resolve_methods",
    "weights",
]
