"""Which logger gets which sink, and how an unknown one is registered."""

import logging
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.pictures import moving, picture
from helpers.training import QUIET, fit, png_files, small
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger, Logger

from lightning_cam.output.loggers import check_loggers, register_sink, registry, sinks_for
from lightning_cam.output.loggers.files import FileSink
from lightning_cam.output.loggers.registry import mlflow_file_store, unknown_loggers
from lightning_cam.runtime.errors import ErrorPolicy

pytestmark = QUIET


class Board:
    """An experiment that keeps what is logged."""

    def __init__(self):
        self.images, self.notes = [], []

    def add_image(self, name, array, at):
        self.images.append((name, array, at))

    def add_note(self, name, text, at):
        self.notes.append((name, text, at))


class OurLogger(Logger):
    name, version = "ours", "0"

    def __init__(self):
        super().__init__()
        self.experiment = Board()

    def log_metrics(self, metrics, step=None):
        pass

    def log_hyperparams(self, *args, **kwargs):
        pass


class SubLogger(OurLogger):
    pass


@pytest.fixture(autouse=True)
def _restored_registry(monkeypatch):
    monkeypatch.setattr(registry, "_SINKS", dict(registry._SINKS))


# --- an unknown logger ----------------------------------------------------------------------------


def notes(caplog):
    return [r.getMessage() for r in caplog.records if "register_sink" in r.getMessage()]


