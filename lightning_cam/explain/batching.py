"""How many images run at a time."""

from __future__ import annotations

import torch
from torch import Tensor

_MOST = 64
_PIXELS_A_THREAD = 4 * 224 * 224


def images_at_a_time(images: Tensor, wanted: int | None = None) -> int:
    """Return into how large chunks to split a batch (B, C, H, W): as is wanted, if anything is.

    Else on an accelerator 64. A processor gains nothing from many: the smallest parts that common
    networks run at full speed are of four images of 224² a thread. They need a fraction of the
    memory, and where that is new to the process, half of the time (docs/cost.md).

    Raises:
        ValueError: less than one image is wanted.
    """
    if wanted is not None:
        if wanted < 1:
            raise ValueError(f"expected chunk_size of at least 1, came {wanted}")
        return wanted
    if images.device.type != "cpu":
        return _MOST
    pixels = images.shape[2] * images.shape[3]
    return max(1, min(_MOST, torch.get_num_threads() * _PIXELS_A_THREAD // pixels))
