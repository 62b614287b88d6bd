"""`find_marks`: small patterns that occur again in other images of their class, at any place.

A watermark, a caption or a stamp is the same in every image that has it; an object is not. So a
part of an image counts as a mark where other images of the class hold nearly the same pixels, at
another place: what is at one place is found as a patch. Marks are a property of the data; no
network is needed to find them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_SIDE = 48  # pixels, to which the longer side of images is reduced
_WINDOW = 8  # pixels of these: the smallest mark that is found
_STRIDE = 2  # between windows that are searched for in other images
_CANDIDATES = 100  # windows of an image that are searched for, those of the strongest contrast
_COMPARED, _FOUND_IN = 4, 2  # other images that are searched, and in how many a mark must be
_SIMILAR = 0.8  # normalised correlation; natural windows are rarely above 0.75
_NEARLY = 0.03  # of the best window's similarity
_LEAST_CONTRAST = 0.15  # of the deviation of all pixels: what is smooth resembles much
_LEAST_CORNER = 0.2  # ratio of gradients: a straight edge resembles every other straight edge
_MARGIN = 1  # pixels around a window
_LARGEST = 0.3  # of an image: what is larger is a texture, not a mark
_ONE_PLACE = 0.5  # share of the others' marks at an image's mark: that is a patch, not a mark
_TINY = 1e-6


def find_marks(
    images: Tensor, labels: Tensor, masks: Tensor | None = None, seed: int = 0
) -> Tensor | None:
    """Return where the images have marks: (B, H, W) bool on the CPU, None where none has any.

    High-pass filtered windows are compared with all windows of some other images of the class, by
    their normalised correlation (template matching, Lewis 1995). Only windows with structure in two
    directions count, since edges match everywhere along themselves (Shi and Tomasi 1994).

    Args:
        images: (B, C, H, W), finite.
        labels: (B,) int64.
        masks: (B, H, W) bool, true on the object, where no mark is looked for.
        seed: of the choice of the other images.
    """
    count, _, height, width = images.shape
    pixels = images.detach().float().cpu()
    if max(height, width) > _SIDE:
        pixels = F.interpolate(pixels, scale_factor=_SIDE / max(height, width), mode="area")
    if min(pixels.shape[2:]) < 2 * _WINDOW:
        return None
    windows, contrast = _windows(pixels)
    candidates = _candidates(pixels, contrast)
    generator = torch.Generator().manual_seed(seed)
    found = torch.zeros(contrast.shape, dtype=torch.bool)
    for n in range(count):
        others = (labels == labels[n]).nonzero()[:, 0]
        others = others[others != n]
        others = others[torch.randperm(len(others), generator=generator)[:_COMPARED]]
        mine = candidates[n].nonzero()[:, 0]
        if not len(others) or not len(mine):
            continue
        best = torch.stack([(windows[n, mine] @ windows[k].T).amax(dim=1) for k in others.tolist()])
        similar = best.topk(min(_FOUND_IN, len(best)), dim=0).values[-1]
        # Windows that hold only a part of a mark are similar too, but less than those full of it.
        found[n, mine] = similar >= max(_SIMILAR, float(similar.max()) - _NEARLY)
    regions = _regions(found, pixels.shape[2:], (height, width))
    if masks is not None:
        regions &= ~masks.cpu()
    regions &= (regions.float().mean(dim=(1, 2)) <= _LARGEST)[:, None, None]
    regions &= ~_at_one_place(regions)[:, None, None]
    return regions if bool(regions.any()) else None


def _windows(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return normalised windows (B, L, C·w²) of the high-pass filtered images, and contrasts."""
    fine = pixels - F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    windows = F.unfold(fine, _WINDOW).transpose(1, 2)
    windows = windows.view(*windows.shape[:2], -1, _WINDOW**2)
    windows = (windows - windows.mean(dim=3, keepdim=True)).flatten(2)
    size = windows.norm(dim=2)
    contrast = size / windows.shape[2] ** 0.5 / pixels.std().clamp(min=_TINY)
    return windows / size.clamp(min=_TINY)[..., None], contrast


def _candidates(pixels: Tensor, contrast: Tensor) -> Tensor:
    """Return (B, L) bool, the windows that are searched for in other images."""
    height, width = (n - _WINDOW + 1 for n in pixels.shape[2:])
    allowed = torch.zeros(height, width, dtype=torch.bool)
    allowed[::_STRIDE, ::_STRIDE] = True
    fitting = allowed.flatten() & (contrast >= _LEAST_CONTRAST) & (_corners(pixels) > _LEAST_CORNER)
    ranked = contrast.masked_fill(~fitting, 0)
    strongest = ranked.topk(min(_CANDIDATES, ranked.shape[1]), dim=1).indices
    return torch.zeros_like(fitting).scatter_(1, strongest, value=True) & fitting


def _corners(pixels: Tensor) -> Tensor:
    """Return (B, L), 0 to 1, how much the gradients of a window vary in their direction.

    The ratio of the eigenvalues of the structure tensor.
    """
    here = pixels[..., :-1, :-1]
    down, right = pixels[..., 1:, :-1] - here, pixels[..., :-1, 1:] - here
    products = torch.stack([(a * b).sum(dim=1) for a, b in
                            ((down, down), (right, right), (down, right))], dim=1)  # fmt: skip
    # One pixel more on each side, as far as the high-pass filter reaches.
    sums = F.avg_pool2d(F.pad(products, (1, 1, 1, 1)), _WINDOW + 1, stride=1)
    vertical, horizontal, mixed = sums.unbind(dim=1)
    trace = vertical + horizontal
    gap = ((vertical - horizontal).square() + 4 * mixed.square()).sqrt()
    return ((trace - gap) / (trace + gap).clamp(min=_TINY)).flatten(1)


def _regions(found: Tensor, small: torch.Size, size: tuple[int, int]) -> Tensor:
    """Return (B, H, W) bool, the pixels of the windows that were found, and a margin."""
    height, width = (n - _WINDOW + 1 for n in small)
    corners = found.view(-1, 1, height, width).float()
    # A pixel is covered by the windows that begin at most their length above and left of it.
    reach = _WINDOW - 1 + _MARGIN
    covered = F.max_pool2d(F.pad(corners, (reach,) * 4), _WINDOW + 2 * _MARGIN, stride=1)
    return F.interpolate(covered, size=size, mode="nearest")[:, 0] > 0


def _at_one_place(regions: Tensor) -> Tensor:
    """Return (B,) bool, whether most other images that have a mark have it at the same place."""
    marked = regions.flatten(1).any(dim=1)
    others = (marked.sum() - marked.long()).clamp(min=1)
    covered = (regions.sum(dim=0) - regions.long()).float() / others[:, None, None]
    area = regions.flatten(1).sum(dim=1).clamp(min=1)
    return (covered * regions).flatten(1).sum(dim=1) / area >= _ONE_PLACE
