"""`Labeller`: the masks of a run's images while they are drawn, and their file."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lightning_cam.output.labelling.images import LabelImage
from lightning_cam.output.labelling.shapes import Shape, mask_of, parse_shapes
from lightning_cam.probe.annotations.rasterize import encode_runs
from lightning_cam.probe.drawn_masks import DrawnMask, DrawnMasks, read_masks, write_masks
from lightning_cam.probe.estimated_masks import refined_mask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_KEPT = 256  # refined areas, so that another shape refines only itself
_LEVELS = 255


class Labeller:
    """Turns shapes into masks, and writes the file after each.

    Safe for use by several threads.

    Args:
        images: of a run.
        out: `masks.json`; what is in it already is kept, and can be gone on with.

    Raises:
        ValueError: `out` is another file, or damaged.
        OSError: it cannot be read.
    """

    def __init__(self, images: Sequence[LabelImage], out: Path) -> None:
        self.images = list(images)
        self.out = out
        self._masks = dict(read_masks(out).masks) if out.exists() else {}
        self._refined: dict[tuple[int, Shape], NDArray[np.bool_]] = {}
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """How many of the images have a mask."""
        return sum(each.fingerprint in self._masks for each in self.images)

    def state(self) -> list[dict[str, Any]]:
        """Return what the page shows, an entry per image."""
        with self._lock:
            return [
                {"id": each.id, "label": each.label, **self._entry(number)}
                for number, each in enumerate(self.images)
            ]

    def draw(self, number: int, content: Any) -> dict[str, Any]:
        """Make an image's mask of shapes, write the file, and return what the page shows.

        Args:
            number: of the image.
            content: all its shapes, as the page sent them; none for no mask.

        Raises:
            ValueError: no shapes.
            OSError: the file cannot be written; the mask is as it was then.
        """
        shapes = parse_shapes(content)
        image = self.images[number]
        with self._lock:
            height, width = image.pixels.shape[:2]
            mask, note = mask_of(
                shapes, height, width, lambda shape, area: self._refine(number, shape, area)
            )
            changed = {k: v for k, v in self._masks.items() if k != image.fingerprint}
            if mask.any():
                kept = tuple(shape.as_dict() for shape in shapes)
                changed[image.fingerprint] = DrawnMask(image.id, mask, kept)
            write_masks(DrawnMasks(self.out, changed))
            self._masks = changed
            return {**self._entry(number), "note": note}

    def _entry(self, number: int) -> dict[str, Any]:
        pixels = self.images[number].pixels
        mask = self._masks.get(self.images[number].fingerprint)
        return {
            "size": list(pixels.shape[:2] if mask is None else mask.mask.shape),
            "counts": None if mask is None else encode_runs(mask.mask),
            "shapes": [] if mask is None else list(mask.shapes),
        }

    def _refine(self, number: int, shape: Shape, area: NDArray[np.bool_]) -> NDArray[np.bool_]:
        key = (number, shape)
        if key not in self._refined:
            if len(self._refined) >= _MOST_KEPT:
                self._refined.clear()
            displayed = torch.from_numpy(self.images[number].pixels.copy()).permute(2, 0, 1)
            found = refined_mask(displayed.float() / _LEVELS, torch.from_numpy(area))
            self._refined[key] = found.numpy() & area
        return self._refined[key]
