"""Moving pictures as GIF: the one format that every logger's page plays."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FRAME_MS = 500
_LAST_MS = 2000  # the latest validation stays long enough to be looked at


def gif(frames: NDArray[np.uint8]) -> bytes:
    """Return frames (T, H, W, 3) uint8 RGB, T >= 1, as an animation that repeats."""
    if frames.ndim != 4 or not len(frames):  # noqa: PLR2004
        raise ValueError(f"expected frames (T, H, W, 3), came shape {frames.shape}")
    first, *others = (Image.fromarray(frame) for frame in frames)
    file = io.BytesIO()
    first.save(
        file,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=[_FRAME_MS] * len(others) + [_LAST_MS],
        loop=0,
    )
    return file.getvalue()
