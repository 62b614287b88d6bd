"""Comet: images with a step and a caption, alerts as texts and as the run's last alert."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lightning_cam.output.loggers.base import prefixed
from lightning_cam.runtime.files import safe_tag

if TYPE_CHECKING:
    from lightning_cam.output.picture import Picture


class CometSink:
    """Logs into the experiment of a `CometLogger`.

    Images are passed as files: the values of an array Comet would stretch over the whole range.
    """

    formats = ("jpeg",)

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def write(self, pictures: Sequence[Picture], step: int) -> None:
        """Log the images under `step`; an animation replaces that of the evaluation before."""
        experiment = self._logger.experiment
        for picture in pictures:
            name = prefixed(self._logger, safe_tag(picture.tag))
            words = {"caption": picture.caption, "epoch": picture.epoch}
            if picture.frames is None:
                file = io.BytesIO(picture.jpeg)
                experiment.log_image(file, name=name, step=step, metadata=words)
            else:
                file = io.BytesIO(picture.gif)
                experiment.log_image(file, name=name, step=step, metadata=words, overwrite=True)

    def alert(self, tag: str, message: str, step: int) -> None:
        """Log the message as text; the experiment's `other` values hold the last message."""
        experiment = self._logger.experiment
        name = prefixed(self._logger, safe_tag(tag))
        # With the name before it: where a text is the path of a file, Comet uploads the file.
        experiment.log_text(f"{name}: {message}", step=step, metadata={"tag": name})
        experiment.log_other(name, message)
