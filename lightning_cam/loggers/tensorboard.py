"""TensorBoard: each picture an image summary under its own tag, so the slider scrubs time."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tensorboard.compat.proto.summary_pb2 import Summary

from lightning_cam.render.encode import jpeg

if TYPE_CHECKING:
    from lightning_cam.loggers.base import Picture

_RGB = 3


class TensorBoardSink:
    """Writes encoded pictures into the event file of a `TensorBoardLogger`.

    `SummaryWriter.add_image` would encode again, with Pillow, fourteen times slower.
    """

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def write(self, pictures: Sequence[Picture], step: int) -> None:
        """Log the pictures under `step`."""
        writer = self._logger.experiment._get_file_writer()  # noqa: SLF001 - reopens a closed one
        for picture in pictures:
            height, width, _ = picture.pixels.shape
            image = Summary.Image(
                height=height,
                width=width,
                colorspace=_RGB,
                encoded_image_string=jpeg(picture.pixels),
            )
            writer.add_summary(Summary(value=[Summary.Value(tag=picture.tag, image=image)]), step)

    def alert(self, tag: str, message: str, step: int) -> None:
        """Log the message for the text page, which reads Markdown: markup in names is escaped."""
        self._logger.experiment.add_text(tag, html.escape(message), step)
