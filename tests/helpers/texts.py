"""Texts that are hard to draw, and images of noise to draw them on."""

import numpy as np

ODD_TEXTS = [
    "",
    " ",
    "a" * 500,
    "two\nlines\r\nand\ta tab",
    "Käse 日本語 العربية 😀",
    "\x00\x07",
    "%s {} <b>",
    "\ud800 lone",
]


def noise(height=60, width=90, seed=0):
    """Return an image of noise, (height, width, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
