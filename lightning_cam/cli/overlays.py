"""The images that `explain` writes: maps over images, with text below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from lightning_cam import render
from lightning_cam.explain.drawable import title
from lightning_cam.metrics import is_flat
from lightning_cam.runtime.files import safe_name

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from lightning_cam.cli.images import Preparation
    from lightning_cam.explain.result import CAMResult

    Pixels = NDArray[np.uint8]

_MAX_SINGLE_ROW = 5  # tiles in a single row


@dataclass(frozen=True)
class Drawing:
    """How maps are drawn.

    Attributes:
        preparation: how the images were prepared.
        colormap: see `render.COLORMAPS`.
        alpha: weight of the colours, 0 to 1.
        plain: without text.
        separate: one image per map rather than one of all.
    """

    preparation: Preparation
    colormap: str
    alpha: float
    plain: bool
    separate: bool


def pictures(
    images: Tensor, result: CAMResult, paths: Sequence[Path], drawing: Drawing
) -> Iterator[dict[str, Pixels]]:
    """Yield for each image its drawn maps by the suffix of their file names.

    Args:
        images: (B, C, H, W) as the model is fed.
        result: their maps, one an image for each method and layer.
        paths: of the image files.
        drawing: how maps are drawn.
    """
    shown = render.displayable(images, drawing.preparation.mean, drawing.preparation.std)
    size = render.picture_size(*images.shape[2:])
    overlays = {
        key: render.overlay(shown, maps, size=size, colormap=drawing.colormap, alpha=drawing.alpha)
        for key, maps in result.maps.items()
    }
    blank = render.overlay(shown, torch.zeros_like(shown[:, 0]), size=size)
    flat = {key: is_flat(maps).tolist() for key, maps in result.maps.items()}
    for n, path in enumerate(paths):
        about = result.lines(n)
        tiles = {key: pixels[n].cpu().numpy() for key, pixels in overlays.items()}
        words = {key: title(*key, flat=flat[key][n]) for key in tiles}
        if drawing.separate or len(tiles) == 1:
            yield {
                safe_name("@".join(key)) if drawing.separate else "cam": tile
                if drawing.plain
                else render.with_caption(tile, [*about, words[key]])
                for key, tile in tiles.items()
            }
        else:
            captions = [[path.name, *about], *([title] for title in words.values())]
            together = np.stack([blank[n].cpu().numpy(), *tiles.values()])
            across = len(together) if len(together) <= _MAX_SINGLE_ROW else None
            none = [""] * len(together)
            yield {
                "cam": render.tiles(together, none if drawing.plain else captions, across=across)
            }
