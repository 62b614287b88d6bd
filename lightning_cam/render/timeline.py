"""The film strip: a row an image, a column a validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from lightning_cam.render.captions import INK, PAPER, font, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_GAP, _HEAD, _TEXT = 4, 22, 13


def timeline(
    columns: Sequence[NDArray[np.uint8]], titles: Sequence[str], rows: Sequence[str]
) -> NDArray[np.uint8]:
    """Return one picture (H, W, 3) uint8 RGB.

    Args:
        columns: for each validation (B, h, w, 3) uint8 RGB thumbnails, all of one size.
        titles: what stands above each column.
        rows: what stands left of each image.
    """
    count, h, w, _ = columns[0].shape
    left = min(160, 2 * _GAP + max(round(font(_TEXT).getlength(row)) for row in rows))
    strip = Image.new("RGB", (left + len(columns) * (w + _GAP), _HEAD + count * (h + _GAP)), PAPER)
    draw = ImageDraw.Draw(strip)
    for i, row in enumerate(rows):
        y = _HEAD + i * (h + _GAP) + (h - _TEXT) // 2
        draw.text((_GAP, y), shortened(row, left - 2 * _GAP, _TEXT), fill=INK, font=font(_TEXT))
    pixels = np.array(strip)
    for j, (column, title) in enumerate(zip(columns, titles, strict=True)):
        x = left + j * (w + _GAP)
        for i, thumbnail in enumerate(column):
            y = _HEAD + i * (h + _GAP)
            pixels[y : y + h, x : x + w] = thumbnail
        _write_title(pixels[:_HEAD, x : x + w], title)
    return pixels


def _write_title(area: NDArray[np.uint8], title: str) -> None:
    label = Image.new("RGB", (area.shape[1], area.shape[0]), PAPER)
    text = shortened(title, area.shape[1], _TEXT)
    ImageDraw.Draw(label).text((2, 3), text, fill=INK, font=font(_TEXT))
    area[:] = np.asarray(label)
