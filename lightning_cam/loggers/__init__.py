"""One small adapter per logger; files where a logger takes no pictures.

`register_sink` adds a logger that the package does not know; `docs/loggers.md` shows how.
"""

from lightning_cam.loggers.base import Picture, PictureSink
from lightning_cam.loggers.choose import (
    file_store,
    prepare,
    register_sink,
    sinks_for,
    unknown_loggers,
)

__all__ = [
    "Picture",
    "PictureSink",
    "file_store",
    "prepare",
    "register_sink",
    "sinks_for",
    "unknown_loggers",
]
