"""Lines of a file that grows, is cut off, replaced, deleted, or has a line without end."""

import pytest

from lightning_cam.output.server import growing_file
from lightning_cam.output.server.growing_file import GrowingFile


@pytest.fixture
def path(tmp_path):
    return tmp_path.resolve() / "cam.jsonl"


def texts(file):
    replaced, lines = file.read()
    return replaced, [line.text for line in lines]


def append(path, data):
    with path.open("ab") as file:
        file.write(data)


def test_only_complete_lines_are_returned_once(path):
    path.write_bytes(b"one\ntw")
    file = GrowingFile(path)
    assert texts(file) == (True, [b"one"])
    assert texts(file) == (False, [])
    append(path, b"o\nthree\n")
    replaced, lines = file.read()
    assert not replaced
    assert [line.text for line in lines] == [b"two", b"three"]
    for line in lines:
        assert file.line_at(line.start, len(line.text)) == line.text


def test_a_file_is_read_in_pieces(path, monkeypatch):
    monkeypatch.setattr(growing_file, "_BLOCK", 4)
    path.write_bytes(b"a\nlonger line\nb\n")
    file, found = GrowingFile(path), []
    while True:
        found += file.read()[1]
        if not file.behind:
            break
    assert [(line.start, line.text) for line in found] == [
        (0, b"a"),
        (2, b"longer line"),
        (14, b"b"),
    ]


def test_a_line_that_is_too_long_is_left_out_and_not_kept(path, monkeypatch):
    monkeypatch.setattr(growing_file, "_BLOCK", 8)
    monkeypatch.setattr(growing_file, "_LONGEST", 10)
    path.write_bytes(b"x" * 50 + b"\nafter\n")
    file, found = GrowingFile(path), []
    for _ in range(8):
        found += file.read()[1]
        assert len(file._line) <= 10
    assert [(line.start, line.text) for line in found] == [(0, None), (51, b"after")]


@pytest.mark.parametrize("other", [b"new\n", b"old\nother line instead of it\n", b""])
def test_a_file_that_was_replaced_is_read_from_its_start(path, other):
    path.write_bytes(b"old\nold line\n")
    file = GrowingFile(path)
    file.read()
    path.write_bytes(other)  # the same file with another content
    assert texts(file) == (True, other.splitlines())
    path.unlink()
    path.write_bytes(b"another file\n")  # which may have the number that the system knew it by
    assert texts(file)[1] == [b"another file"]


def test_a_file_that_is_gone_comes_back(path):
    file = GrowingFile(path)
    assert texts(file) == (False, [])
    assert file.gone
    path.write_bytes(b"one\n")
    assert texts(file) == (True, [b"one"])
    assert not file.gone
