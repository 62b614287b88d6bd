"""Maps without an image: mean maps of classes, and feature maps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_cam.render.overlay import FALL, RISE, as_pixels, colored

_NEUTRAL = (245, 245, 245)


def heat_pictures(
    maps: Tensor, size: tuple[int, int], *, top: float, colormap: str = "turbo"
) -> Tensor:
    """Return maps as colours on one scale, (B, H, W, 3) uint8 RGB; grey where not finite.

    Args:
        maps: (B, h, w), at least 0.
        size: of the images.
        top: the value of the last colour.
        colormap: a name from `COLORMAPS`.
    """
    heat = F.interpolate(maps[:, None].float(), size=size, mode="bilinear", align_corners=False)
    unknown = ~heat.isfinite()
    scaled = (heat / max(top, torch.finfo(torch.float32).tiny)).nan_to_num(0).clamp(0, 1)
    return as_pixels(torch.where(unknown, 0.5, colored(scaled[:, 0], colormap)))


def feature_pictures(maps: Tensor, size: tuple[int, int], colormap: str = "inferno") -> Tensor:
    """Return channels of feature maps without interpolation, (B, k, H, W, 3) uint8 RGB.

    All images share the scale of a channel, so that they can be compared. A channel without
    negative values is drawn from 0 to its largest value, any other from blue over white (0) to red.

    Args:
        maps: (B, k, h, w).
        size: of the images.
        colormap: of the channels without negative values.
    """
    maps = maps.float().nan_to_num(0, 0, 0)
    span = maps.abs().amax(dim=(0, 2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    signed = (maps < 0).flatten(2).any(dim=2).any(dim=0)
    cells = F.interpolate(maps / span, size=size, mode="nearest").flatten(0, 1)
    ends = torch.where(cells[:, None] > 0, _color(RISE, cells), _color(FALL, cells))
    diverging = torch.lerp(_color(_NEUTRAL, cells), ends, cells[:, None].abs())
    both = torch.where(
        signed.repeat(len(maps)).view(-1, 1, 1, 1), diverging, colored(cells.clamp(0, 1), colormap)
    )
    return as_pixels(both).view(len(maps), -1, *size, 3)


def _color(color: tuple[int, int, int], like: Tensor) -> Tensor:
    return torch.tensor(color, dtype=like.dtype, device=like.device).view(1, 3, 1, 1) / 255
