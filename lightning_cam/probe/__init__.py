"""`Probe`: the fixed batch that is evaluated each time, and where it comes from."""

from lightning_cam.probe.probe import Probe

__all__ = ["Probe"]
