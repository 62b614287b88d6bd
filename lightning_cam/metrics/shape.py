"""What one map looks like by itself: how large, how spread, how far out.

All functions take raw maps (N, h, w), at least 0, and return (N,) float32 tensors. A map that is
flat (all cells equal) or not finite has no shape to measure: its value is NaN, never the result of
a division by an epsilon, and it is counted by `is_flat`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MIN_CELLS = 2


def is_flat(maps: Tensor) -> Tensor:
    """Return (N,) boolean: all cells are equal, or some are not finite."""
    cells = maps.flatten(1)
    return (cells.amax(dim=1) == cells.amin(dim=1)) | ~cells.isfinite().all(dim=1)


def mean_activation(maps: Tensor) -> Tensor:
    """Return the mean of each raw map, in units of the score.

    A normalised picture hides it: the same picture comes from 10,000 times less evidence.
    """
    return maps.float().mean(dim=(1, 2))


def as_distribution(maps: Tensor) -> Tensor:
    """Return the maps divided by their sums, (N, h, w) float32, NaN where flat."""
    maps = maps.float()
    # Dividing by the maximum first keeps sums of tiny and of huge maps finite.
    scaled = maps / maps.amax(dim=(1, 2), keepdim=True)
    shares = scaled / scaled.sum(dim=(1, 2), keepdim=True)
    return shares.masked_fill(is_flat(maps).view(-1, 1, 1), math.nan)


def entropy(maps: Tensor) -> Tensor:
    """Return Shannon entropy over log(number of cells): 0 on one cell, 1 spread evenly."""
    p = as_distribution(maps).flatten(1)
    return -torch.xlogy(p, p).sum(dim=1) / math.log(max(_MIN_CELLS, p.shape[1]))


def border_mass(maps: Tensor, width: float = 0.125) -> Tensor:
    """Return the share of a map in the outer ring, over the ring's share of the area.

    1 is what a uniform map has. `width` is the ring's part of height and width; the ring is at
    least one cell, and a grid that is all ring has no inside to compare with (NaN).
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


def center(maps: Tensor) -> Tensor:
    """Return the centre of mass, (N, 2) as x and y in 0 (left, top) to 1 (right, bottom)."""
    p = as_distribution(maps)
    _, h, w = p.shape
    x = (torch.arange(w, device=p.device) + 0.5) / w
    y = (torch.arange(h, device=p.device) + 0.5) / h
    return torch.stack([(p.sum(dim=1) * x).sum(dim=1), (p.sum(dim=2) * y).sum(dim=1)], dim=1)
