"""Weights & Biases: captions, masks to switch on and off, alerts, a summary to sort runs by."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_cam.loggers.base import prefixed, safe_tag
from lightning_cam.render.encode import jpeg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_cam.loggers.base import Picture

_MOST = 108  # pictures that W&B keeps of a list
_TITLE = 63  # letters of an alert's title
_MASK = "object"
_CLASSES = {0: "background", 1: _MASK}


class WandbSink:
    """Logs into the run of a `WandbLogger`, through the logger, which knows prefix and step.

    W&B's own step moves on with every call, so no step is given to it: all pictures of a validation
    go in one call, and the captions begin with the epoch.
    """

    encodings = ("jpeg",)

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def prepare(self, tag: str, metric_names: Sequence[str]) -> None:
        """Start the count of alerts, so that runs without any have it too."""
        del metric_names
        summary = self._logger.experiment.summary
        count = prefixed(self._logger, f"{tag}/alerts/count")
        if summary.get(count) is None:
            summary[count] = 0

    def write(self, pictures: Sequence[Picture], step: int) -> None:
        """Log the pictures of one validation."""
        if not pictures:
            return
        with tempfile.TemporaryDirectory() as folder:  # W&B copies the files while it logs
            media: dict[str, Any] = {}
            for key, some in _by_key(pictures):
                media[key] = [_image(each, Path(folder), _size(some)) for each in some]
            for picture in pictures:
                if picture.frames is not None:
                    media[safe_tag(picture.tag)] = _video(picture)
            self._logger.log_metrics(media, step)

    def alert(self, tag: str, message: str, step: int) -> None:
        """Send an alert, and leave its words in the run."""
        run = self._logger.experiment
        before = run.summary.get(prefixed(self._logger, f"{tag}/count")) or 0
        self._logger.log_metrics({f"{tag}/count": before + 1, f"{tag}/last": message}, step)
        line = " ".join(message.split())
        title = line if len(line) <= _TITLE else f"{line[: _TITLE - 1]}…"
        run.alert(title=title, text=message, level="WARN")


def _by_key(pictures: Sequence[Picture]) -> Iterator[tuple[str, list[Picture]]]:
    """Yield still pictures by the key of their panel, no more of them than W&B shows."""
    groups: dict[str, list[Picture]] = {}
    for picture in pictures:
        if picture.frames is None:
            groups.setdefault(safe_tag(picture.group or picture.tag), []).append(picture)
    for key, some in groups.items():
        for start in range(0, len(some), _MOST):
            name = key if start == 0 else f"{key}-{start // _MOST + 1}"
            yield name, some[start : start + _MOST]


def _size(pictures: Sequence[Picture]) -> tuple[int, int]:
    """Return the height and width that all fit into: W&B shows lists of several sizes wrongly."""
    shapes = [picture.pixels.shape for picture in pictures]
    return max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)


def _image(picture: Picture, folder: Path, size: tuple[int, int]) -> Any:
    import wandb

    file = folder / f"{len(list(folder.iterdir()))}.jpg"
    fits = picture.pixels.shape[:2] == size
    file.write_bytes(picture.jpeg if fits else jpeg(_padded(picture.pixels, size, "edge")))
    masks = None
    if picture.mask is not None:
        inside = _padded(picture.mask.astype(np.uint8), size, "constant")
        masks = {_MASK: {"mask_data": inside, "class_labels": _CLASSES}}
    return wandb.Image(str(file), caption=_caption(picture), masks=masks)


def _video(picture: Picture) -> Any:
    import wandb

    # As GIF: of an array W&B makes a film by moviepy and ffmpeg, which nobody has.
    data = io.BytesIO(picture.gif)
    return wandb.Video(data, format="gif", caption=_caption(picture))


def _caption(picture: Picture) -> str:
    """Return the epoch, which image, and what else stands on the picture."""
    epoch = f"epoch {picture.epoch}"
    which = picture.tag.removeprefix(picture.group).strip("/") if picture.group else ""
    words = [word for word in picture.caption.split(" · ") if word and word != epoch]
    return " · ".join([epoch, *([which] if which else []), *words])


def _padded(array: NDArray[np.uint8], size: tuple[int, int], mode: Any) -> NDArray[np.uint8]:
    """Return (h, w, ...) filled up at the bottom and on the right."""
    missing = [(0, size[0] - array.shape[0]), (0, size[1] - array.shape[1])]
    return np.pad(array, [*missing, *[(0, 0)] * (array.ndim - 2)], mode=mode)
