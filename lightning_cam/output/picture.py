"""`Picture`: a finished image on its way to the loggers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Picture:
    """A finished image on its way to the loggers.

    Attributes:
        tag: such as `cam/overlay/00012`; safe as a path.
        pixels: (H, W, 3) uint8 RGB.
        caption: the text that is also drawn on it.
        epoch: the trainer's epoch.
        mask: (H, W) bool, the object in this image, for loggers that can switch it on and off.
        frames: (T, H, W, 3) uint8 RGB of an animation; `pixels` is then its last frame.
        group: the start of `tag` that this image shares with others of its kind, such as
            `cam/overlay`, for loggers that show a list of images in one panel; empty for a single
            one.
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
        from lightning_cam.render.encode import gif

        assert self.frames is not None
        return gif(self.frames)

    def encode(self, formats: Collection[str]) -> None:
        """Encode now what loggers will ask for: `jpeg` or `png`; an animation always as GIF."""
        for name in {"gif"} if self.frames is not None else formats:
            getattr(self, name)
