"""Interventions for probes with masks: other backgrounds, no object, noise."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_cam.interventions.image_editing import (
    choose_partners,
    composite,
    inpaint,
    noise_like,
    subsample,
)
from lightning_cam.interventions.registry import Altered, InterventionInput, register_intervention

NOISE_LEVEL = 1.0  # standard deviation, in multiples of the probe's own per channel


@register_intervention("mixed_same", masks=True)
def mixed_same(batch: InterventionInput) -> Altered:
    """Paste each object on the background of another image of its class. Xiao et al. 2020."""
    return _mixed(batch, same_class=True)


@register_intervention("mixed_rand", masks=True)
def mixed_rand(batch: InterventionInput) -> Altered:
    """Paste each object on the background of an image of another class. Xiao et al. 2020."""
    return _mixed(batch, same_class=False)


@register_intervention("background", masks=True)
def background(batch: InterventionInput) -> Altered:
    """Inpaint the object: what does the background alone predict?"""
    masks, rows = _masks(batch), _usable(batch).nonzero()[:, 0]
    return Altered(rows, lambda: inpaint(batch.images[rows], masks[rows]))


@register_intervention("noisy_object", masks=True)
def noisy_object(batch: InterventionInput) -> Altered:
    """Add noise to the object. Moayeri et al. 2022."""
    return _noisy(batch, on_object=True)


@register_intervention("noisy_background", masks=True)
def noisy_background(batch: InterventionInput) -> Altered:
    """Add the same noise to the background. Moayeri et al. 2022."""
    return _noisy(batch, on_object=False)


def _mixed(batch: InterventionInput, *, same_class: bool) -> Altered:
    generator = batch.generator(f"mixed, same_class={same_class}")
    rows, partners = choose_partners(
        batch.labels.cpu(), _usable(batch), generator, same_class=same_class
    )
    return Altered(rows, lambda: composite(batch.images, _masks(batch), rows, partners))


def _noisy(batch: InterventionInput, *, on_object: bool) -> Altered:
    rows = subsample(_usable(batch).nonzero()[:, 0])

    def make() -> Tensor:
        images = batch.images[rows]
        spread = batch.images.std(dim=(0, 2, 3), keepdim=True) * NOISE_LEVEL
        where = (_masks(batch)[rows] == on_object)[:, None]
        noisy: Tensor = images + noise_like(images, batch.seed) * spread * where
        return noisy

    return Altered(rows, make)


def _masks(batch: InterventionInput) -> Tensor:
    assert batch.masks is not None
    return batch.masks


def _usable(batch: InterventionInput) -> Tensor:
    """Return (B,) bool on the CPU: the mask is neither empty nor full."""
    area = torch.mean(_masks(batch).flatten(1).float(), dim=1)
    return ((area > 0) & (area < 1)).cpu()
