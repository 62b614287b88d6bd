"""How many images run in one pass, and what happens when memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

_LARGEST = 64
_PIXELS_PER_THREAD = 4 * 224 * 224
# Older and other allocators raise a plain RuntimeError, as does another process that failed.
_OUT_OF_MEMORY = (
    "MemoryError",
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "ALLOC_FAILED",
)


def default_chunk_size(images: Tensor, chunk_size: int | None = None) -> int:
    """Return how many images of a batch (B, C, H, W) to run in one pass.

    An accelerator runs 64. A CPU gains nothing from large chunks: four images of 224×224 per thread
    run common networks at full speed, in a fraction of the memory, and where that memory is new to
    the process in half of the time (docs/cost.md).

    Args:
        images: the batch.
        chunk_size: returned as it is, where given.

    Raises:
        ValueError: `chunk_size` below 1.
    """
    if chunk_size is not None:
        if chunk_size < 1:
            raise ValueError(f"expected chunk_size of at least 1, got {chunk_size}")
        return chunk_size
    if images.device.type != "cpu":
        return _LARGEST
    pixels = images.shape[2] * images.shape[3]
    return max(1, min(_LARGEST, torch.get_num_threads() * _PIXELS_PER_THREAD // pixels))


@dataclass
class AdaptiveChunkSize:
    """A chunk size that is halved, for good, whenever memory runs out.

    Attributes:
        current: number of images per pass.
        fixed: do not retry within one call, because all processes must make the same number of
            passes; the size is halved for the next evaluation instead.
    """

    current: int
    fixed: bool = False

    def run(self, compute: Callable[[int], T], count: int) -> T:
        """Return `compute(current)`, repeated with smaller chunks until it fits into memory.

        Args:
            compute: takes the chunk size; leaves nothing behind when it raises.
            count: number of images in all.

        Raises:
            Exception: whatever `compute` raises; an out-of-memory error only where a chunk of one
                image does not fit, or where `fixed`.
        """
        while True:
            try:
                return compute(self.current)
            except Exception as error:  # noqa: PERF203 - `compute` takes far longer than the try
                if not is_out_of_memory(error) or self.current == 1:
                    raise
                self.current = max(1, min(self.current, count) // 2)
                if self.fixed:
                    raise
            # The next attempt is outside `except`: the error holds frames, and they hold tensors.


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the memory of the device or of the host ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)
