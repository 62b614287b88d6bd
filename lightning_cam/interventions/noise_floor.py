"""`noise_divergences`: how far maps move under changes that should not move them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_cam.explain.targets import ClassTarget, DifferenceTarget
from lightning_cam.metrics import jsd

if TYPE_CHECKING:
    from lightning_cam.explain.result import CAMResult
    from lightning_cam.explain.targets import Target

_MAX_SHIFT = 1 / 32  # of a side
_MAX_GAIN = 0.05

ComputeMaps: TypeAlias = "Callable[[Tensor, Target], Tensor]"


def noise_divergences(
    images: Tensor, target: Target, result: CAMResult, compute_maps: ComputeMaps, seed: int
) -> Tensor | None:
    """Return how far maps move under a flip and under a small jitter, at the same weights.

    Drift is stated in multiples of their mean.

    Args:
        images: (B, C, H, W).
        target: what is explained.
        result: the maps of some of the images as they are, on the CPU.
        compute_maps: returns the first maps (N, h, w) of the same images as `result`, for all
            images and a target.
        seed: of the jitter.

    Returns:
        (2, N) on the CPU, NaN where undefined; None where the maps have another shape then.
    """
    maps = next(iter(result.maps.values()))
    target = _same_classes(target, result, len(images))
    moved = [
        flip(compute_maps(flip(images), target.mirrored(images.shape[3]))),
        compute_maps(jitter(images, seed), target),
    ]
    if any(each.shape != maps.shape for each in moved):
        return None
    return torch.stack([jsd(maps, each.cpu()) for each in moved])


def flip(images: Tensor) -> Tensor:
    """Return images (B, C, H, W) or maps (N, h, w) mirrored left to right."""
    return images.flip(-1)


def jitter(images: Tensor, seed: int) -> Tensor:
    """Return images (B, C, H, W) shifted by up to 1/32 of a side and up to 5 % darker or brighter.

    Shifted by one pixel at least. All images share one draw from a private stream; edge pixels are
    repeated.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = images.shape[2:]
    reach = [max(1, int(side * _MAX_SHIFT)) for side in (height, width)]
    dy, dx = (
        int(torch.randint(-most, most + 1, (1,), generator=generator)) or most for most in reach
    )
    gain = 1 + _MAX_GAIN * (2 * float(torch.rand(1, generator=generator)) - 1)
    padded = F.pad(images, (reach[1], reach[1], reach[0], reach[0]), mode="replicate")
    top, left = reach[0] + dy, reach[1] + dx
    return padded[:, :, top : top + height, left : left + width] * gain


def _same_classes(target: Target, result: CAMResult, count: int) -> Target:
    """Return the target of the classes that were explained, where it is the predicted ones."""
    if not isinstance(target, (ClassTarget, DifferenceTarget)) or target.classes is not None:
        return target
    if len(result.classes) != len(result.logits) or not bool((result.classes >= 0).all()):
        return target
    classes = torch.zeros(count, dtype=torch.long)  # of images that are not computed: any
    classes[result.rows] = result.classes
    return replace(target, classes=classes)
