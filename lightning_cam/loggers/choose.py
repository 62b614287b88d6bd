"""From the trainer's loggers to the places where pictures go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_cam.loggers.base import PictureSink


def _tensorboard(logger: Any) -> PictureSink:
    from lightning_cam.loggers.tensorboard import TensorBoardSink

    return TensorBoardSink(logger)


# By class name, since `lightning` and `pytorch_lightning` have different class objects.
_ADAPTERS: dict[str, Callable[[Any], PictureSink]] = {"TensorBoardLogger": _tensorboard}
_SILENT = {"DummyLogger"}  # what `fast_dev_run` puts in place of every logger


def sinks_for(loggers: Sequence[Any], folder: str | Path) -> list[PictureSink]:
    """Return where pictures go: the loggers that take them, and files if one does not.

    Args:
        loggers: the trainer's.
        folder: where PNG files are written for loggers without pictures, and when there is none.
    """
    sinks: list[PictureSink] = []
    files_wanted = not loggers
    for logger in loggers:
        names = [kind.__name__ for kind in type(logger).__mro__]
        adapter = next((_ADAPTERS[name] for name in names if name in _ADAPTERS), None)
        if adapter is not None:
            sinks.append(adapter(logger))
        elif not _SILENT.intersection(names):
            files_wanted = True
    if files_wanted:
        from lightning_cam.loggers.files import FileSink

        sinks.append(FileSink(folder))
    return sinks
