"""`GrowingFile`: the complete lines of a file that another process appends to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lightning_cam.output.server.runs import open_record

_BLOCK = 1 << 18  # bytes that are read at a time
_LONGEST = 64 << 20  # bytes of a line; a header with a thousand images has a third of it
_SEAM = 64  # bytes before the place up to which the file was read


class Line(NamedTuple):
    """A line of the file.

    Attributes:
        start: where it begins, in bytes.
        text: without the newline; None where it is longer than any that a recorder writes.
    """

    start: int
    text: bytes | None


class GrowingFile:
    """Reads a file from where it was read before, in pieces of bounded size.

    Attributes:
        path: of the file.
        gone: whether the file could not be read the last time.
        behind: whether there is more to read.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.gone = False
        self.behind = False
        self._identity: tuple[int, int] | None = None
        self._begin()

    def _begin(self) -> None:
        self._read = 0  # bytes up to here were read
        self._line = bytearray()  # of the incomplete line at their end, empty where it is too long
        self._length = 0  # of that line
        self._seam = b""

    def read(self) -> tuple[bool, list[Line]]:
        """Return whether the file is another one than before, and lines that were completed.

        A file that was replaced or shortened is read again from its start.
        """
        try:
            with open_record(self.path) as file:
                known = os.fstat(file.fileno())
                identity = (known.st_dev, known.st_ino)
                file.seek(self._read - len(self._seam))
                same = identity == self._identity and file.read(len(self._seam)) == self._seam
                if not same:
                    file.seek(0)
                data = file.read(_BLOCK)
        except OSError:
            self.gone, self.behind = True, False
            return False, []
        if not same:
            self._begin()
        self._identity, self.gone = identity, False
        lines = list(self._lines(data))
        self._read += len(data)
        self._seam = (self._seam + data)[-_SEAM:]
        self.behind = self._read < known.st_size
        return not same, lines

    def line_at(self, start: int, length: int) -> bytes:
        """Return what is in the file at a place where a line was.

        Raises:
            OSError: the file cannot be read.
        """
        with open_record(self.path) as file:
            file.seek(start)
            return file.read(length)

    def _lines(self, data: bytes) -> Iterator[Line]:
        start = self._read - self._length
        *complete, rest = data.split(b"\n")
        for piece in complete:
            self._extend(piece)
            text = bytes(self._line) if self._length <= _LONGEST else None
            yield Line(start, text)
            start += self._length + 1
            self._line.clear()
            self._length = 0
        self._extend(rest)

    def _extend(self, piece: bytes) -> None:
        self._length += len(piece)
        if self._length <= _LONGEST:
            self._line += piece
        else:
            self._line.clear()
