"""Interventions for probes without masks.

The middle of the image stands for the object, since people point cameras at what they photograph,
or the map itself says where to cut. What these find is weaker evidence than a mask's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_cam.interventions.image_editing import (
    center_masks,
    choose_partners,
    composite,
    inpaint,
    shift_regions,
    subsample,
    top_regions,
)
from lightning_cam.interventions.registry import Altered, InterventionInput, register_intervention


@register_intervention("rim_same", masks=False)
def rim_same(batch: InterventionInput) -> Altered:
    """Paste the middle into the rim of another image of its class: `mixed_same` without masks."""
    return _mixed_rim(batch, same_class=True)


@register_intervention("rim_rand", masks=False)
def rim_rand(batch: InterventionInput) -> Altered:
    """Paste the middle into the rim of an image of another class: `mixed_rand` without masks."""
    return _mixed_rim(batch, same_class=False)


@register_intervention("rim", masks=False)
def rim(batch: InterventionInput) -> Altered:
    """Inpaint the middle: what does the rim alone predict?"""
    rows = torch.arange(len(batch.images))
    return Altered(rows, lambda: inpaint(batch.images, center_masks(batch.images)))


@register_intervention("without_top", masks=False)
def without_top(batch: InterventionInput) -> Altered:
    """Inpaint the region where the map is highest. Images with a flat map are left out."""
    rows = _with_map(batch)
    return Altered(rows, lambda: inpaint(batch.images[rows], _top(batch, rows)))


@register_intervention("without_random", masks=False)
def without_random(batch: InterventionInput) -> Altered:
    """Inpaint a region of the same shape as in `without_top`, at a random place."""
    rows = _with_map(batch)
    generator = batch.generator("without_random")
    return Altered(
        rows, lambda: inpaint(batch.images[rows], shift_regions(_top(batch, rows), generator))
    )


def _mixed_rim(batch: InterventionInput, *, same_class: bool) -> Altered:
    generator = batch.generator(f"rim, same_class={same_class}")
    everyone = torch.ones(len(batch.images), dtype=torch.bool)
    rows, partners = choose_partners(batch.labels.cpu(), everyone, generator, same_class=same_class)
    masks = center_masks(batch.images)
    return Altered(rows, lambda: composite(batch.images, masks, rows, partners))


def _with_map(batch: InterventionInput) -> Tensor:
    """Return the images whose map is finite and not the same everywhere, a part of them."""
    cells = batch.maps.flatten(1)
    uneven = (cells.amax(dim=1) > cells.amin(dim=1)) & cells.isfinite().all(dim=1)
    return subsample(uneven.cpu().nonzero()[:, 0])


def _top(batch: InterventionInput, rows: Tensor) -> Tensor:
    return top_regions(batch.maps[rows], batch.images.shape[2], batch.images.shape[3])
