"""Blend a map's colours over its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_cam.render.colormaps import table

if TYPE_CHECKING:
    from collections.abc import Sequence

_OUTLINE = 110  # of so many pixels one is the outline's width
_SMALLEST, _LARGEST = 224, 768  # sides of a picture that can be read and still be kept by hundreds


def displayable(
    images: Tensor, mean: Sequence[float] | None, std: Sequence[float] | None
) -> Tensor:
    """Return images as RGB in 0 to 1, (B, 3, H, W) float32.

    Args:
        images: (B, C, H, W) as the model is fed. One channel becomes grey; of more than three the
            first three are shown.
        mean: what was subtracted per channel; None when unknown.
        std: what was divided by per channel; None when unknown. Then images that are not within
            0 to 1 are rescaled from the range of all of them.
    """
    shown = images.float()
    if mean is not None and std is not None:
        shown = shown * _per_channel(std, shown) + _per_channel(mean, shown)
    elif float(shown.min()) < 0 or float(shown.max()) > 1:
        low, high = shown.min(), shown.max()
        shown = (shown - low) / (high - low).clamp(min=torch.finfo(shown.dtype).tiny)
    if shown.shape[1] < 3:  # noqa: PLR2004
        shown = shown[:, :1].expand(-1, 3, -1, -1)
    return shown[:, :3].clamp(0, 1)


def _per_channel(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, -1, 1, 1)


def picture_size(height: int, width: int) -> tuple[int, int]:
    """Return the size at which images of (height, width) are drawn: legible, not wasteful."""
    scale = max(1, -(-_SMALLEST // min(height, width)))
    scale_down = min(1.0, _LARGEST / (max(height, width) * scale))
    return max(1, round(height * scale * scale_down)), max(1, round(width * scale * scale_down))


def overlay(
    images: Tensor,
    maps: Tensor,
    *,
    masks: Tensor | None = None,
    size: tuple[int, int] | None = None,
    colormap: str = "turbo",
    alpha: float = 0.7,
) -> Tensor:
    """Return the maps' colours blended over the images, (B, H, W, 3) uint8 RGB.

    Each map is drawn from 0 to its own maximum, and the more opaque the more heat there is: where
    there is none the image shows as it is. So does a map that is zero or not finite: there is
    nothing to show, and a picture should not invent it.

    Args:
        images: (B, 3, H, W) in 0 to 1, see `displayable`.
        maps: (B, h, w) raw maps.
        masks: (B, H, W) boolean; their outline is drawn in white with a dark edge.
        size: of the pictures; the images' by default.
        colormap: a name from `COLORMAPS`.
        alpha: weight of the colours where the heat is greatest, 0 (image only) to 1; elsewhere it
            falls with the square root of the heat.
    """
    size = size or (images.shape[2], images.shape[3])
    images = resized(images, size)
    heat = F.interpolate(maps[:, None].float(), size=size, mode="bilinear", align_corners=False)
    top = heat.amax(dim=(1, 2, 3), keepdim=True)
    drawn = (top > 0) & top.isfinite()
    heat = (heat / top).nan_to_num(0).clamp(0, 1)
    index = heat.mul(255).round().long()[:, 0]
    colors_BCHW = table(colormap, images.device)[index].permute(0, 3, 1, 2)
    blended = torch.lerp(images, colors_BCHW, alpha * drawn * heat.sqrt())
    if masks is not None:
        sized = F.interpolate(masks[:, None].float(), size=size, mode="nearest")
        width = max(1, min(size) // _OUTLINE)
        edge = _grown(sized, 2 * width) - sized
        line = _grown(sized, width) - sized
        blended = torch.where(line > 0, 1.0, torch.where(edge > 0, 0.0, blended))
    return blended.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return images at `size`, averaged when smaller, interpolated when larger."""
    if images.shape[2:] == size:
        return images
    if size[0] < images.shape[2]:
        return F.interpolate(images, size=size, mode="area")
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)


def _grown(masks: Tensor, width: int) -> Tensor:
    """Return masks (B, 1, H, W) of 0 and 1, wider by `width` pixels on every side."""
    return F.max_pool2d(masks, kernel_size=2 * width + 1, stride=1, padding=width)
