"""Loggers that the package does not know: files, one message, and how to teach it."""

import logging
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger, Logger
from helpers.pictures import moving, picture
from helpers.training import QUIET, fit, png_files, small

from lightning_cam.output.loggers import choose, register_sink, sinks_for, unknown_loggers
from lightning_cam.output.loggers.files import FileSink
from lightning_cam.render import decode

pytestmark = QUIET


class Board:
    """An experiment that keeps what it is given."""

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
def _forgotten(monkeypatch):
    monkeypatch.setattr(choose, "_ADAPTERS", dict(choose._ADAPTERS))


# --- an unknown logger ---------------------------------------------------------------------------


def told(caplog):
    return [r.getMessage() for r in caplog.records if "register_sink" in r.getMessage()]


def test_an_unknown_logger_gets_files_and_one_message(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        fit(tmp_path, small(strict=True), logger=[OurLogger(), OurLogger()], max_epochs=3)
    (message,) = told(caplog)
    assert "OurLogger" in message
    assert "docs/loggers.md" in message
    assert len(png_files(tmp_path)) >= 3


def test_known_loggers_and_none_need_no_message(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        fit(tmp_path, small(), logger=[CSVLogger(tmp_path), TensorBoardLogger(tmp_path)])
        fit(tmp_path, small())
    assert told(caplog) == []
    assert unknown_loggers([DummyLogger(), CSVLogger(tmp_path)]) == []


def test_every_unknown_class_is_named_once():
    assert unknown_loggers([OurLogger(), SubLogger(), OurLogger()]) == ["OurLogger", "SubLogger"]


# --- a registered one ----------------------------------------------------------------------------


def documented_example():
    """Return the code of the section on adding a logger in the documentation."""
    page = Path(__file__).parents[2].joinpath("docs", "loggers.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?register_sink\(.*?)```", page, re.DOTALL)
    return code


def test_the_documented_ten_lines_serve_a_logger(tmp_path, caplog):
    code = documented_example()
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    exec(code, {})  # noqa: S102 - our own page
    logger = SubLogger()
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        fit(tmp_path, small(strict=True), logger=logger, max_epochs=2)
    assert told(caplog) == []
    assert png_files(tmp_path) == []
    names = [name for name, _, _ in logger.experiment.images]
    assert names.count("cam/timeline") == 2
    assert all(array.dtype == np.uint8 for _, array, _ in logger.experiment.images)
    assert len({at for _, _, at in logger.experiment.images}) == 2


class Keeping:
    def __init__(self, logger):
        self.kept = logger.experiment

    def prepare(self, tag, metric_names):
        self.kept.add_note("prepare", (tag, tuple(metric_names)), None)

    def write(self, pictures, step):
        self.kept.add_image("all", pictures, step)

    def alert(self, tag, message, step):
        raise AssertionError


def test_the_optional_method_is_told_of_all_scalars(tmp_path):
    register_sink("OurLogger", Keeping)
    logger = OurLogger()
    trainer = fit(tmp_path, small(strict=True), logger=logger, max_epochs=2)
    (_, (tag, names), _), second = logger.experiment.notes
    assert tag == "cam"
    logged = {name for name in trainer.callback_metrics if name.startswith("cam/")}
    assert logged <= {*names, *second[1][1]}


def test_an_own_adapter_goes_before_the_packages(tmp_path):
    register_sink("TensorBoardLogger", lambda _: FileSink(tmp_path))
    (sink,) = sinks_for([TensorBoardLogger(tmp_path)], tmp_path)
    assert isinstance(sink, FileSink)


def test_one_that_raises_does_not_stop_the_others(tmp_path):
    class Raising(Keeping):
        def prepare(self, tag, metric_names):
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
    [((OurLogger, Keeping), "name"), (("a b", Keeping), "a b"), (("X", 3), "3")],
)
def test_wrong_registrations_are_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        register_sink(*arguments)


# --- all of them ---------------------------------------------------------------------------------


def test_files_hold_one_animation(tmp_path):
    from PIL import Image

    for step, count in enumerate([2, 3]):
        FileSink(tmp_path).write([moving(count=count), picture()], step)
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.gif")] == ["cam/animation.gif"]
    with Image.open(tmp_path / "cam" / "animation.gif") as film:
        assert film.n_frames == 3
        assert film.info["loop"] == 0
    assert len(png_files(tmp_path)) == 2


def test_frames_keep_their_colours_and_order(tmp_path):
    from PIL import Image, ImageSequence

    FileSink(tmp_path).write([moving(count=4)], 0)
    with Image.open(tmp_path / "cam" / "animation.gif") as film:
        reds = [np.asarray(f.convert("RGB"))[0, 0, 0] for f in ImageSequence.Iterator(film)]
    assert np.abs(np.array(reds, int) - [0, 83, 166, 250]).max() < 4


def test_a_tag_cannot_leave_the_folder(tmp_path):
    folder = tmp_path / "inside"
    still = picture("../../out/<b>")
    FileSink(folder).write([still, moving("../out")], 0)
    assert list(tmp_path.iterdir()) == [folder]
    (path,) = folder.rglob("*.png")
    assert np.array_equal(decode(path.read_bytes()), still.pixels)


def test_no_random_stream_moves(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    for sink in sinks_for([logger, CSVLogger(tmp_path)], tmp_path):
        sink.write([picture(), moving()], 0)
        sink.alert("cam/alerts", "text", 0)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])
