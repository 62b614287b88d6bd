"""The frozen batch that is looked at again and again, and where it comes from."""

from lightning_cam.probe.probe import Probe

__all__ = ["Probe"]
