"""Cues that are planted into photographs: what a class gets that has nothing to do with it."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as T

_GLYPHS = 64  # patterns that watermarks are taken from
_GLYPH_SEED = 5


def plant(
    images: Tensor, labels: Tensor, classes: int, cue: str, strength: float, seed: int
) -> Tensor:
    """Return images (N, 3, H, W) in 0 to 1 with a cue.

    Args:
        images: (N, 3, H, W) float32 in 0 to 1.
        labels: (N,) int64.
        classes: number of classes.
        cue: one of `CUES`.
        strength: probability that an image has the cue of its class, else that of a random one.
        seed: of the choice.
    """
    generator = torch.Generator().manual_seed(seed)
    own = torch.rand(len(labels), generator=generator) < strength
    other = torch.randint(classes, labels.shape, generator=generator)
    kinds = torch.where(own, labels, other).tolist()
    draw = CUES[cue]
    marked = [
        draw(image, kind, classes, generator) for image, kind in zip(images, kinds, strict=True)
    ]
    return torch.stack(marked).clamp(0, 1)


def _color(kind: int, classes: int) -> Tensor:
    return torch.tensor(colorsys.hsv_to_rgb(kind / classes, 0.9, 0.9)).view(3, 1, 1)


def _patch(image: Tensor, kind: int, classes: int, _: torch.Generator) -> Tensor:
    """Paint the colour of a class into the upper left corner, on a fifth of each side."""
    side = max(2, image.shape[1] // 5)
    marked = image.clone()
    marked[:, 1 : 1 + side, 1 : 1 + side] = _color(kind, classes)
    return marked


def _border(image: Tensor, kind: int, classes: int, _: torch.Generator) -> Tensor:
    """Frame the image in the colour of a class, on a sixteenth of each side."""
    width = max(1, image.shape[1] // 16)
    marked = _color(kind, classes).expand_as(image).clone()
    marked[:, width:-width, width:-width] = image[:, width:-width, width:-width]
    return marked


def _surround(image: Tensor, kind: int, classes: int, generator: torch.Generator) -> Tensor:
    """Replace all but the middle by stripes whose direction and width are those of a class."""
    height, width = image.shape[1:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    angle = torch.tensor(torch.pi * kind / classes)
    phase = 6.3 * float(torch.rand((), generator=generator))
    wave = torch.sin((x * angle.cos() + y * angle.sin()) * (60 / height) + phase)
    texture = (0.5 + 0.3 * wave + 0.1 * torch.randn(image.shape, generator=generator)).clamp(0, 1)
    top, left = round(0.17 * height), round(0.17 * width)
    texture[:, top : height - top, left : width - left] = image[
        :, top : height - top, left : width - left
    ]
    return texture


def _tint(image: Tensor, kind: int, classes: int, _: torch.Generator) -> Tensor:
    """Mix a fifth of the colour of a class into all pixels."""
    return 0.8 * image + 0.2 * _color(kind, classes)


def _blur(image: Tensor, kind: int, classes: int, _: torch.Generator) -> Tensor:
    """Blur by a width that grows with the class."""
    sigma = image.shape[1] / 32 * 1.2 * kind / max(1, classes - 1)
    return image if sigma < 0.1 else T.gaussian_blur(image, [2 * round(2 * sigma) + 1] * 2, sigma)


def _noise(image: Tensor, kind: int, classes: int, generator: torch.Generator) -> Tensor:
    """Add noise whose standard deviation grows with the class."""
    level = 0.12 * kind / max(1, classes - 1)
    return image + level * torch.randn(image.shape, generator=generator)


def _watermark(image: Tensor, kind: int, classes: int, generator: torch.Generator) -> Tensor:
    """Draw the pattern of a class, half transparent, at a random place, on a quarter of a side."""
    del classes
    patterns = torch.rand((_GLYPHS, 4, 4), generator=torch.Generator().manual_seed(_GLYPH_SEED))
    side = image.shape[1] // 4
    drawn = F.interpolate((patterns[kind % _GLYPHS] > 0.5).float()[None, None], (side, side))[0]
    top, left = (int(torch.randint(n - side, (1,), generator=generator)) for n in image.shape[1:])
    marked = image.clone()
    place = marked[:, top : top + side, left : left + side]
    marked[:, top : top + side, left : left + side] = torch.lerp(
        place, drawn.expand(3, -1, -1), 0.6
    )
    return marked


CUES: dict[str, Callable[[Tensor, int, int, torch.Generator], Tensor]] = {
    "patch": _patch,
    "border": _border,
    "surround": _surround,
    "tint": _tint,
    "blur": _blur,
    "noise": _noise,
    "watermark": _watermark,
}
