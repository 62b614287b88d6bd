"""Metrics that compare raw maps with masks of the object.

Maps are (N, h, w), at least 0; masks (N, H, W) bool in the images' resolution. The mask is reduced
to the map's grid instead of enlarging the map, since interpolation invents detail. All functions
return (N,) float32, NaN for a flat map, and for a mask that is empty, or full where a full mask
leaves nothing to compare.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_cam.metrics.remembered import remember_per_tensor
from lightning_cam.metrics.shape import as_distribution, is_flat


@remember_per_tensor
def coverage(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the share of each grid cell that the mask covers, (N, h, w) in 0 to 1."""
    return F.adaptive_avg_pool2d(masks[:, None].float(), grid)[:, 0]


def relevance_mass(maps: Tensor, masks: Tensor) -> Tensor:
    """Return Σ(a·m) / Σa, the share of the map a that is on the mask m. Arras et al. 2022.

    0 to 1. Depends mostly on the object's area and on the centre bias: read `enrichment` with it.
    """
    cover = coverage(masks, (maps.shape[1], maps.shape[2]))
    mass = (as_distribution(maps) * cover).sum(dim=(1, 2))
    return mass.masked_fill(_empty(masks), math.nan)


def enrichment(maps: Tensor, masks: Tensor) -> Tensor:
    """Return the relevance mass divided by the mask's share of the area: 1 for a uniform map.

    0 and above. NaN for a full mask, which gives 1 whatever the map.
    """
    grid = (maps.shape[1], maps.shape[2])
    share = coverage(masks, grid).mean(dim=(1, 2))
    ratio = relevance_mass(maps, masks) / share
    return ratio.masked_fill(_full(masks), math.nan)


def pointing_game(maps: Tensor, masks: Tensor) -> Tensor:
    """Return 1 where the map's highest cell is on the object, else 0. Zhang et al. 2018.

    A cell is on the object where the pixel at its centre is. A constant map counts as 0; a map that
    is not finite is NaN.
    """
    _, h, w = maps.shape
    highest = maps.flatten(1).argmax(dim=1)
    y = ((highest // w) * 2 + 1) * masks.shape[1] // (2 * h)
    x = ((highest % w) * 2 + 1) * masks.shape[2] // (2 * w)
    hit = masks[torch.arange(len(maps), device=maps.device), y, x] & ~is_flat(maps)
    finite = maps.flatten(1).abs().amax(dim=1) < math.inf  # False for NaN
    return hit.float().masked_fill(~finite | _empty(masks), math.nan)


def relevance_rank(maps: Tensor, masks: Tensor) -> Tensor:
    """Return |top K cells ∩ mask| / K, where K is the mask's area in cells. Arras et al. 2022.

    0 to 1. Cells count by the share of them that the mask covers; K is rounded, and at least 1. Of
    cells that are equally high at rank K each counts by the probability that it is among the top K,
    since maps after a ReLU may have more zeros than the object has cells left.
    """
    grid = (maps.shape[1], maps.shape[2])
    cover = coverage(masks, grid).flatten(1)
    wanted = cover.sum(dim=1).round().clamp(min=1)
    cells = maps.flatten(1)
    ordered = cells.sort(dim=1, descending=True).values
    last = ordered.gather(1, wanted.long()[:, None] - 1)
    above, level = cells > last, cells == last
    left = wanted[:, None] - above.sum(dim=1, keepdim=True)
    taken = above + level * left / level.sum(dim=1, keepdim=True)
    inside = (cover * taken).sum(dim=1) / wanted
    return inside.masked_fill(is_flat(maps) | _empty(masks), math.nan)


def iou(maps: Tensor, masks: Tensor, threshold: float = 0.5) -> Tensor:
    """Return the intersection over union of the mask and the cells above a threshold, 0 to 1.

    Cells that the mask covers in part count in part. After Zhou et al. 2016, section 3.2, without
    their bounding boxes.

    Args:
        maps: (N, h, w).
        masks: (N, H, W) bool.
        threshold: share of each map's maximum.
    """
    grid = (maps.shape[1], maps.shape[2])
    cover = coverage(masks, grid)
    hot = (maps > threshold * maps.amax(dim=(1, 2), keepdim=True)).float()
    both = torch.minimum(hot, cover).sum(dim=(1, 2))
    either = torch.maximum(hot, cover).sum(dim=(1, 2))
    return (both / either).masked_fill(is_flat(maps) | _empty(masks), math.nan)


@remember_per_tensor
def _empty(masks: Tensor) -> Tensor:
    return ~masks.flatten(1).any(dim=1)


@remember_per_tensor
def _full(masks: Tensor) -> Tensor:
    return masks.flatten(1).all(dim=1)
