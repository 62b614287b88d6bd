"""Parts that interventions are made of: inpaint, composite, noise, regions, partners."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

TOP_SHARE = 0.25  # of the image that counts as the region where the map is highest
CENTER_SIDE = 0.7  # of each side that counts as the middle: about half of the area
_DEVICES_WITH_GENERATORS = ("cpu", "cuda", "mps")
_SMALL_PROBE = 8  # images


def inpaint(images: Tensor, masks: Tensor) -> Tensor:
    """Return images (B, C, H, W) with the masked part filled smoothly from its surroundings.

    Averages the known pixels over ever larger blocks and takes the finest block that holds any
    (push-pull interpolation, Gortler et al. 1996).

    Args:
        images: (B, C, H, W).
        masks: (B, H, W) bool, true where to fill.
    """
    weights = (~masks)[:, None].to(images.dtype)
    return torch.where(masks[:, None], _push_pull(images * weights, weights), images)


def _push_pull(weighted: Tensor, weights: Tensor) -> Tensor:
    known = weighted / weights.clamp(min=torch.finfo(weights.dtype).tiny)
    if min(weights.shape[2:]) == 1 or bool((weights > 0).all()):
        return torch.where(weights > 0, known, torch.zeros_like(known))
    size = weights.shape[2:]
    half = (max(1, size[0] // 2), max(1, size[1] // 2))
    coarse = _push_pull(F.adaptive_avg_pool2d(weighted, half), F.adaptive_avg_pool2d(weights, half))
    enlarged = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    return torch.where(weights > 0, known, enlarged)


def composite(images: Tensor, masks: Tensor, rows: Tensor, partners: Tensor) -> Tensor:
    """Return the masked parts of the images `rows` on the inpainted images `partners`.

    Args:
        images: (B, C, H, W).
        masks: (B, H, W) bool, true on what is kept of `rows` and removed from `partners`.
        rows: (M,) int64.
        partners: (M,) int64.
    """
    backgrounds = inpaint(images[partners], masks[partners])
    return torch.where(masks[rows][:, None], images[rows], backgrounds)


def noise_like(images: Tensor, seed: int) -> Tensor:
    """Return standard normal noise of the images' shape, from a private stream on their device.

    Drawn on the CPU it would take longer than the network's passes on a fast device.
    """
    known = images.device.type in _DEVICES_WITH_GENERATORS
    device = images.device if known else torch.device("cpu")
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(images.shape, generator=generator, device=device).to(images)


def subsample(rows: Tensor) -> Tensor:
    """Return every second row of a larger probe, for interventions that cost more than others."""
    return rows if len(rows) <= _SMALL_PROBE else rows[::2]


def choose_partners(
    labels: Tensor, usable: Tensor, generator: torch.Generator, *, same_class: bool
) -> tuple[Tensor, Tensor]:
    """Return images and, for each, another one of its own class or of another class.

    Args:
        labels: (B,) int64.
        usable: (B,) bool, images that may be taken.
        generator: of the choice.
        same_class: whether the partner has the same label.

    Returns:
        (M,) int64 images and (M,) int64 partners; images without a possible partner are left out.
    """
    rows, partners = [], []
    for row in usable.nonzero()[:, 0].tolist():
        fits = ((labels == labels[row]) == same_class) & usable
        fits[row] = False
        others = fits.nonzero()[:, 0]
        if len(others):
            rows.append(row)
            pick = torch.randint(len(others), (1,), generator=generator)
            partners.append(int(others[pick]))
    return torch.tensor(rows, dtype=torch.long), torch.tensor(partners, dtype=torch.long)


def center_masks(images: Tensor) -> Tensor:
    """Return (B, H, W) bool, true in the middle of each image, `CENTER_SIDE` of each side."""
    height, width = images.shape[2:]
    y, x = (
        ((torch.arange(n, device=images.device) + 0.5) / n - 0.5).abs() < CENTER_SIDE / 2
        for n in (height, width)
    )
    return (y[:, None] & x[None, :]).expand(len(images), -1, -1)


def top_regions(maps: Tensor, height: int, width: int) -> Tensor:
    """Return (B, height, width) bool, true where the maps are highest, on `TOP_SHARE` of it."""
    enlarged = F.interpolate(maps[:, None].float(), size=(height, width), mode="bilinear")[:, 0]
    count = max(1, round(TOP_SHARE * height * width))
    highest = enlarged.flatten(1).nan_to_num(0).topk(count, dim=1).indices
    regions = torch.zeros_like(enlarged, dtype=torch.bool).flatten(1)
    return regions.scatter(1, highest, value=True).view(enlarged.shape)


def shift_regions(regions: Tensor, generator: torch.Generator) -> Tensor:
    """Return regions (B, H, W) of the same shapes, each rolled by a random offset."""
    shifted = []
    for region in regions:
        offset = [int(torch.randint(n, (1,), generator=generator)) for n in region.shape]
        shifted.append(region.roll(offset, dims=(0, 1)))
    return torch.stack(shifted)
