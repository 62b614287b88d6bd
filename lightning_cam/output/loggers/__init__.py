"""One small adapter per logger; files where a logger takes no images.

`register_sink` adds a logger that the package does not know; `docs/loggers.md` shows how.
"""

from lightning_cam.output.loggers.base import PictureSink
from lightning_cam.output.loggers.registry import (
    attach_report,
    check_loggers,
    prepare,
    register_sink,
    sinks_for,
)
from lightning_cam.output.picture import Picture

__all__ = [
    "Picture",
    "PictureSink",
    "attach_report",
    "check_loggers",
    "prepare",
    "register_sink",
    "sinks_for",
]
