"""The methods: small pure functions by family, found by name in `METHODS`."""

from lightning_cam.explain.methods import gradient
from lightning_cam.explain.methods.registry import METHODS, Method, resolve_methods

__all__ = ["METHODS", "Method", "gradient", "resolve_methods"]
