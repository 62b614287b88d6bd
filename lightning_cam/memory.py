"""How many images run at a time: fewer for good, once memory ran out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

T = TypeVar("T")

# Older and other allocators raise plain RuntimeErrors.
_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")


@dataclass
class ChunkSize:
    """The number of images of a pass.

    Attributes:
        now: the number.
        fixed: whether it must not change within a look, because all processes have to make equally
            many passes; it is then halved after the look that failed.
    """

    now: int
    fixed: bool = False

    def fitting(self, compute: Callable[[int], T], count: int) -> T:
        """Return what `compute` does with chunks that fit into memory.

        Args:
            compute: of the number of images of a chunk; leaves nothing behind when it fails.
            count: images in all.

        Raises:
            Exception: that of `compute`; that memory ran out, when a chunk of one image did.
        """
        while True:
            try:
                return compute(self.now)
            except Exception as error:  # noqa: PERF203 - what is in it takes long
                if not out_of_memory(error) or self.now == 1:
                    raise
                self.now = max(1, min(self.now, count) // 2)
                if self.fixed:
                    raise
            # Outside of `except`: the error holds the frames, and they the tensors.


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that the device's or the host's memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _WORDS)
