"""Weights & Biases: captions, masks to switch on and off, alerts, a summary to sort runs by."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_cam.output.loggers.base import prefixed
from lightning_cam.render.encode import jpeg
from lightning_cam.runtime.files import safe_tag

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_cam.output.picture import Picture

_MAX_IMAGES = 108  # that W&B keeps of a list
_MAX_TITLE = 63  # characters of an alert's title
_MASK = "object"
_CLASSES = {0: "background", 1: _MASK}


class WandbSink:
    """Logs into the run of a `WandbLogger`, through the logger, which knows prefix and step.

    W&B's own step increases with every call, so no step is passed to it: all images of an
    evaluation are logged in one call, and the captions start with the epoch.
    """

    formats = ("jpeg",)

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def prepare(self, tag: str, scalar_names: Sequence[str]) -> None:
        """Set the count of alerts to 0, so that runs without alerts have it too."""
        del scalar_names
        summary = self._logger.experiment.summary
        count = prefixed(self._logger, f"{tag}/alerts/count")
        if summary.get(count) is None:
            summary[count] = 0

    def write(self, pictures: Sequence[Picture], step: int) -> None:
        """Log the images of one evaluation."""
        if not pictures:
            return
        with tempfile.TemporaryDirectory() as folder:  # W&B copies the files while it logs them
            media: dict[str, Any] = {}
            for key, some in _by_key(pictures):
                media[key] = [_image(each, Path(folder), _size(some)) for each in some]
            for picture in pictures:
                if picture.frames is not None:
                    media[safe_tag(picture.tag)] = _video(picture)
            self._logger.log_metrics(media, step)

    def alert(self, tag: str, message: str, step: int) -> None:
        """Send an alert, and log its text in the run."""
        run = self._logger.experiment
        before = run.summary.get(prefixed(self._logger, f"{tag}/count")) or 0
        self._logger.log_metrics({f"{tag}/count": before + 1, f"{tag}/last": message}, step)
        line = " ".join(message.split())
        title = line if len(line) <= _MAX_TITLE else f"{line[: _MAX_TITLE - 1]}…"
        run.alert(title=title, text=message, level="WARN")

    def attach_report(self, tag: str, path: Path, step: int) -> None:
        """Log the report as a page that the run shows, under `<tag>/report`."""
        import wandb

        # Not injected: W&B's style sheet is on the net, and the report has its own.
        page = wandb.Html(path.read_text(encoding="utf-8"), inject=False)
        self._logger.log_metrics({f"{tag}/report": page}, step)


def _by_key(pictures: Sequence[Picture]) -> Iterator[tuple[str, list[Picture]]]:
    """Yield images by the key of their panel, no more of them than W&B shows."""
    groups: dict[str, list[Picture]] = {}
    for picture in pictures:
        if picture.frames is None:
            groups.setdefault(safe_tag(picture.group or picture.tag), []).append(picture)
    for key, some in groups.items():
        for start in range(0, len(some), _MAX_IMAGES):
            name = key if start == 0 else f"{key}-{start // _MAX_IMAGES + 1}"
            yield name, some[start : start + _MAX_IMAGES]


def _size(pictures: Sequence[Picture]) -> tuple[int, int]:
    """Return the height and width that all fit into: W&B distorts lists of several sizes."""
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

    # As GIF: from an array W&B would make a video with moviepy and ffmpeg, which few have.
    data = io.BytesIO(picture.gif)
    return wandb.Video(data, format="gif", caption=_caption(picture))


def _caption(picture: Picture) -> str:
    """Return the epoch, the image's name, and the rest of its caption."""
    epoch = f"epoch {picture.epoch}"
    which = picture.tag.removeprefix(picture.group).strip("/") if picture.group else ""
    words = [word for word in picture.caption.split(" · ") if word and word != epoch]
    return " · ".join([epoch, *([which] if which else []), *words])


def _padded(array: NDArray[np.uint8], size: tuple[int, int], mode: Any) -> NDArray[np.uint8]:
    """Return (h, w, ...) padded at the bottom and on the right."""
    missing = [(0, size[0] - array.shape[0]), (0, size[1] - array.shape[1])]
    return np.pad(array, [*missing, *[(0, 0)] * (array.ndim - 2)], mode=mode)
