"""Thumbnails in rows and columns with words around them: the form of most panels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageDraw

from lightning_cam.render.captions import INK, PAPER, font, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Words: TypeAlias = str | Sequence[str]
    Pixels: TypeAlias = NDArray[np.uint8]

_GAP, _TEXT, _STEP = 6, 13, 17
_BESIDE, _CELL, _HEADING = 160, 112, 720  # pixels that words may widen a picture to
_ONE_ROW = 4  # tiles that stand side by side without a second row
_FAINT = (95, 99, 104)


def grid(
    columns: Sequence[Pixels],
    titles: Sequence[Words],
    rows: Sequence[Words],
    heading: str = "",
) -> Pixels:
    """Return one picture (H, W, 3) uint8 RGB of equal thumbnails in rows and columns.

    Args:
        columns: for each column (B, h, w, 3) uint8 RGB thumbnails, all of one size.
        titles: what stands above each column, a line or several.
        rows: what stands left of each row, a line or several.
        heading: what stands above all, empty for nothing.
    """
    count, h, w, _ = columns[0].shape
    above, beside = [_lines(title) for title in titles], [_lines(row) for row in rows]
    cell_w, left = max(w, _widest(above, _CELL)), _widest(beside, _BESIDE)
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
    captions: Sequence[Words],
    heading: str = "",
    across: int | None = None,
) -> Pixels:
    """Return one picture (H, W, 3) uint8 RGB of thumbnails, each with words below it.

    Args:
        thumbnails: (N, h, w, 3) uint8 RGB.
        captions: the words of each, a line or several.
        heading: what stands above all, empty for nothing.
        across: how many stand side by side; by default such that the whole is a little wider than
            high.
    """
    picture: Pixels = film(thumbnails[None], captions, [heading], across)[0]
    return picture


def film(
    frames: Pixels,
    captions: Sequence[Words],
    headings: Sequence[str],
    across: int | None = None,
) -> Pixels:
    """Return frames (T, H, W, 3) uint8 RGB, each like `tiles`.

    Args:
        frames: (T, N, h, w, 3) uint8 RGB thumbnails.
        captions: the words of each thumbnail, the same in all frames.
        headings: what stands above each frame.
        across: how many thumbnails stand side by side.
    """
    _, count, h, w, _ = frames.shape
    below = [_lines(caption) for caption in captions]
    across = min(count, across or _across(count))
    top = _GAP + any(headings) * (_STEP + _GAP)
    cell = max(w, _widest(below, _CELL))
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
    """A white sheet to write on; words first, pictures on top, so that no word covers any."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self._image = Image.new("RGB", (width, height), PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def write(self, x: int, y: int, width: int, lines: Sequence[str]) -> None:
        """Write lines from a place downwards, the first one darker, each cut to `width`."""
        for i, line in enumerate(lines):
            text, ink = shortened(line, width, _TEXT), _FAINT if i else INK
            self._draw.text((x, y + i * _STEP), text, fill=ink, font=font(_TEXT))

    def pixels(self) -> Pixels:
        """Return the sheet as an array that can be written to."""
        return np.array(self._image)


def _lines(words: Words) -> list[str]:
    return [words] if isinstance(words, str) else list(words)


def _widest(words: Sequence[Sequence[str]], most: int) -> int:
    """Return the width that words take, at most `most` pixels; 0 where there are none."""
    lines = [line for lines in words for line in lines if line]
    lengths = [font(_TEXT).getlength(shortened(line, most, _TEXT)) for line in lines]
    return math.ceil(max(lengths, default=0))


def _tallest(words: Sequence[Sequence[str]]) -> int:
    return max(map(len, words), default=0) * _STEP


def _heading_width(headings: Sequence[str]) -> int:
    return _widest([headings], _HEADING) + 2 * _GAP


def _across(count: int) -> int:
    """Return how many of `count` tiles stand side by side: about the root, no row nearly empty."""
    if count <= _ONE_ROW:
        return count
    fewest = max(1, round(math.sqrt(1.5 * count)))
    rows = -(-count // fewest)
    return -(-count // rows)
