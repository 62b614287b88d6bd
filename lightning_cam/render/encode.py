"""Pixels to image files: by OpenCV, many times faster than Pillow, and animations by Pillow."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

_QUALITY = 80  # event files below 1 MB per evaluation, and no artefacts that one sees
_FRAME_MS = 500
_LAST_FRAME_MS = 2000  # the latest evaluation stays long enough to be looked at


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """Return a (H, W, 3) uint8 RGB image as JPEG, without chroma subsampling."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    if hasattr(cv2, "IMWRITE_JPEG_SAMPLING_FACTOR"):  # subsampling blurs the edges of the heat
        flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return _encoded(".jpg", picture, flags)


def png(picture: NDArray[np.uint8]) -> bytes:
    """Return a (H, W, 3) uint8 RGB image as PNG."""
    return _encoded(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 3])


def gif(frames: NDArray[np.uint8]) -> bytes:
    """Return frames (T, H, W, 3) uint8 RGB, T >= 1, as an animation that repeats.

    GIF, because it is the one format that the pages of all loggers play.
    """
    if frames.ndim != 4 or not len(frames):  # noqa: PLR2004
        raise ValueError(f"expected frames (T, H, W, 3), got shape {frames.shape}")
    first, *others = (Image.fromarray(frame) for frame in frames)
    file = io.BytesIO()
    first.save(
        file,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=[_FRAME_MS] * len(others) + [_LAST_FRAME_MS],
        loop=0,
    )
    return file.getvalue()


def decode(data: bytes) -> NDArray[np.uint8]:
    """Return an encoded image as (H, W, 3) uint8 RGB."""
    bgr = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("expected an encoded image, got other bytes")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _encoded(suffix: str, picture: NDArray[np.uint8], flags: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)
    if not done:
        raise ValueError(f"could not encode an image of shape {picture.shape} as {suffix}")
    return data.tobytes()
