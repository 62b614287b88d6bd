"""PNG files in the log directory, for loggers that take no images and where there is no logger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_cam.runtime.files import safe_tag, write_atomic

if TYPE_CHECKING:
    from lightning_cam.output.picture import Picture


class FileSink:
    """Writes `<folder>/<tag>/epoch=E-step=S.png`, each file whole or not at all.

    An animation is `<folder>/<tag>.gif`, replaced at each evaluation, since the last one holds all
    frames of those before it.

    Args:
        folder: of the run.
    """

    formats = ("png",)

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def write(self, pictures: Sequence[Picture], step: int) -> None:
        """Write the images of one evaluation."""
        for picture in pictures:
            tag = safe_tag(picture.tag)
            if picture.frames is not None:
                write_atomic(self._folder / f"{tag}.gif", picture.gif)
                continue
            name = f"epoch={picture.epoch:04d}-step={step:08d}.png"
            write_atomic(self._folder / tag / name, picture.png)

    def alert(self, tag: str, message: str, step: int) -> None:
        """Do nothing: the same folder holds `alerts.jsonl`."""
