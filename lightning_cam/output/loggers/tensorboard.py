"""TensorBoard: one image summary per image and tag, so that the slider moves through time."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from tensorboard.compat.proto.event_pb2 import Event

from lightning_cam.output.loggers.base import prefixed
from lightning_cam.output.loggers.event_file import prepare_file_writer
from lightning_cam.output.loggers.tensorboard_layout import charts

if TYPE_CHECKING:
    from lightning_cam.output.picture import Picture

_RGB = 3
_MARKUP = re.compile(r"([\\`*!\[\]])")  # of Markdown, links and images included
# The scalars that each event file's layout was made for, by tag. Of several layouts in one run
# TensorBoard shows the last one only, so callbacks with different tags must share one.
_KNOWN: WeakKeyDictionary[Any, dict[str, set[str]]] = WeakKeyDictionary()


class TensorBoardSink:
    """Writes encoded images into the event file of a `TensorBoardLogger`.

    `SummaryWriter.add_image` would encode again, with Pillow, fourteen times slower.
    """

    formats = ("jpeg",)

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._alerts: dict[str, int] = {}

    def prepare(self, tag: str, scalar_names: Sequence[str]) -> None:
        """Group the scalars on the page of custom scalars, whenever there are new ones."""
        writer = self._logger.experiment
        prepare_file_writer(writer._get_file_writer())  # noqa: SLF001
        known = _KNOWN.get(writer, {})
        prefix = prefixed(self._logger, "")
        tag = f"{prefix}{tag}"
        names = {f"{prefix}{name}" for name in scalar_names} | known.get(tag, set())
        if names == known.get(tag):
            return
        before, after = _layout(known), _layout({**known, tag: names})
        if after != before:
            writer.add_custom_scalars(after)
        _KNOWN[writer] = {**known, tag: names}

    def write(self, pictures: Sequence[Picture], step: int) -> None:
        """Log the images under `step`, all in one event, which is filled in place.

        Each message that is put into another one is copied, and these are a megabyte.
        """
        event = Event()
        for picture in pictures:
            height, width, _ = picture.pixels.shape
            value = event.summary.value.add(tag=prefixed(self._logger, picture.tag))
            value.image.height, value.image.width = height, width
            value.image.colorspace = _RGB
            encoded = picture.jpeg if picture.frames is None else picture.gif
            value.image.encoded_image_string = encoded
        writer = self._logger.experiment._get_file_writer()  # noqa: SLF001 - reopens a closed one
        writer.add_event(event, step)

    def alert(self, tag: str, message: str, step: int) -> None:
        """Log the message for the text page, which renders Markdown: markup in names is escaped.

        The page shows one text per tag and step, so further alerts of an evaluation get a number.
        """
        self._alerts[tag] = count = self._alerts.get(tag, 0) + 1
        name = prefixed(self._logger, tag if count == 1 else f"{tag}/{count}")
        text = html.escape(_MARKUP.sub(r"\\\1", message))
        self._logger.experiment.add_text(name, text, step)


def _layout(names: Mapping[str, Iterable[str]]) -> dict[str, dict[str, list[Any]]]:
    """Return the argument of `add_custom_scalars` for the scalars' names by tag."""
    return {
        category: {title: ["Multiline", [pattern]] for title, pattern in found.items()}
        for tag, some in names.items()
        for category, found in charts(tag, some).items()
    }
