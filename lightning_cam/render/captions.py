"""Text on images, for loggers that have no field for captions."""

from __future__ import annotations

import bisect
import functools
import re
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TEXT_COLOR, BACKGROUND = (32, 33, 36), (255, 255, 255)
_MARGIN = 6
_SAMPLE = 16  # size at which glyphs are compared
_PLAIN = str.maketrans(
    dict(zip("–—−×‘’“”øØłŁđĐ", "---x''\"\"oOlLdD", strict=True))
    | {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE"}
)
_UNKNOWN = "\uffff"  # no font has it, so it is drawn as the box for missing glyphs


@functools.lru_cache(maxsize=8)
def font(size: int) -> Any:
    """Return Pillow's own font, which needs no font file."""
    return ImageFont.load_default(size)


@functools.lru_cache(maxsize=4096)
def drawable(text: str) -> str:
    """Return `text` in characters that Pillow's own font has.

    Accents are removed, since a letter without its accent is more legible than a box. Runs of
    characters that the font does not have, such as Chinese, become one `?`.
    """
    decomposed = unicodedata.normalize("NFKD", text).translate(_PLAIN)
    bare = (letter for letter in decomposed if not unicodedata.combining(letter))
    known = "".join(letter if _has_glyph(letter) else _UNKNOWN for letter in bare)
    return re.sub(f"{_UNKNOWN}+", "?", known)


def legible(text: str) -> bool:
    """Return whether any letter or digit of `text` can be drawn."""
    return any(letter.isalnum() for letter in drawable(text))


@functools.lru_cache(maxsize=4096)
def _has_glyph(letter: str) -> bool:
    if letter.isascii():
        return True
    try:
        return bytes(font(_SAMPLE).getmask(letter)) != bytes(font(_SAMPLE).getmask(_UNKNOWN))
    except UnicodeError:  # half of a surrogate pair
        return False


@functools.lru_cache(maxsize=4096)  # the same names stand below the images of every evaluation
def shortened(text: str, width: float, size: int) -> str:
    """Return `text`, shortened with an ellipsis where it is wider than `width` pixels."""
    text = " ".join(
        text[: 4 * max(1, round(width))].split()
    )  # every character is wider than a quarter of a pixel
    text = drawable(text)
    if font(size).getlength(text) <= width:
        return text
    fits = bisect.bisect(
        range(len(text)), width, key=lambda count: font(size).getlength(f"{text[:count]}…")
    )
    return f"{text[: max(0, fits - 1)]}…"


def with_caption(picture: NDArray[np.uint8], lines: Sequence[str]) -> NDArray[np.uint8]:
    """Return an image with lines of text on a white strip below it.

    Args:
        picture: (H, W, 3) uint8 RGB.
        lines: each is shortened to the image's width.
    """
    width = picture.shape[1]
    size = max(12, min(24, width // 13))
    step = round(size * 1.35)
    strip = Image.new("RGB", (width, step * len(lines) + _MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(strip)
    for i, line in enumerate(lines):
        text = shortened(line, width - 2 * _MARGIN, size)
        draw.text((_MARGIN, _MARGIN // 2 + i * step), text, fill=TEXT_COLOR, font=font(size))
    return np.concatenate([picture, np.asarray(strip)])
