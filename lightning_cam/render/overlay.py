"""Maps blended over their images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_cam.render.colormaps import table

if TYPE_CHECKING:
    from collections.abc import Sequence

_OUTLINE = 110  # the outline is as wide as the image's shorter side divided by this
RISE, FALL = (200, 30, 40), (10, 90, 200)  # red and blue, which colour-blind readers distinguish
_MIN_SIDE, _MAX_SIDE = 224, 768  # of overlays: legible, and small enough to keep hundreds


def displayable(
    images: Tensor, mean: Sequence[float] | None, std: Sequence[float] | None
) -> Tensor:
    """Return images as RGB in 0 to 1, (B, 3, H, W) float32.

    Args:
        images: (B, C, H, W) as the model is fed. One channel is shown in grey; of more than three
            the first three are shown.
        mean: what was subtracted per channel; None where unknown.
        std: what was divided by per channel; None where unknown. Then images that are not within
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
    """Return the size at which images of (height, width) are drawn."""
    scale = max(1, -(-_MIN_SIDE // min(height, width)))
    scale_down = min(1.0, _MAX_SIDE / (max(height, width) * scale))
    return max(1, round(height * scale * scale_down)), max(1, round(width * scale * scale_down))


def overlay(
    images: Tensor,
    maps: Tensor,
    *,
    masks: Tensor | None = None,
    size: tuple[int, int] | None = None,
    colormap: str = "turbo",
    alpha: float = 0.7,
    peaks: Tensor | None = None,
) -> Tensor:
    """Return the maps' colours blended over the images, (B, H, W, 3) uint8 RGB.

    Each map is drawn from 0 to its own maximum, or to a given peak, more opaque where it is higher;
    where it is 0 the image is unchanged. For a map that is flat (all cells equal) or not finite the
    image is unchanged too, since there is nothing to show.

    Args:
        images: (B, 3, H, W) in 0 to 1, see `displayable`.
        maps: (B, h, w) raw maps.
        masks: (B, H, W) bool; their outline is drawn in white with a dark edge.
        size: of the result; the images' by default.
        colormap: a name from `COLORMAPS`.
        alpha: weight of the colours at the map's maximum, 0 (image only) to 1; elsewhere it is
            proportional to the square root of the map.
        peaks: (B,) what each map is divided by; its own maximum by default.
    """
    size = size or (images.shape[2], images.shape[3])
    heat = heat_of(maps, size, peaks)
    # A weight for each value: to broadcast it along the innermost axis, the colours, is slow.
    weights = (alpha * heat.sqrt())[..., None].expand(-1, -1, -1, 3).contiguous()
    colors = colored(heat, colormap)
    images = as_pixels(torch.lerp(resized(images, size), colors, weights.permute(0, 3, 1, 2)))
    return images if masks is None else _outlined(images, masks)


def difference(
    images: Tensor,
    before: Tensor,
    now: Tensor,
    *,
    size: tuple[int, int] | None = None,
    alpha: float = 0.9,
    peaks: Tensor | None = None,
) -> Tensor:
    """Return where maps rose (red) and fell (blue) over pale grey images, (B, H, W, 3) uint8.

    Both maps are scaled as in `overlay`. Colours are proportional to the change: none shows the
    grey image, a full change (from 0 to the maximum) is as opaque as `alpha`.

    Args:
        images: (B, 3, H, W) in 0 to 1.
        before: (B, h, w) raw maps.
        now: (B, h, w) raw maps.
        size: of the result; the images' by default.
        alpha: weight of the colours at a full change.
        peaks: (B,) as in `overlay`.
    """
    size = size or (images.shape[2], images.shape[3])
    change = (heat_of(now, size, peaks) - heat_of(before, size, peaks))[:, None]
    grey = resized(images, size).mean(dim=1, keepdim=True).mul(0.5).add(0.5).expand(-1, 3, -1, -1)
    ends = torch.where(change > 0, _triple(RISE, grey), _triple(FALL, grey))
    return as_pixels(torch.lerp(grey, ends, alpha * change.abs()))


def heat_of(maps: Tensor, size: tuple[int, int], peaks: Tensor | None = None) -> Tensor:
    """Return maps enlarged and scaled to 0 to 1, (B, H, W); 0 for flat maps.

    Args:
        maps: (B, h, w) raw maps.
        size: height and width of the result.
        peaks: (B,) what each map is divided by; its maximum by default.
    """
    heat = F.interpolate(maps[:, None].float(), size=size, mode="bilinear", align_corners=False)
    top = heat.amax(dim=(2, 3), keepdim=True)
    flat = (maps.amax(dim=(1, 2)) == maps.amin(dim=(1, 2))).view(-1, 1, 1, 1)
    drawn = (top > 0) & top.isfinite() & ~flat
    scale = top if peaks is None else peaks.to(heat).view(-1, 1, 1, 1)
    return ((heat / scale).nan_to_num(0).clamp(0, 1) * drawn)[:, 0]


def colored(heat: Tensor, colormap: str) -> Tensor:
    """Return the colours of values in 0 to 1, (B, H, W) to (B, 3, H, W)."""
    levels = heat.mul(255).round().int()
    return F.embedding(levels, table(colormap, heat.device)).permute(0, 3, 1, 2)


def as_pixels(colors: Tensor) -> Tensor:
    """Return colours in 0 to 1, (B, 3, H, W), as images (B, H, W, 3) uint8."""
    return colors.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def plain(images: Tensor, size: tuple[int, int], masks: Tensor | None = None) -> Tensor:
    """Return images (B, 3, H, W) in 0 to 1 as (B, H, W, 3) uint8, with the outlines of masks."""
    pixels = as_pixels(resized(images, size))
    return pixels if masks is None else _outlined(pixels, masks)


def sized_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Return masks (B, H, W) bool at another size."""
    return F.interpolate(masks[:, None].float(), size=size, mode="nearest")[:, 0] > 0


def _triple(color: tuple[int, int, int], like: Tensor) -> Tensor:
    return torch.tensor(color, dtype=like.dtype, device=like.device).view(1, 3, 1, 1) / 255


def _outlined(images: Tensor, masks: Tensor) -> Tensor:
    """Return images (B, H, W, 3) with a white line just outside the masks and a dark edge."""
    size = (images.shape[1], images.shape[2])
    sized = sized_masks(masks, size)
    width = max(1, min(size) // _OUTLINE)
    wide = _grown(sized, width)
    line, edge = wide & ~sized, _grown(wide, width) & ~wide
    return images & _bits(~edge) | _bits(line)


def _bits(masks: Tensor) -> Tensor:
    """Return masks (B, H, W) bool as (B, H, W, 3) uint8, all bits set where they are true."""
    return masks.to(torch.uint8).neg()[..., None].expand(-1, -1, -1, 3).contiguous()


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return images at `size`, averaged where smaller, interpolated where larger."""
    if images.shape[2:] == size:
        return images
    if size[0] < images.shape[2]:
        return F.interpolate(images, size=size, mode="area")
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)


def _grown(masks: Tensor, width: int) -> Tensor:
    """Return bool masks (B, H, W), wider by `width` pixels on every side."""
    for dim in (1, 2):
        grown, length = masks.clone(), masks.shape[dim]
        for shift in range(1, min(width, length - 1) + 1):
            here, there = (grown.narrow(dim, at, length - shift) for at in (0, shift))
            here |= masks.narrow(dim, shift, length - shift)
            there |= masks.narrow(dim, 0, length - shift)
        masks = grown
    return masks
