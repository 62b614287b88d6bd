"""Thumbnails in rows and columns with text around them, as most panels have them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageDraw

from lightning_cam.render.captions import BACKGROUND, TEXT_COLOR, font, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Text: TypeAlias = str | Sequence[str]
    Pixels: TypeAlias = NDArray[np.uint8]

_GAP, _TEXT, _STEP = 6, 13, 17
_MAX_ROW, _MAX_CELL, _MAX_HEADING = 160, 112, 720  # widths of text in pixels
_MAX_SINGLE_ROW = 4  # tiles that are placed in a single row
_SECONDARY_COLOR = (95, 99, 104)


def grid(
    columns: Sequence[Pixels],
    titles: Sequence[Text],
    rows: Sequence[Text],
    heading: str = "",
) -> Pixels:
    """Return one image (H, W, 3) uint8 RGB of equal thumbnails in rows and columns.

    Args:
        columns: for each column (B, h, w, 3) uint8 RGB thumbnails, all of one size.
        titles: text above each column, one line or several.
        rows: text to the left of each row, one line or several.
        heading: text above all, empty for none.
    """
    count, h, w, _ = columns[0].shape
    above, beside = [_lines(title) for title in titles], [_lines(row) for row in rows]
    cell_w, left = max(w, _widest(above, _MAX_CELL)), _widest(beside, _MAX_ROW)
    cell_h = max(h, _tallest(beside))
    left += 2 * _GAP if left else _GAP
    head = _GAP + bool(heading) * (_STEP + _GAP)
    top = head + _tallest(above) + 2
    step_x, step_y = cell_w + _GAP, cell_h + _GAP
    width = max(left + len(columns) * step_x, _heading_width([heading]))
    sheet = _Sheet(width, top + count * step_y)
    sheet.write(_GAP, _GAP, width - 2 * _GAP, [heading] if heading else [])
    for j, lines in enumerate(above):
        sheet.write(left + j * step_x, head, cell_w, lines)
    for i, lines in enumerate(beside):
        y = top + i * step_y + (cell_h - len(lines) * _STEP) // 2
        sheet.write(_GAP, y, left - 2 * _GAP, lines)
    pixels = sheet.pixels()
    for j, column in enumerate(columns):
        for i, thumbnail in enumerate(column):
            x, y = left + j * step_x, top + i * step_y + (cell_h - h) // 2
            pixels[y : y + h, x : x + w] = thumbnail
    return pixels


def tiles(
    thumbnails: Pixels,
    captions: Sequence[Text],
    heading: str = "",
    across: int | None = None,
) -> Pixels:
    """Return one image (H, W, 3) uint8 RGB of thumbnails, each with text below it.

    Args:
        thumbnails: (N, h, w, 3) uint8 RGB.
        captions: text below each, one line or several.
        heading: text above all, empty for none.
        across: how many are side by side; by default such that the image is a little wider than
            high.
    """
    picture: Pixels = film(thumbnails[None], captions, [heading], across)[0]
    return picture


def film(
    frames: Pixels,
    captions: Sequence[Text],
    headings: Sequence[str],
    across: int | None = None,
) -> Pixels:
    """Return frames (T, H, W, 3) uint8 RGB, each like `tiles`.

    Args:
        frames: (T, N, h, w, 3) uint8 RGB thumbnails.
        captions: text below each thumbnail, the same in all frames.
        headings: text above each frame.
        across: how many thumbnails are side by side.
    """
    _, count, h, w, _ = frames.shape
    below = [_lines(caption) for caption in captions]
    across = min(count, across or _across(count))
    top = _GAP + any(headings) * (_STEP + _GAP)
    cell = max(w, _widest(below, _MAX_CELL))
    step_x, step_y = cell + _GAP, h + _tallest(below) + 2 * _GAP
    width = max(_GAP + across * step_x, _heading_width(headings))
    height = top + -(-count // across) * step_y
    places = [(_GAP + n % across * step_x, top + n // across * step_y) for n in range(count)]
    made = []
    words = _Sheet(width, height)
    for (x, y), lines in zip(places, below, strict=True):
        words.write(x, y + h + 2, cell, lines)
    ground = words.pixels()
    for thumbnails, heading in zip(frames, headings, strict=True):
        pixels = ground.copy()
        if heading:
            strip = _Sheet(width, top)
            strip.write(_GAP, _GAP, width - 2 * _GAP, [heading])
            pixels[:top] = strip.pixels()
        for (x, y), thumbnail in zip(places, thumbnails, strict=True):
            pixels[y : y + h, x : x + w] = thumbnail
        made.append(pixels)
    return np.stack(made)


class _Sheet:
    """A white image to write text on; thumbnails are placed on top, so that no text covers them."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self._image = Image.new("RGB", (width, height), BACKGROUND)
        self._draw = ImageDraw.Draw(self._image)

    def write(self, x: int, y: int, width: int, lines: Sequence[str]) -> None:
        """Write lines from a position downwards, the first darker, each shortened to `width`."""
        for i, line in enumerate(lines):
            text, color = shortened(line, width, _TEXT), _SECONDARY_COLOR if i else TEXT_COLOR
            self._draw.text((x, y + i * _STEP), text, fill=color, font=font(_TEXT))

    def pixels(self) -> Pixels:
        """Return the image as a writable array."""
        return np.array(self._image)


def _lines(text: Text) -> list[str]:
    return [text] if isinstance(text, str) else list(text)


def _widest(words: Sequence[Sequence[str]], most: int) -> int:
    """Return the width of the text, at most `most` pixels; 0 where there is none."""
    lines = [line for lines in words for line in lines if line]
    lengths = [font(_TEXT).getlength(shortened(line, most, _TEXT)) for line in lines]
    return math.ceil(max(lengths, default=0))


def _tallest(words: Sequence[Sequence[str]]) -> int:
    return max(map(len, words), default=0) * _STEP


def _heading_width(headings: Sequence[str]) -> int:
    return _widest([headings], _MAX_HEADING) + 2 * _GAP


def _across(count: int) -> int:
    """Return how many of `count` tiles are side by side: about the root, no row nearly empty."""
    if count <= _MAX_SINGLE_ROW:
        return count
    fewest = max(1, round(math.sqrt(1.5 * count)))
    rows = -(-count // fewest)
    return -(-count // rows)
