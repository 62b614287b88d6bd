"""Altered images where no mask tells the object from its background.

The map itself says where to cut, or the middle of the image stands for the object: people point
cameras at what they photograph. What these find is weaker evidence than a mask's, and is called so.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_cam.explain.interventions import (
    Intervention,
    filled,
    mixed,
    partners_of,
    sparing,
)

TOP_SHARE = 0.25  # of the image that counts as where the model is said to look
CENTER_SIDE = 0.7  # of each side: about half of the area


def mask_free_interventions(
    images: Tensor, maps: Tensor, labels: Tensor, seed: int = 0
) -> list[Intervention]:
    """Return the interventions that need no mask: about four times the images in all.

    - `rim_same`, `rim_rand`: the middle pasted into the rim of another image of the same class, of
      another class: BG-Gap (Xiao et al. 2020) with the middle in place of the object.
    - `rim`: the middle filled from around it: what does the rim alone predict?
    - `without_top`, `without_random`: the region where the map is highest filled, and a region of
      the same shape elsewhere, on every second image of a larger probe. Images whose map is flat
      have no such region and are left out.

    Args:
        images: (B, C, H, W).
        maps: (B, h, w) raw maps, one an image.
        labels: (B,) long, the classes whose probability is asked for.
        seed: of partners, places and orders, from a private stream.
    """
    generator = torch.Generator().manual_seed(seed)
    masks = center_masks(images)
    everyone = torch.arange(len(images))
    found = []
    for name, same in (("rim_same", True), ("rim_rand", False)):
        rows, partners = partners_of(labels.cpu(), everyone >= 0, generator, same=same)
        found.append(
            Intervention(name, rows, lambda r=rows, p=partners: mixed(images, masks, r, p))  # type: ignore[misc]
        )
    found.append(Intervention("rim", everyone, lambda: filled(images, masks)))
    some = sparing(_with_relief(maps).cpu().nonzero()[:, 0])
    if not len(some):
        return [each for each in found if len(each.rows)]
    top = top_regions(maps[some], images.shape[2], images.shape[3])
    other = elsewhere(top, generator)
    for name, regions in (("without_top", top), ("without_random", other)):
        found.append(
            Intervention(name, some, lambda m=regions: filled(images[some], m))  # type: ignore[misc]
        )
    return [each for each in found if len(each.rows)]


def _with_relief(maps: Tensor) -> Tensor:
    """Return (B,) boolean: the map is finite and not the same everywhere."""
    cells = maps.flatten(1)
    return (cells.amax(dim=1) > cells.amin(dim=1)) & cells.isfinite().all(dim=1)


def center_masks(images: Tensor) -> Tensor:
    """Return (B, H, W) boolean, true in the middle of each image."""
    height, width = images.shape[2:]
    y, x = (
        ((torch.arange(n, device=images.device) + 0.5) / n - 0.5).abs() < CENTER_SIDE / 2
        for n in (height, width)
    )
    return (y[:, None] & x[None, :]).expand(len(images), -1, -1)


def top_regions(maps: Tensor, height: int, width: int) -> Tensor:
    """Return (B, height, width) boolean, true where the maps are highest, `TOP_SHARE` of it."""
    large = F.interpolate(maps[:, None].float(), size=(height, width), mode="bilinear")[:, 0]
    count = max(1, round(TOP_SHARE * height * width))
    chosen = large.flatten(1).nan_to_num(0).topk(count, dim=1).indices
    flat = torch.zeros_like(large, dtype=torch.bool).flatten(1)
    return flat.scatter(1, chosen, value=True).view(large.shape)


def elsewhere(regions: Tensor, generator: torch.Generator) -> Tensor:
    """Return regions of the same shapes, moved by a random way around the image's edges."""
    moved = []
    for region in regions:
        by = [int(torch.randint(n, (1,), generator=generator)) for n in region.shape]
        moved.append(region.roll(by, dims=(0, 1)))
    return torch.stack(moved)
