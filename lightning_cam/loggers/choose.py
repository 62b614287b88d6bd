"""From the trainer's loggers to the places where pictures go."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_cam.loggers.base import PictureSink

SinkFactory: TypeAlias = "Callable[[Any], PictureSink]"


def _tensorboard(logger: Any) -> PictureSink:
    from lightning_cam.loggers.tensorboard import TensorBoardSink

    return TensorBoardSink(logger)


def _wandb(logger: Any) -> PictureSink:
    from lightning_cam.loggers.wandb import WandbSink

    return WandbSink(logger)


def _mlflow(logger: Any) -> PictureSink:
    from lightning_cam.loggers.mlflow import MLFlowSink

    return MLFlowSink(logger)


def _comet(logger: Any) -> PictureSink:
    from lightning_cam.loggers.comet import CometSink

    return CometSink(logger)


# By class name, since `lightning` and `pytorch_lightning` have different class objects.
_ADAPTERS: dict[str, SinkFactory] = {
    "TensorBoardLogger": _tensorboard,
    "WandbLogger": _wandb,
    "MLFlowLogger": _mlflow,
    "CometLogger": _comet,
}
_FILES = {"CSVLogger"}  # takes no pictures, and nobody expects it to
_SILENT = {"DummyLogger"}  # what `fast_dev_run` puts in place of every logger


def register_sink(logger_class: str, factory: SinkFactory) -> None:
    """Serve a logger that the package does not know, or serve one differently.

    Args:
        logger_class: the logger's class name; its subclasses are served too.
        factory: makes a `PictureSink` of the logger, such as a class that takes it. It is called at
            every validation, on rank zero.

    Raises:
        ValueError: a name that is no class name, or a factory that cannot be called.

    Example:
        >>> class MySink:
        ...     def __init__(self, logger):
        ...         self.run = logger.experiment
        ...
        ...     def write(self, pictures, step):
        ...         for picture in pictures:
        ...             self.run.add_picture(picture.tag, picture.pixels, step)
        ...
        ...     def alert(self, tag, message, step):
        ...         self.run.add_note(tag, message, step)
        >>> register_sink("MyLogger", MySink)
    """
    if not isinstance(logger_class, str) or not logger_class.isidentifier():
        raise ValueError(
            f"expected a logger's class name such as 'MyLogger', came {logger_class!r}"
        )
    if not callable(factory):
        raise ValueError(f"expected a function that takes the logger, came {factory!r}")
    _ADAPTERS[logger_class] = factory


def sinks_for(
    loggers: Sequence[Any],
    folder: str | Path,
    forgiving: Callable[[], contextlib.AbstractContextManager[Any]] | None = None,
) -> list[PictureSink]:
    """Return where pictures go: the loggers that take them, and files if one does not.

    Args:
        loggers: the trainer's.
        folder: where PNG files are written for loggers without pictures, and when there is none.
        forgiving: makes a context that deals with the error of one logger; by default it is raised.
    """
    forgiving = forgiving or contextlib.nullcontext
    sinks: list[PictureSink] = []
    files_wanted = not loggers
    for logger in loggers:
        adapter = _adapter(logger)
        if adapter is not None:
            with forgiving():
                sinks.append(adapter(logger))
        elif not _SILENT.intersection(_names(logger)):
            files_wanted = True
    if files_wanted:
        from lightning_cam.loggers.files import FileSink

        sinks.append(FileSink(folder))
    return sinks


def unknown_loggers(loggers: Sequence[Any]) -> list[str]:
    """Return the class names of loggers for which nobody wrote an adapter: they get files."""
    known = _FILES | _SILENT
    return list(
        dict.fromkeys(
            type(logger).__name__
            for logger in loggers
            if _adapter(logger) is None and not known.intersection(_names(logger))
        )
    )


def file_store(loggers: Sequence[Any]) -> str:
    """Return where an MLflow logger keeps its metrics as files, empty if none does."""
    for logger in loggers:
        if "MLFlowLogger" in _names(logger):
            uri = str(getattr(logger, "_tracking_uri", "") or "")
            if "://" not in uri or uri.startswith("file:"):
                return uri
    return ""


def prepare(sink: PictureSink, tag: str, metric_names: Sequence[str]) -> None:
    """Tell a sink, if it wants to know, which scalars there are."""
    wanted = getattr(sink, "prepare", None)
    if wanted is not None:
        wanted(tag, metric_names)


def _names(logger: Any) -> list[str]:
    return [kind.__name__ for kind in type(logger).__mro__]


def _adapter(logger: Any) -> SinkFactory | None:
    return next((_ADAPTERS[name] for name in _names(logger) if name in _ADAPTERS), None)
