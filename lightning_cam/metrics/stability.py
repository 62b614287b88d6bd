"""How far did attention move? The same images' maps at two times.

All functions take two batches of raw maps (N, h, w) of one layer and return (N,) float32 tensors,
NaN where one of the two maps is flat.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_cam.metrics.shape import as_distribution, center, is_flat


def jsd(maps: Tensor, before: Tensor) -> Tensor:
    """Return the Jensen-Shannon divergence, base 2: 0 equal, 1 disjoint. Lin 1991.

    Calibration: facts measured on ImageNet-like maps put 5 % weight noise at 0.02, another image's
    map at 0.17 and a random network's at 0.48.
    """
    p, q = as_distribution(maps).flatten(1), as_distribution(before).flatten(1)
    m = (p + q) / 2
    nats: Tensor = (torch.xlogy(p, p) + torch.xlogy(q, q) - 2 * torch.xlogy(m, m)).sum(dim=1) / 2
    return (nats / math.log(2)).clamp(min=0.0, max=1.0)  # rounding only; NaN passes


def correlation(maps: Tensor, before: Tensor) -> Tensor:
    """Return Pearson's correlation of the cells, -1 to 1; below 1e-6 of difference reads 1."""
    p, q = as_distribution(maps).flatten(1), as_distribution(before).flatten(1)
    p, q = p - p.mean(dim=1, keepdim=True), q - q.mean(dim=1, keepdim=True)
    lengths: Tensor = torch.linalg.vector_norm(p, dim=1) * torch.linalg.vector_norm(q, dim=1)
    cosine: Tensor = (p * q).sum(dim=1) / lengths
    return cosine.clamp(min=-1.0, max=1.0)


def center_shift(maps: Tensor, before: Tensor) -> Tensor:
    """Return how far the centre of mass moved, as a share of the image's diagonal, 0 to 1."""
    shift: Tensor = torch.linalg.vector_norm(center(maps) - center(before), dim=1)
    return shift / 2**0.5


def rank_correlation(maps: Tensor, before: Tensor) -> Tensor:
    """Return Spearman's rank correlation of the cells, -1 to 1; equal cells share their rank."""
    defined = as_distribution(maps).flatten(1).sum(1) + as_distribution(before).flatten(1).sum(1)
    found = correlation(_ranks(maps), _ranks(before))
    return torch.where(defined.isnan(), math.nan, found)


def top_overlap(maps: Tensor, before: Tensor, share: float = 0.2) -> Tensor:
    """Return the intersection over union of the highest `share` of the cells, 0 to 1.

    Quantised: on a 7×7 grid a fifth is ten cells. Cells as high as the last of them count too, the
    lowest never: of two maps that are zero nearly everywhere, zeros would be most of both.
    """
    cells = maps[0].numel()
    count = max(1, round(share * cells))
    hot = []
    for each in (maps, before):
        flat = each.flatten(1)
        least = flat.topk(count, dim=1).values[:, -1:]
        hot.append((flat >= least) & (flat > flat.amin(dim=1, keepdim=True)))
    overlap: Tensor = (hot[0] & hot[1]).sum(dim=1) / (hot[0] | hot[1]).sum(dim=1)
    return overlap.masked_fill(is_flat(maps) | is_flat(before), math.nan)


def _ranks(maps: Tensor) -> Tensor:
    """Return the cells' ranks from 1, the mean rank among equals, in the maps' shape."""
    cells = maps.flatten(1).contiguous()
    ordered = cells.sort(dim=1).values
    first = torch.searchsorted(ordered, cells, right=False)
    last = torch.searchsorted(ordered, cells, right=True)
    return ((first + last + 1) / 2).view(maps.shape)
