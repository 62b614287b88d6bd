"""PNG files under the log directory, for loggers that take no pictures and for none at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_cam.loggers.base import safe_tag

if TYPE_CHECKING:
    from lightning_cam.loggers.base import Picture


class FileSink:
    """Writes `<folder>/<tag>/epoch=E-step=S.png`, each file whole or not at all.

    A moving picture is `<folder>/<tag>.gif`, written anew at each validation: the last one shows
    all that those before it did.
    """

    encodings = ("png",)

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def write(self, pictures: Sequence[Picture], step: int) -> None:
        """Write the pictures of one validation."""
        for picture in pictures:
            tag = safe_tag(picture.tag)
            if picture.frames is not None:
                write_whole(self._folder / f"{tag}.gif", picture.gif)
                continue
            name = f"epoch={picture.epoch:04d}-step={step:08d}.png"
            write_whole(self._folder / tag / name, picture.png)

    def alert(self, tag: str, message: str, step: int) -> None:
        """Do nothing: `alerts.jsonl` lies in the same folder already."""


def append_line(path: Path, line: str) -> None:
    """Add a line to a text file, whole or not at all.

    Raises:
        OSError: the folder or the disk does not take it; the file ends where it did.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = memoryview(f"{line}\n".encode())
    with path.open("ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            while data:  # the system may take a part at a time
                data = data[file.write(data) :]
        except BaseException:
            with contextlib.suppress(OSError):
                file.truncate(end)
            raise


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that nobody ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.part")
    try:
        half.write_bytes(data)
        os.replace(half, path)  # noqa: PTH105 - Path.replace hides that it is atomic
    finally:
        with contextlib.suppress(OSError):  # what failed above is the news
            half.unlink(missing_ok=True)
