"""From Lightning loggers to the adapters that take images."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_cam.output.loggers.base import PictureSink

SinkFactory: TypeAlias = "Callable[[Any], PictureSink]"

# By class name, since `lightning` and `pytorch_lightning` have different class objects; by module
# and class, since an adapter is imported only where its logger is used.
_SINKS: dict[str, SinkFactory | str] = {
    "TensorBoardLogger": "lightning_cam.output.loggers.tensorboard:TensorBoardSink",
    "WandbLogger": "lightning_cam.output.loggers.wandb:WandbSink",
    "MLFlowLogger": "lightning_cam.output.loggers.mlflow:MLFlowSink",
    "CometLogger": "lightning_cam.output.loggers.comet:CometSink",
}
_WITHOUT_IMAGES = {"CSVLogger"}  # files take its place, and nobody expects otherwise
_DUMMY = {"DummyLogger"}  # `fast_dev_run` replaces every logger by it


def register_sink(logger_class: str, factory: SinkFactory) -> None:
    """Add an adapter for a logger that the package does not know, or replace one.

    Args:
        logger_class: the logger's class name; its subclasses are included.
        factory: takes the logger and returns a `PictureSink`, for instance a class. It is called at
            every evaluation, on rank zero.

    Raises:
        ValueError: `logger_class` is no class name, or `factory` cannot be called.

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
        raise ValueError(f"expected a logger's class name such as 'MyLogger', got {logger_class!r}")
    if not callable(factory):
        raise ValueError(f"expected a function that takes the logger, got {factory!r}")
    _SINKS[logger_class] = factory


def sinks_for(
    loggers: Sequence[Any],
    folder: str | Path | None,
    suppress: Callable[[], contextlib.AbstractContextManager[Any]] | None = None,
) -> list[PictureSink]:
    """Return the adapters of loggers that take images, and files where one does not.

    Args:
        loggers: Lightning loggers.
        folder: where PNG files are written for loggers without images, and where there is no
            logger; None for no files.
        suppress: makes a context that handles the error of one logger; by default it is raised.
    """
    suppress = suppress or contextlib.nullcontext
    sinks: list[PictureSink] = []
    files_wanted = not loggers
    for logger in loggers:
        factory = _factory(logger)
        if factory is not None:
            with suppress():
                sinks.append(factory(logger))
        elif not _DUMMY.intersection(_class_names(logger)):
            files_wanted = True
    if files_wanted and folder is not None:
        from lightning_cam.output.loggers.files import FileSink

        sinks.append(FileSink(folder))
    return sinks


def check_loggers(loggers: Sequence[Any], *, several_maps: bool) -> list[str]:
    """Return what users should know about their loggers, one sentence each.

    Args:
        loggers: Lightning loggers.
        several_maps: whether there is more than one method or layer.

    Raises:
        ValueError: a logger that cannot hold the metrics' names.
    """
    store = mlflow_file_store(loggers)
    if several_maps and store:
        raise ValueError(
            f"expected one method and one layer for MLflow's file store {store!r}, which cannot "
            "hold 'cam/entropy' beside 'cam/entropy/layercam@layer4', got several. Use "
            "MLFlowLogger(tracking_uri='sqlite:///mlflow.db')."
        )
    return [
        f"there is no adapter for {name}, so its images are files in the log folder. "
        "lightning_cam.output.loggers.register_sink adds one, see docs/loggers.md."
        for name in unknown_loggers(loggers)
    ]


def unknown_loggers(loggers: Sequence[Any]) -> list[str]:
    """Return the class names of loggers that there is no adapter for; files take their place."""
    known = _WITHOUT_IMAGES | _DUMMY
    return list(
        dict.fromkeys(
            type(logger).__name__
            for logger in loggers
            if _factory(logger) is None and not known.intersection(_class_names(logger))
        )
    )


def mlflow_file_store(loggers: Sequence[Any]) -> str:
    """Return where an MLflow logger keeps its metrics as files, an empty string if none does."""
    for logger in loggers:
        if "MLFlowLogger" in _class_names(logger):
            uri = str(getattr(logger, "_tracking_uri", "") or "")
            if "://" not in uri or uri.startswith("file:"):
                return uri
    return ""


def prepare(sink: PictureSink, tag: str, scalar_names: Sequence[str]) -> None:
    """Call a sink's optional `prepare`."""
    method = getattr(sink, "prepare", None)
    if method is not None:
        method(tag, scalar_names)


def attach_report(sink: PictureSink, tag: str, path: Path, step: int) -> None:
    """Call a sink's optional `attach_report`."""
    method = getattr(sink, "attach_report", None)
    if method is not None:
        method(tag, path, step)


def _class_names(logger: Any) -> list[str]:
    return [kind.__name__ for kind in type(logger).__mro__]


def _factory(logger: Any) -> SinkFactory | None:
    found = next((_SINKS[name] for name in _class_names(logger) if name in _SINKS), None)
    if not isinstance(found, str):
        return found
    module, name = found.split(":")

    def load(logger: Any) -> PictureSink:
        sink: PictureSink = getattr(importlib.import_module(module), name)(logger)
        return sink

    return load
