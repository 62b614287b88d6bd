"""What a logger must be able to do for us."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LONGEST = 80


@dataclass(frozen=True)
class Picture:
    """A finished picture on its way to the loggers.

    Attributes:
        tag: such as `cam/overlay/00012`; safe as a path.
        pixels: (H, W, 3) uint8 RGB.
        caption: the same words that stand on it.
        epoch: the trainer's epoch.
        mask: (H, W) boolean, the object in this picture, for loggers that can switch it on and off.
        frames: (T, H, W, 3) uint8 RGB where the picture moves; `pixels` is then its last frame.
        group: the start of `tag` that this picture shares with its like, such as `cam/overlay`, for
            loggers that show a list of pictures in one panel; empty where it stands alone.
    """

    tag: str
    pixels: NDArray[np.uint8]
    caption: str
    epoch: int
    mask: NDArray[np.bool_] | None = None
    frames: NDArray[np.uint8] | None = None
    group: str = ""

    @cached_property
    def jpeg(self) -> bytes:
        """The pixels as a JPEG file, encoded once for all loggers."""
        from lightning_cam.render.encode import jpeg

        return jpeg(self.pixels)

    @cached_property
    def png(self) -> bytes:
        """The pixels as a PNG file."""
        from lightning_cam.render.encode import png

        return png(self.pixels)

    @cached_property
    def gif(self) -> bytes:
        """The frames as a GIF file that repeats."""
        from lightning_cam.loggers.animation import gif

        assert self.frames is not None
        return gif(self.frames)

    def encode(self, forms: Collection[str]) -> None:
        """Encode now what loggers will ask for: `jpeg` or `png`; a moving picture always as GIF."""
        for form in {"gif"} if self.frames is not None else forms:
            getattr(self, form)


class PictureSink(Protocol):
    """Where pictures go: one implementation a logger.

    It is made anew at every validation, on rank zero only, and may raise: that costs one warning.
    `encodings`, if it has any, names the forms of pictures that it will ask for, `jpeg` or `png`;
    they are then made beside the training.

    A third method is optional, `prepare(tag, metric_names)`. It is called before the pictures of
    every validation with the callback's tag and the full names of the scalars logged so far.
    """

    def write(self, pictures: Sequence[Picture], step: int) -> None:
        """Log the pictures of one validation under the step of the trainer's own scalars."""
        ...

    def alert(self, tag: str, message: str, step: int) -> None:
        """Log an alert's text.

        Args:
            tag: such as `cam/alerts`.
            message: one line, with ids as the user gave them.
            step: the step of the trainer's own scalars.
        """
        ...


def safe_name(text: str) -> str:
    """Return `text` as one harmless path component: letters, digits and `._-@`.

    What had to be changed ends in a short hash of the original, so that different names stay
    different.
    """
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._@-]+", "_", ascii_text).lstrip(".")[:_LONGEST]
    if name == text and name:
        return name
    return f"{name}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:6]}".lstrip("-")


def safe_tag(tag: str) -> str:
    """Return `tag` with each part between slashes made safe, for loggers that turn it into a path.

    Example:
        >>> safe_tag("cam/overlay/00012")
        'cam/overlay/00012'
        >>> safe_tag("../a b")
        '5ec1f7/a_b-c8687a'
    """
    return "/".join(safe_name(part) for part in tag.split("/") if part)


def prefixed(logger: Any, tag: str, joint: str = "-") -> str:
    """Return `tag` as the logger writes the names of its scalars: behind the user's prefix."""
    prefix = getattr(logger, "_prefix", "")
    return f"{prefix}{joint}{tag}" if prefix else tag
