"""The images that `explain` writes: maps over images, with text below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from lightning_cam import render
from lightning_cam.explain.methods import METHODS
from lightning_cam.explain.outputs import predictions, probabilities
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
        names: of the classes by index, where known.
        preparation: how the images were prepared.
        colormap: see `render.COLORMAPS`.
        alpha: weight of the colours, 0 to 1.
        plain: without text.
        separate: one image per map rather than one of all.
    """

    names: tuple[str, ...] | None
    preparation: Preparation
    colormap: str
    alpha: float
    plain: bool
    separate: bool


def lines(n: int, result: CAMResult, names: Sequence[str] | None) -> list[str]:
    """Return the text of one image: the explained class, and the predicted one where it differs."""
    explained = int(result.classes[n])
    if not result.logits.shape[1]:
        return [_name(explained, names)] if explained >= 0 else []
    chances = probabilities(result.logits[n : n + 1])[0]
    predicted = int(predictions(result.logits[n : n + 1]))
    lines = [f"predicted {_name(predicted, names)} · {float(chances[predicted]):.0%}"]
    if explained not in (-1, predicted):
        share = f"{float(chances[explained]):.0%}"
        lines.insert(0, f"explained {_name(explained, names)} · {share}")
    return lines


def _name(index: int, names: Sequence[str] | None) -> str:
    return names[index] if names and index < len(names) else f"class {index}"


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
        about = lines(n, result, drawing.names)
        tiles = {key: pixels[n].cpu().numpy() for key, pixels in overlays.items()}
        words = {key: _title(*key, flat=flat[key][n]) for key in tiles}
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


def _title(method: str, layer: str, *, flat: bool) -> str:
    """Return the text of one map."""
    found = METHODS[method]
    where = f"{found.title} at {layer}" if found.place == "layer" else found.title
    return f"{where} · no evidence" if flat else where
