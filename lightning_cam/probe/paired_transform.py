"""`transform_pair`: apply a transform to an image and to its mask, in the same way."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lightning_cam.runtime.messages import describe

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

Transform = Callable[[Any], Any]
_TOLERANCE = 0.1  # of linearity, as a share of the difference between white and black
_COVERED = 0.5  # share of a pixel from which it is object
_MOST_SEED = 2**31


def follows_tensors(transform: Transform) -> bool:
    """Return whether a transform takes images, masks and boxes together, as torchvision's v2 do."""
    from torchvision.transforms import v2

    return isinstance(transform, v2.Transform)


def transform_pair(
    transform: Transform, picture: Picture, mask: NDArray[np.bool_]
) -> tuple[Any, Tensor]:
    """Return what a transform makes of an image, and the mask after the same crop, resize or flip.

    A transform of `torchvision.transforms.v2` is given both together. Any other is a function of
    images alone, such as `weights.transforms()`: it is applied to a black image, a white one and
    one on which the mask is painted white, from the same random numbers, and a pixel is object
    where the third is closer to the second than to the first.

    Args:
        transform: of PIL images.
        picture: the image, RGB.
        mask: (H, W) of the image's size.

    Returns:
        The image, and (h, w) bool.

    Raises:
        ValueError: the transform returns no tensors, or does more than move pixels and scale their
            values, so that what it does to the mask cannot be seen.
    """
    if follows_tensors(transform):
        from torchvision import tv_tensors

        both = {"image": picture, "mask": tv_tensors.Mask(torch.from_numpy(mask.copy()))}
        made = transform(both)
        return made["image"], made["mask"].as_subclass(Tensor).reshape(made["mask"].shape[-2:]) > 0
    seed = random.randrange(_MOST_SEED)  # noqa: S311 - of the stream that transforms draw from
    image = _seeded(transform, picture, seed)
    return image, _mask_seen_through(transform, mask, seed)


def _mask_seen_through(transform: Transform, mask: NDArray[np.bool_], seed: int) -> Tensor:
    from PIL import Image

    def made(area: NDArray[np.bool_]) -> Tensor:
        grey = Image.fromarray(area.astype(np.uint8) * 255)
        found = _seeded(transform, grey.convert("RGB"), seed)
        if not isinstance(found, Tensor) or found.ndim < 2:  # noqa: PLR2004
            raise ValueError(
                f"expected a transform to tensors (C, H, W), got one that returns {describe(found)}"
            )
        return found.double().reshape(-1, *found.shape[-2:]).mean(dim=0)

    nothing, everything = np.zeros_like(mask), np.ones_like(mask)
    black, white, inside, outside = map(made, (nothing, everything, mask, ~mask))
    if len({each.shape for each in (black, white, inside, outside)}) == 1:
        span = white - black
        largest = span.abs().max()
        straight = (inside + outside - black - white).abs().max() <= _TOLERANCE * largest
        if largest > 0 and straight:
            return ((inside - black) / span).nan_to_num(nan=0, posinf=0, neginf=0) > _COVERED
    raise ValueError(
        "expected a transform that can be applied to masks too, got one that changes images by "
        "what is in them, such as an equalisation. Give one of torchvision.transforms.v2, which "
        "takes image and mask together, or transform=None and images and masks that are ready"
    )


def _seeded(transform: Transform, picture: Picture, seed: int) -> Any:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the stream that users' transforms draw from
    torch.default_generator.manual_seed(seed)
    return transform(picture)