def test_an_unknown_logger_gets_files_and_one_note(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        fit(tmp_path, small(strict=True), logger=[OurLogger(), OurLogger()], max_epochs=3)
    (message,) = notes(caplog)
    assert "OurLogger" in message
    assert "docs/loggers.md" in message
    assert len(png_files(tmp_path)) >= 3


def test_known_loggers_and_none_get_no_note(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        fit(tmp_path, small(), logger=[CSVLogger(tmp_path), TensorBoardLogger(tmp_path)])
        fit(tmp_path, small())
    assert notes(caplog) == []
    assert unknown_loggers([DummyLogger(), CSVLogger(tmp_path)]) == []


def test_every_unknown_class_is_named_once():
    assert unknown_loggers([OurLogger(), SubLogger(), OurLogger()]) == ["OurLogger", "SubLogger"]


# --- a registered one -----------------------------------------------------------------------------


def documented_example():
    """Return the code of the section on adding a logger in the documentation."""
    page = Path(__file__).parents[4].joinpath("docs", "loggers.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?register_sink\(.*?)```", page, re.DOTALL)
    return code


def test_the_documented_example_adds_a_logger(tmp_path, caplog):
    code = documented_example()
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    exec(code, {})  # noqa: S102 - our own page
    logger = SubLogger()
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        fit(tmp_path, small(strict=True), logger=logger, max_epochs=2)
    assert notes(caplog) == []
    assert png_files(tmp_path) == []
    names = [name for name, _, _ in logger.experiment.images]
    assert names.count("cam/timeline") == 2
    assert all(array.dtype == np.uint8 for _, array, _ in logger.experiment.images)
    assert len({at for _, _, at in logger.experiment.images}) == 2


class Recording:
    def __init__(self, logger):
        self.kept = logger.experiment

    def prepare(self, tag, scalar_names):
        self.kept.add_note("prepare", (tag, tuple(scalar_names)), None)

    def write(self, pictures, step):
        self.kept.add_image("all", pictures, step)

    def alert(self, tag, message, step):
        raise AssertionError


def test_prepare_gets_the_names_of_all_scalars_that_are_logged(tmp_path):
    register_sink("OurLogger", Recording)
    logger = OurLogger()
    trainer = fit(tmp_path, small(strict=True, metrics="all"), logger=logger, max_epochs=2)
    (_, (tag, names), _), second = logger.experiment.notes
    assert tag == "cam"
    logged = {name for name in trainer.callback_metrics if name.startswith("cam/")}
    assert logged <= {*names, *second[1][1]}


def test_a_registered_sink_replaces_the_packages(tmp_path):
    register_sink("TensorBoardLogger", lambda _: FileSink(tmp_path))
    (sink,) = sinks_for([TensorBoardLogger(tmp_path)], tmp_path)
    assert isinstance(sink, FileSink)


def test_a_sink_that_raises_does_not_stop_the_others(tmp_path):
    class Raising(Recording):
        def prepare(self, tag, scalar_names):
            raise OSError("no layout")

        def write(self, pictures, step):
            raise OSError("no pictures")

    register_sink("OurLogger", Raising)
    loggers = [OurLogger(), CSVLogger(tmp_path, name="csv")]
    with pytest.warns(UserWarning, match="no layout"), pytest.warns(UserWarning, match="no pict"):
        fit(tmp_path, small(), logger=loggers)
    assert png_files(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [((OurLogger, Recording), "name"), (("a b", Recording), "a b"), (("X", 3), "3")],
)
def test_wrong_registrations_are_rejected(arguments, word):
    with pytest.raises(ValueError, match=word):
        register_sink(*arguments)


# --- all sinks ------------------------------------------------------------------------------------


def test_sinks_change_no_random_stream(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    for sink in sinks_for([logger, CSVLogger(tmp_path)], tmp_path):
        sink.write([picture(), moving()], 0)
        sink.alert("cam/alerts", "text", 0)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])


# --- which logger gets which ----------------------------------------------------------------------


def kinds(sinks):
    return [type(sink).__name__ for sink in sinks]


def test_every_logger_has_its_sink_and_files_take_the_place_of_the_others(tmp_path):
    board, table = TensorBoardLogger(tmp_path), CSVLogger(tmp_path)
    assert kinds(sinks_for([], tmp_path)) == ["FileSink"]
    assert kinds(sinks_for([table], tmp_path)) == ["FileSink"]
    assert kinds(sinks_for([board], tmp_path)) == ["TensorBoardSink"]
    assert sorted(kinds(sinks_for([table, board, table], tmp_path))) == [
        "FileSink",
        "TensorBoardSink",
    ]
    assert kinds(sinks_for([DummyLogger()], tmp_path)) == []


def test_without_a_folder_there_are_no_files():
    assert sinks_for([], None) == []
    assert sinks_for([OurLogger()], None) == []


def test_a_subclass_has_the_sink_of_its_parent(tmp_path):
    class Ours(TensorBoardLogger):
        pass

    assert kinds(sinks_for([Ours(tmp_path)], tmp_path)) == ["TensorBoardSink"]


def test_a_sink_that_cannot_be_made_does_not_keep_others_from_theirs(tmp_path):
    def fail(logger):
        raise OSError("no connection")

    register_sink("OurLogger", fail)
    loggers, errors = [OurLogger(), TensorBoardLogger(tmp_path)], []
    policy = ErrorPolicy(warn=errors.append)
    found = sinks_for(loggers, tmp_path, lambda: policy.suppress("a logger"))
    assert kinds(found) == ["TensorBoardSink"]
    assert len(errors) == 1
    with pytest.raises(OSError, match="no connection"):
        sinks_for(loggers, tmp_path)


# --- checks ---------------------------------------------------------------------------------------


class MLFlowLogger(OurLogger):
    """Has the name and the attribute by which MLflow's file store is recognised."""

    def __init__(self, uri):
        super().__init__()
        self._tracking_uri = uri


@pytest.mark.parametrize(
    ("uri", "is_store"),
    [("file:./mlruns", True), ("./mlruns", True), ("sqlite:///a.db", False), ("http://x", False)],
)
def test_the_file_store_of_mlflow_cannot_hold_several_maps(uri, is_store):
    loggers = [OurLogger(), MLFlowLogger(uri)]
    assert mlflow_file_store(loggers) == (uri if is_store else "")
    check_loggers(loggers, several_maps=False)
    if is_store:
        with pytest.raises(ValueError, match=r"one method and one layer .*sqlite:///mlflow.db"):
            check_loggers(loggers, several_maps=True)
    else:
        check_loggers(loggers, several_maps=True)
