"""Altered images that tell what a model uses: other backgrounds, noise, no object.

A map says where a gradient points; an intervention says what happens when that part is taken away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

NOISE_LEVEL = 1.0  # standard deviation of the noise, in units of the probe's own per channel
_DRAWS = ("cpu", "cuda", "mps")  # devices with random streams of their own
_SPARED = 8  # up to so many images, noise is tried on all of them, else on every second one


@dataclass(frozen=True)
class Intervention:
    """One way of altering a probe, made only when it is run.

    Attributes:
        name: `mixed_same`, `mixed_rand`, `background`, `noisy_object` or `noisy_background`.
        rows: (M,) long, the images that are altered.
        make: returns them altered, (M, C, H, W).
    """

    name: str
    rows: Tensor
    make: Callable[[], Tensor]


def interventions(
    images: Tensor, masks: Tensor, labels: Tensor, seed: int = 0
) -> list[Intervention]:
    """Return the interventions that a probe allows: about four times its images in all.

    - `mixed_same`, `mixed_rand`: the object pasted on the background of another image of the same
      class, of another class. Xiao et al. 2020 (ImageNet-9).
    - `background`: the object filled with its surroundings: what does the background predict?
    - `noisy_object`, `noisy_background`: noise on one, the other. Moayeri et al. 2022.

    An image whose class has no second one has no `mixed_same`, a probe of one class no
    `mixed_rand`; images with an empty or full mask have none at all.

    Args:
        images: (B, C, H, W).
        masks: (B, H, W) boolean, true on the object.
        labels: (B,) long.
        seed: of partners and noise, from a private stream.
    """
    area = masks.flatten(1).float().mean(dim=1)
    usable = ((area > 0) & (area < 1)).cpu()
    generator = torch.Generator().manual_seed(seed)
    found = []
    for name, same in (("mixed_same", True), ("mixed_rand", False)):
        rows, partners = partners_of(labels.cpu(), usable, generator, same=same)
        found.append(
            Intervention(name, rows, lambda r=rows, p=partners: mixed(images, masks, r, p))  # type: ignore[misc]
        )
    all_rows = usable.nonzero()[:, 0]
    found.append(
        Intervention("background", all_rows, lambda: filled(images[all_rows], masks[all_rows]))
    )
    some = sparing(all_rows)
    noise = noise_like(images[some], seed)
    spread = images.std(dim=(0, 2, 3), keepdim=True) * NOISE_LEVEL
    for name, inside in (("noisy_object", True), ("noisy_background", False)):
        where = (masks[some] == inside)[:, None]
        found.append(
            Intervention(name, some, lambda w=where: images[some] + noise * spread * w)  # type: ignore[misc]
        )
    return [each for each in found if len(each.rows)]


def noise_like(images: Tensor, seed: int) -> Tensor:
    """Return normal noise in the images' shape, from a private stream, drawn on their device.

    Drawn elsewhere it would take longer than the network's passes on a fast device.
    """
    device = images.device if images.device.type in _DRAWS else torch.device("cpu")
    private = torch.Generator(device).manual_seed(seed)
    return torch.randn(images.shape, generator=private, device=device).to(images)


def sparing(rows: Tensor) -> Tensor:
    """Return the rows that the costlier questions are asked of: every second one of many."""
    return rows if len(rows) <= _SPARED else rows[::2]


def filled(images: Tensor, masks: Tensor) -> Tensor:
    """Return the images with the masked part filled smoothly from around it.

    Averages what is known over ever larger blocks and takes the finest that knows anything
    (push-pull, Gortler et al. 1996).
    """
    weights = (~masks)[:, None].to(images.dtype)
    return torch.where(masks[:, None], _pull(images * weights, weights), images)


def _pull(weighted: Tensor, weights: Tensor) -> Tensor:
    known = weighted / weights.clamp(min=torch.finfo(weights.dtype).tiny)
    if min(weights.shape[2:]) == 1 or bool((weights > 0).all()):
        return torch.where(weights > 0, known, torch.zeros_like(known))
    size = weights.shape[2:]
    half = (max(1, size[0] // 2), max(1, size[1] // 2))
    coarse = _pull(F.adaptive_avg_pool2d(weighted, half), F.adaptive_avg_pool2d(weights, half))
    guess = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    return torch.where(weights > 0, known, guess)


def mixed(images: Tensor, masks: Tensor, rows: Tensor, partners: Tensor) -> Tensor:
    """Return the objects of `rows` on the backgrounds of `partners`."""
    backgrounds = filled(images[partners], masks[partners])
    return torch.where(masks[rows][:, None], images[rows], backgrounds)


def partners_of(
    labels: Tensor, usable: Tensor, generator: torch.Generator, *, same: bool
) -> tuple[Tensor, Tensor]:
    """Return images and, for each, another one of the same class or of another class."""
    rows, partners = [], []
    for row in usable.nonzero()[:, 0].tolist():
        fits = (labels == labels[row]) == same
        fits = fits & usable
        fits[row] = False
        others = fits.nonzero()[:, 0]
        if len(others):
            rows.append(row)
            pick = torch.randint(len(others), (1,), generator=generator)
            partners.append(int(others[pick]))
    return torch.tensor(rows, dtype=torch.long), torch.tensor(partners, dtype=torch.long)
