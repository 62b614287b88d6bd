"""Names that are safe as paths, and files that are whole or not there."""

import re

import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger

from lightning_cam.output.loggers import Picture, sinks_for
from lightning_cam.output.loggers.base import safe_name
from lightning_cam.output.loggers.files import FileSink, write_atomic
from lightning_cam.render import decode

_NAMES = [
    "../x",
    "../../etc/passwd",
    "/absolute",
    "a/b",
    "a\\b",
    "<script>alert(1)</script>",
    "😀",
    "日本語",
    "",
    ".",
    "..",
    ".hidden",
    " ",
    "x" * 200,
    "x" * 201,
    "y" * 81,
    "new\nline",
    "nul\0",
    "C:",
    "-rf",
    "é",
    "e",
    "ä b",
    "a b",
    "a_b",
    "layercam@layer4.2",
    "\ud800",
]


@pytest.mark.parametrize("name", _NAMES, ids=ascii)
def test_any_name_becomes_one_harmless_part_of_a_path(name, tmp_path):
    safe = safe_name(name)
    assert re.fullmatch(r"[A-Za-z0-9._@-]+", safe)
    assert not safe.startswith(".")
    assert len(safe) <= 100
    (tmp_path / safe).mkdir()
    assert (tmp_path / safe).resolve().parent == tmp_path.resolve()


def test_different_names_stay_different():
    assert len({safe_name(name) for name in _NAMES}) == len(_NAMES)


@pytest.mark.parametrize("name", ["00012", "layercam@layer4.2.conv1", "cat_1-b", "A.B"])
def test_harmless_names_stay_as_they_are(name):
    assert safe_name(name) == name


def test_what_was_changed_is_marked_by_a_hash():
    assert re.fullmatch(r"_script_-[0-9a-f]{6}", safe_name("<script>"))


def files_in(folder):
    return [path.name for path in folder.iterdir()]


# --- files ---------------------------------------------------------------------------------------


def test_a_file_is_written_with_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "c.bin"
    write_atomic(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert files_in(path.parent) == ["c.bin"]


def test_a_file_is_replaced_at_once(tmp_path):
    path = tmp_path / "c.bin"
    write_atomic(path, b"old")
    with path.open("rb") as reader:
        write_atomic(path, b"new and longer")
        assert reader.read() == b"old"  # who reads the old file reads it to its end
    assert path.read_bytes() == b"new and longer"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "c.bin"
    write_atomic(path, b"old")
    with pytest.raises(TypeError):
        write_atomic(path, "no bytes")
    assert files_in(tmp_path) == ["c.bin"]
    assert path.read_bytes() == b"old"


def test_a_target_that_cannot_be_replaced_leaves_nothing_behind(tmp_path):
    (tmp_path / "c.bin" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"c\.bin"):
        write_atomic(tmp_path / "c.bin", b"data")
    assert files_in(tmp_path) == ["c.bin"]


def picture(tag="cam/overlay/00", shape=(8, 9, 3)):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Picture(tag, pixels, "words", epoch=2)


def test_pictures_lie_under_their_tags_by_epoch_and_step(tmp_path):
    FileSink(tmp_path).write([picture(), picture("cam/timeline")], step=17)
    names = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*"))
    name = "epoch=0002-step=00000017.png"
    assert names == [f"cam/overlay/00/{name}", f"cam/timeline/{name}"]
    assert np.array_equal(decode((tmp_path / names[0]).read_bytes()), picture().pixels)


def test_a_picture_that_cannot_be_encoded_leaves_no_file(tmp_path):
    with pytest.raises(Exception, match=r".+"):
        FileSink(tmp_path).write([picture(shape=(0, 9, 3))], step=1)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# --- who gets them -------------------------------------------------------------------------------


def kinds(sinks):
    return [type(sink).__name__ for sink in sinks]


def test_every_logger_finds_its_sink(tmp_path):
    board, table = TensorBoardLogger(tmp_path), CSVLogger(tmp_path)
    assert kinds(sinks_for([], tmp_path)) == ["FileSink"]
    assert kinds(sinks_for([table], tmp_path)) == ["FileSink"]
    assert kinds(sinks_for([board], tmp_path)) == ["TensorBoardSink"]
    assert sorted(kinds(sinks_for([table, board, table], tmp_path))) == [
        "FileSink",
        "TensorBoardSink",
    ]
    assert kinds(sinks_for([DummyLogger()], tmp_path)) == []


def test_a_subclass_is_served_like_its_parent(tmp_path):
    class Ours(TensorBoardLogger):
        pass

    assert kinds(sinks_for([Ours(tmp_path)], tmp_path)) == ["TensorBoardSink"]
