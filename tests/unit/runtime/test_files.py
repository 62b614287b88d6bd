"""Safe file names, and files that are written whole or not at all."""

import os
import re
import threading
from pathlib import Path

import pytest

from lightning_cam.runtime.files import (
    append_line,
    ends_without_newline,
    safe_name,
    safe_tag,
    write_atomic,
)

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


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", _NAMES, ids=ascii)
def test_any_name_becomes_one_safe_path_component(name, tmp_path):
    safe = safe_name(name)
    assert re.fullmatch(r"[A-Za-z0-9._@-]+", safe)
    assert not safe.startswith(".")
    assert len(safe) <= 100
    (tmp_path / safe).mkdir()
    assert (tmp_path / safe).resolve().parent == tmp_path.resolve()


def test_different_names_give_different_results():
    assert len({safe_name(name) for name in _NAMES}) == len(_NAMES)


@pytest.mark.parametrize("name", ["00012", "layercam@layer4.2.conv1", "cat_1-b", "A.B"])
def test_safe_names_are_unchanged(name):
    assert safe_name(name) == name


def test_a_changed_name_ends_in_a_hash():
    assert re.fullmatch(r"_script_-[0-9a-f]{6}", safe_name("<script>"))


@pytest.mark.parametrize(
    ("text", "start"), [("猫", "x-"), ("犬 猫", "x-"), ("犬 2", "_2-"), ("x", "x")]
)
def test_a_name_without_any_letter_left_is_replaced(text, start):
    assert safe_name(text, "x").startswith(start)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("cam/overlay/00012", "cam/overlay/00012"),
        ("/cam//overlay/", "cam/overlay"),
        ("cam/a b", f"cam/{safe_name('a b')}"),
        ("../x", f"{safe_name('..')}/x"),
    ],
)
def test_each_part_of_a_tag_is_made_safe(tag, expected):
    assert safe_tag(tag) == expected


# --- lines ----------------------------------------------------------------------------------------


def test_lines_are_appended_and_the_folder_is_made(tmp_path):
    path = tmp_path / "new" / "folder" / "alerts.jsonl"
    for line in ("one", "two 😀", ""):
        append_line(path, line)
    assert path.read_bytes() == "one\ntwo 😀\n\n".encode()


class Interrupted:
    """An unbuffered file whose second write fails, and whose first writes only three bytes."""

    def __init__(self, file):
        self._file = file
        self._writes = 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def write(self, data):
        self._writes += 1
        if self._writes > 1:
            raise OSError(28, "No space left on device")
        return self._file.write(data[:3])

    def read(self, *args):
        return self._file.read(*args)

    def seek(self, *args):
        return self._file.seek(*args)

    def truncate(self, *args):
        return self._file.truncate(*args)


def test_a_line_that_is_interrupted_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path, original = tmp_path / "record.jsonl", Path.open
    append_line(path, "first")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda *args, **kw: Interrupted(original(*args, **kw)))
        with pytest.raises(OSError, match="No space left"):
            append_line(path, "second")
    assert path.read_text() == "first\n"


def test_a_line_that_the_system_writes_in_parts_is_whole(tmp_path, monkeypatch):
    class Slow(Interrupted):
        def write(self, data):
            return self._file.write(data[:3])

    path, original = tmp_path / "record.jsonl", Path.open
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda *args, **kw: Slow(original(*args, **kw)))
        append_line(path, "a line of several parts")
    assert path.read_text() == "a line of several parts\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, False), (b"", False), (b"a\n", False), (b"a\nb", True), (b"\n", False)],
)
def test_an_interrupted_last_line_is_recognised(tmp_path, content, expected):
    path = tmp_path / "record.jsonl"
    if content is not None:
        path.write_bytes(content)
    assert ends_without_newline(path) is expected


# --- whole files ----------------------------------------------------------------------------------


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "folder" / "report.html"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


def test_who_reads_the_old_file_reads_it_to_its_end(tmp_path):
    path = tmp_path / "report.html"
    write_atomic(path, b"old")
    with path.open("rb") as reader:
        write_atomic(path, b"new and longer")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new and longer"


def test_a_target_that_cannot_be_replaced_leaves_nothing_behind(tmp_path):
    (tmp_path / "c.bin" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"c\.bin"):
        write_atomic(tmp_path / "c.bin", b"data")
    assert [each.name for each in tmp_path.iterdir()] == ["c.bin"]


def test_a_failed_write_keeps_the_old_file_and_leaves_no_part(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write_atomic(path, b"old")

    def half(self, data):
        self.open("wb").close()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", half)
        with pytest.raises(OSError, match="No space left"):
            write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_two_threads_may_write_one_file(tmp_path, monkeypatch):
    path, replace = tmp_path / "file", os.replace

    def late(*paths):
        monkeypatch.setattr(os, "replace", replace)
        other = threading.Thread(target=write_atomic, args=(path, b"other"))
        other.start()
        other.join()
        assert path.read_bytes() == b"other"
        replace(*paths)

    monkeypatch.setattr(os, "replace", late)
    write_atomic(path, b"first")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
