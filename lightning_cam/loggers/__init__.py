"""One small adapter per logger; files where a logger takes no pictures."""

from lightning_cam.loggers.base import Picture, PictureSink
from lightning_cam.loggers.choose import sinks_for

__all__ = ["Picture", "PictureSink", "sinks_for"]
