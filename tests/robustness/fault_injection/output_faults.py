"""Faults of loggers, disks, folders and drawing."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import lightning.pytorch as pl
from lightning.pytorch.loggers import CSVLogger, Logger
from robustness.fault_injection.fault import ALWAYS_TRIGGERED, TrainingSetup, fault

from lightning_cam.output.loggers import registry
from lightning_cam.output.panels.renderer import PanelRenderer

_FULL_DEVICE = Path("/dev/full")  # writing to it fails with "No space left on device"


# --- loggers -------------------------------------------------------------------------------------


def _logger(class_name: str, **members: Any) -> Logger:
    """Return a logger that does nothing; adapters are chosen by its class name."""

    class Silent(Logger):
        version = 0
        save_dir = log_dir = None
        experiment = None

        @property
        def name(self) -> str:
            return "silent"

        def log_metrics(self, *_: Any, **__: Any) -> None: ...

        def log_hyperparams(self, *_: Any, **__: Any) -> None: ...

    return type(class_name, (Silent,), members)()  # type: ignore[no-any-return]


def _server_down(*_: Any, **__: Any) -> Any:
    raise ConnectionError("the server is down")


class _Sink:
    """Accepts everything, except for what a fault replaces."""

    def __init__(self, logger: Any) -> None: ...

    def prepare(self, tag: str, metric_names: Any) -> None: ...

    def write(self, pictures: Any, step: int) -> None: ...

    def alert(self, tag: str, message: str, step: int) -> None: ...


def _log_to_failing_sink(setup: TrainingSetup, **members: Any) -> None:
    """Add a logger whose adapter has members that fail."""
    sink = type("Sink", (_Sink,), members)
    setup.settings["logger"] = [_logger("BadLogger"), CSVLogger(setup.folder, name="csv")]
    setup.contexts.append(mock.patch.dict(registry._SINKS, {"BadLogger": sink}))


@fault("a logger raises when it is asked for its run", "the server is down")
def logger_experiment(setup: TrainingSetup) -> None:
    _log_to_failing_sink(setup, __init__=_server_down)


@fault("a logger raises when it is given images", "the server is down")
def logger_images(setup: TrainingSetup) -> None:
    _log_to_failing_sink(setup, write=_server_down)


@fault("a logger raises when it is given the layout of the charts", "the server is down")
def logger_charts(setup: TrainingSetup) -> None:
    _log_to_failing_sink(setup, prepare=_server_down)


@fault("a logger raises when it is given an alert", "the server is down")
def logger_alert(setup: TrainingSetup) -> None:
    _log_to_failing_sink(setup, alert=_server_down)
    setup.options |= {"alerts": [ALWAYS_TRIGGERED], "on_alert": ()}


def _fails_from_validation_on(setup: TrainingSetup, fails: Callable[..., Any]) -> Any:
    """Return a property that fails from the first validation on; Lightning reads it earlier."""
    started = []

    class Start(pl.Callback):
        def on_validation_start(self, *_: Any) -> None:
            started.append(1)

    setup.settings["callbacks"] = [Start()]
    return property(lambda self: fails(self) if started else None)


@fault("a logger cannot name its folder", "default_root_dir", strict_raises=False)
def logger_folder(setup: TrainingSetup) -> None:
    save_dir = _fails_from_validation_on(setup, _server_down)
    setup.settings["logger"] = _logger("LostLogger", save_dir=save_dir)


@fault("W&B is not reachable", "Run initialization has timed out")
def wandb_unreachable(setup: TrainingSetup) -> None:
    def offline(_: Any) -> Any:
        from wandb.errors import CommError

        raise CommError("Run initialization has timed out after 90.0 sec.")

    experiment = _fails_from_validation_on(setup, offline)
    setup.settings["logger"] = _logger("WandbLogger", experiment=experiment)


# --- disks and folders ---------------------------------------------------------------------------


@fault("the disk is full: the record of the evaluations", "No space left on device")
def disk_full_record(setup: TrainingSetup) -> None:
    def full(*_: Any) -> None:  # a record is also read, which would never end at `/dev/full`
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    setup.contexts.append(mock.patch("lightning_cam.output.record.writer.append_line", full))


@fault("the disk is full: a line in alerts.jsonl", "No space left on device")
def disk_full_alerts(setup: TrainingSetup) -> None:
    (setup.folder / "alerts.jsonl").symlink_to(_FULL_DEVICE)
    setup.options |= {"alerts": [ALWAYS_TRIGGERED], "on_alert": ()}


@fault("the system refuses files of more than 2 KB", "File too large")
def disk_quota(setup: TrainingSetup) -> None:
    setup.contexts.append(_limited_file_size(2048))
    setup.options["report"] = False


@contextlib.contextmanager
def _limited_file_size(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@fault("the folder of the run is deleted before each validation", strict_raises=False)
def folder_deleted(setup: TrainingSetup) -> None:
    class Delete(pl.Callback):
        def on_validation_start(self, *_: Any) -> None:
            for thread in threading.enumerate():  # a file that is being written would be a warning
                if thread.name.startswith("lightning_cam"):
                    thread.join()
            shutil.rmtree(setup.folder, ignore_errors=True)

    setup.settings["callbacks"] = [Delete()]


@fault("a file has the name of the folder for images", "images in a logger")
def folder_of_images(setup: TrainingSetup) -> None:
    (setup.folder / "cam").write_text("a file")


@fault("a file has the name of the folder for the record", "FileExistsError")
def folder_of_record(setup: TrainingSetup) -> None:
    (setup.folder / "lightning_cam").write_text("a file")


@fault("the report cannot be written at the end", "the report")
def report_fails(setup: TrainingSetup) -> None:
    (setup.folder / "report.html").mkdir()


# --- drawing -------------------------------------------------------------------------------------


@fault("drawing raises", "ZeroDivisionError")
def drawing_raises(setup: TrainingSetup) -> None:
    def draw(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("no area to draw on")

    setup.contexts.append(mock.patch.object(PanelRenderer, "draw", draw))


@fault("the thread that draws is told to exit", "SystemExit", strict_raises=False)
def drawing_exits(setup: TrainingSetup) -> None:
    def draw(*_: Any, **__: Any) -> Any:
        raise SystemExit

    if not setup.options.get("strict"):  # which draws in the training's own thread
        setup.contexts.append(mock.patch.object(PanelRenderer, "draw", draw))


@fault("the system can start no thread to draw in", strict_raises=False)
def drawing_thread(setup: TrainingSetup) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "lightning_cam":
            raise RuntimeError("can't start new thread")
        start(thread)

    setup.contexts.append(mock.patch.object(threading.Thread, "start", refuse))
