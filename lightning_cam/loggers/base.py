"""What a logger must be able to do for us."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

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
    """

    tag: str
    pixels: NDArray[np.uint8]
    caption: str
    epoch: int


class PictureSink(Protocol):
    """Where pictures go: one implementation a logger."""

    def write(self, pictures: Sequence[Picture], step: int) -> None:
        """Log the pictures of one validation under the step of the trainer's own scalars."""
        ...

    def alert(self, tag: str, message: str, step: int) -> None:
        """Log an alert's text."""
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
