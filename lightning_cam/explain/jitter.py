"""Images altered so little that an explanation should not change."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_SHIFT = 1 / 32  # of a side
_GAIN = 0.05


def flipped(images: Tensor) -> Tensor:
    """Return images (B, C, H, W) or maps (N, h, w) mirrored left to right."""
    return images.flip(-1)


def jittered(images: Tensor, seed: int) -> Tensor:
    """Return images (B, C, H, W) moved by up to a 32nd of a side and 5 % darker or brighter.

    By a pixel at least. One draw for all of them, from a private stream; edges are repeated.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = images.shape[2:]
    reach = [max(1, int(side * _SHIFT)) for side in (height, width)]
    dy, dx = (
        int(torch.randint(-most, most + 1, (1,), generator=generator)) or most for most in reach
    )
    gain = 1 + _GAIN * (2 * float(torch.rand(1, generator=generator)) - 1)
    padded = F.pad(images, (reach[1], reach[1], reach[0], reach[0]), mode="replicate")
    top, left = reach[0] + dy, reach[1] + dx
    return padded[:, :, top : top + height, left : left + width] * gain
