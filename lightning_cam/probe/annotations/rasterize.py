"""From outlines and run lengths to masks. A pixel belongs to an outline if its centre does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_PIXELS = 1 << 28  # of a mask; more is no image that a network was fed
_MOST_GROUPS = 6  # of five bits, in a number of a compressed COCO mask


def fill_polygon(points: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """Return the pixels whose centre is inside a closed polygon, by the even-odd rule.

    Args:
        points: (n, 2) corners `x, y` in pixels; (0, 0) is the image's upper left corner, so that
            the first pixel's centre is (0.5, 0.5).
        height: of the mask in pixels.
        width: of the mask in pixels.

    Returns:
        (height, width) bool.
    """
    # Where the outline crosses a row's middle, everything to the right changes sides.
    changes = np.zeros((height, width + 1), dtype=np.uint8)
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        low, high = min(y1, y2), max(y1, y2)
        first, last = (min(height, max(0, math.ceil(y - 0.5))) for y in (low, high))
        rows = np.arange(first, last)
        if len(rows):
            x = x1 + (rows + 0.5 - y1) * (x2 - x1) / (y2 - y1)
            columns = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
            changes[rows, columns] ^= 1
    inside: NDArray[np.bool_] = np.bitwise_xor.accumulate(changes, axis=1)[:, :width] > 0
    return inside


# --- run lengths ----------------------------------------------------------------------------------


def encode_runs(mask: NDArray[np.bool_]) -> list[int]:
    """Return run lengths as COCO counts them: column by column, background first.

    Args:
        mask: (height, width) bool.
    """
    flat = mask.T.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.concatenate([[0], ends, [len(flat)]])).tolist()
    return [0, *lengths] if len(flat) and flat[0] else lengths


def expand_runs(
    counts: Sequence[int] | NDArray[np.int64], height: int, width: int, *, by_rows: bool = False
) -> NDArray[np.bool_]:
    """Return the mask of run lengths, (height, width) bool; see `encode_runs`.

    Args:
        counts: that `check_runs` accepted.
        height: in pixels.
        width: in pixels.
        by_rows: row by row instead.
    """
    values = np.arange(len(counts)) % 2 == 1
    flat = np.repeat(values, counts)
    return flat.reshape(height, width) if by_rows else flat.reshape(width, height).T


def check_runs(counts: Any, height: int, width: int) -> NDArray[np.int64]:
    """Return run lengths that fill a mask of a size.

    Raises:
        ValueError: no list of integers of 0 and above, whose sum is the number of pixels.
    """
    check_size(height, width)
    whole = isinstance(counts, list) and all(type(c) is int and c >= 0 for c in counts)
    if not whole or sum(counts) != height * width:
        total = sum(counts) if whole else "something else"
        raise ValueError(
            f"expected run lengths of {height * width} pixels for a mask of {height}×{width}, got "
            f"{total}"
        )
    return np.array(counts, dtype=np.int64)


def check_size(height: Any, width: Any) -> tuple[int, int]:
    """Return a mask's height and width.

    Raises:
        ValueError: no integers of 1 and above, or more pixels than an image has.
    """
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in (height, width))
    if not whole or height * width > MOST_PIXELS:
        raise ValueError(f"expected height and width of an image, got {height!r:.40}×{width!r:.40}")
    return height, width


def decode_counts(text: str) -> list[int]:
    """Return the run lengths in the compressed string of a COCO mask.

    Numbers are written in groups of five bits, the lowest first, as characters from "0" on; 32 is
    added to all but a number's last group, whose bit 16 is the sign. From the fourth number on each
    is the difference to the one before the last.

    Raises:
        ValueError: no such string.
    """
    counts: list[int] = []
    value = groups = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or groups > _MOST_GROUPS:  # noqa: PLR2004
            raise ValueError(f"expected run lengths as COCO compresses them, got {text!r:.40}")
        value |= (code & 31) << (5 * groups)
        groups += 1
        if code & 32:
            continue
        if code & 16:
            value -= 1 << (5 * groups)
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))  # noqa: PLR2004
        value = groups = 0
    if groups:
        raise ValueError("expected run lengths as COCO compresses them, got an incomplete string")
    return counts
