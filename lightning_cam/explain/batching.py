"""How many images run at a time, where nobody says."""

from __future__ import annotations

import torch
from torch import Tensor

_MOST = 64
_PIXELS_A_THREAD = 2 * 224 * 224


def images_at_a_time(images: Tensor) -> int:
    """Return into how large chunks to split a batch (B, C, H, W).

    On an accelerator 64. A processor is faster with few: its threads' activations then stay in its
    caches, and for common networks a large batch takes 1.2 to 1.8 times as long as its parts (see
    docs/cost.md). Below some size the calls themselves weigh more than that.
    """
    if images.device.type != "cpu":
        return _MOST
    pixels = images.shape[2] * images.shape[3]
    return max(1, min(_MOST, torch.get_num_threads() * _PIXELS_A_THREAD // pixels))
