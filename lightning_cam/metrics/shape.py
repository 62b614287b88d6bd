"""Metrics of single maps: magnitude, spread, position.

All functions take raw maps (N, h, w), at least 0, and return (N,) float32. A map that is flat (all
cells equal) or not finite has no shape to measure: its value is NaN, never the result of a division
by an epsilon, and `is_flat` counts it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_cam.metrics.remembered import remember_per_tensor

_MIN_CELLS = 2
MAX_SIDE = 56  # cells of a remembered map


@remember_per_tensor
def is_flat(maps: Tensor) -> Tensor:
    """Return (N,) bool: all cells are equal, or some are not finite."""
    low, high = maps.flatten(1).aminmax(dim=1)  # both NaN where any cell is
    return ~((low < high) & (low > -math.inf) & (high < math.inf))


def mean_activation(maps: Tensor) -> Tensor:
    """Return the mean of each raw map, in units of the score.

    Normalised images hide it: a map that is 10,000 times weaker gives the same image.
    """
    return maps.float().mean(dim=(1, 2))


@remember_per_tensor
def as_distribution(maps: Tensor) -> Tensor:
    """Return the maps divided by their sums, (N, h, w) float32, NaN where flat."""
    maps = maps.float()
    # Division by the maximum first keeps sums of very small and very large maps finite.
    scaled = maps / maps.amax(dim=(1, 2), keepdim=True)
    shares = scaled / scaled.sum(dim=(1, 2), keepdim=True)
    return shares.masked_fill(is_flat(maps).view(-1, 1, 1), math.nan)


def entropy(maps: Tensor) -> Tensor:
    """Return the Shannon entropy over log(number of cells): 0 for one cell, 1 for an even map."""
    p = as_distribution(maps).flatten(1)
    return -torch.xlogy(p, p).sum(dim=1) / math.log(max(_MIN_CELLS, p.shape[1]))


def border_mass(maps: Tensor, width: float = 0.125) -> Tensor:
    """Return the share of a map in the outer ring divided by the ring's share of the area.

    0 and above, 1 for a uniform map. NaN where the grid is too small to have cells inside the ring.

    Args:
        maps: (N, h, w).
        width: of the ring as a share of height and width; at least one cell.
    """
    p = as_distribution(maps)
    _, h, w = p.shape
    dy, dx = max(1, round(h * width)), max(1, round(w * width))
    if h <= 2 * dy or w <= 2 * dx:
        return torch.full((len(p),), math.nan, device=p.device)
    inside = p[:, dy : h - dy, dx : w - dx]
    ring_share = 1 - (h - 2 * dy) * (w - 2 * dx) / (h * w)
    return (1 - inside.sum(dim=(1, 2))) / ring_share


def center_x(maps: Tensor) -> Tensor:
    """Return the horizontal centre of mass, (N,) in 0 (left edge) to 1 (right edge)."""
    return center(maps)[:, 0]


def center_y(maps: Tensor) -> Tensor:
    """Return the vertical centre of mass, (N,) in 0 (top edge) to 1 (bottom edge)."""
    return center(maps)[:, 1]


@remember_per_tensor
def center(maps: Tensor) -> Tensor:
    """Return the centre of mass, (N, 2): x and y in 0 (left, top) to 1 (right, bottom)."""
    p = as_distribution(maps)
    _, h, w = p.shape
    x = (torch.arange(w, device=p.device) + 0.5) / w
    y = (torch.arange(h, device=p.device) + 0.5) / h
    return torch.stack([(p.sum(dim=1) * x).sum(dim=1), (p.sum(dim=2) * y).sum(dim=1)], dim=1)


def reduced_size(height: int, width: int) -> tuple[int, int]:
    """Return the size in which maps of some size are remembered."""
    return min(height, MAX_SIDE), min(width, MAX_SIDE)


def reduced(maps: Tensor) -> Tensor:
    """Return maps (N, h, w) of at most `MAX_SIDE` cells along a side, averaged over areas.

    Methods that give a value for each pixel would put a hundred megabytes into each checkpoint.
    """
    size = reduced_size(maps.shape[1], maps.shape[2])
    if size == tuple(maps.shape[1:]):
        return maps
    return F.adaptive_avg_pool2d(maps[:, None], size)[:, 0]
