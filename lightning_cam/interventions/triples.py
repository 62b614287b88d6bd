"""`draw_triples`: which images exchange an attribute with which."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Triples(NamedTuple):
    """Images with a partner of their own class and one of another.

    Attributes:
        rows: (M,) int64, the images.
        same: (M,) int64, another image of the same class.
        other: (M,) int64, an image of another class.
    """

    rows: Tensor
    same: Tensor
    other: Tensor


def draw_triples(labels: Tensor, usable: Tensor, count: int, generator: torch.Generator) -> Triples:
    """Return triples drawn independently of each other, with replacement.

    Independent draws make what is measured on them an unbiased estimate for all usable images,
    whichever triples were drawn before: the bounds in `metrics.confidence` rely on that.

    Args:
        labels: (B,) int64.
        usable: (B,) bool, images that may be taken.
        count: number of triples.
        generator: of the draws.

    Returns:
        Fewer, or none, where no image has partners of both kinds.
    """
    images = usable.nonzero()[:, 0]
    classes = labels[images]
    equal = classes[:, None] == classes[None, :]
    not_itself = ~torch.eye(len(images), dtype=torch.bool)
    possible = ((equal & not_itself).any(dim=1) & (~equal).any(dim=1)).nonzero()[:, 0]
    if not len(possible):
        none = torch.zeros(0, dtype=torch.long)
        return Triples(none, none, none)
    rows = possible[torch.randint(len(possible), (count,), generator=generator)]
    same = torch.multinomial((equal & not_itself)[rows].double(), 1, generator=generator)[:, 0]
    other = torch.multinomial((~equal)[rows].double(), 1, generator=generator)[:, 0]
    return Triples(images[rows], images[same], images[other])


def usable_images(masks: Tensor | None, count: int) -> Tensor:
    """Return (count,) bool on the CPU: the mask, where there are any, is neither empty nor full."""
    if masks is None:
        return torch.ones(count, dtype=torch.bool)
    area = torch.mean(masks.flatten(1).float(), dim=1)
    return ((area > 0) & (area < 1)).cpu()
