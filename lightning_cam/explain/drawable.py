"""`DrawableMaps`: maps drawn over their images, as arrays, in a notebook and in files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_cam.explain.methods import METHODS
from lightning_cam.explain.outputs import predictions, probabilities
from lightning_cam.metrics.shape import is_flat
from lightning_cam.probe.normalization import normalization_of
from lightning_cam.runtime.files import safe_name, write_atomic
from lightning_cam.runtime.image_files import IMAGE_SUFFIXES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lightning_cam.render import ContactSheet

    Pixels = NDArray[np.uint8]

_FEW = 4  # images that are drawn large in a contact sheet
_LONGEST, _LONGEST_OF_MANY = 320, 224  # pixels of such an image, and of one of more


class DrawableMaps:
    """What of a `CAMResult` draws; see there for the attributes."""

    maps: dict[tuple[str, str], Tensor]
    logits: Tensor
    classes: Tensor
    rows: Tensor
    first: int
    images: Tensor | None
    ids: tuple[str, ...]
    class_names: tuple[str, ...] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    multi_label: bool

    def keys_of(
        self, method: object = None, layer: object = None
    ) -> list[tuple[str, str]]:  # pragma: no cover - of the result
        """Return the keys of `maps` of a method, a layer or both."""
        raise NotImplementedError

    def overlay(
        self,
        method: str | None = None,
        layer: str | None = None,
        *,
        alpha: float = 0.7,
        colormap: str = "turbo",
    ) -> Pixels:
        """Return maps over their images, (N, H, W, 3) uint8 RGB of the size that the model is fed.

        Each map is drawn from 0 to its own maximum; a flat one leaves the image as it is.

        Args:
            method: whose maps; by default the first.
            layer: of which layer; by default the first of the method.
            alpha: weight of the colours at the map's maximum, 0 to 1.
            colormap: a name from `lightning_cam.render.COLORMAPS`.

        Raises:
            KeyError: there is no such map.
            ValueError: the images are not kept, an unknown colour map, or alpha beyond 0 to 1.
        """
        shown = self._shown()
        key = self.keys_of(method, layer)[0]
        return _overlaid(shown, self.maps[key], tuple(shown.shape[2:]), alpha, colormap)

    def show(self, *, alpha: float = 0.7, colormap: str = "turbo") -> None:
        """Show images beside their maps, at most sixteen, with the classes and their probabilities.

        Inline in Jupyter, else in a window, else in a file whose path is printed.

        Args:
            alpha: as in `overlay`.
            colormap: as in `overlay`.

        Raises:
            ValueError: as in `overlay`.
        """
        from lightning_cam.render import show_picture

        sheet = self._sheet(alpha, colormap)
        show_picture(sheet.picture(), alt=sheet.alt)

    def save(
        self,
        folder: str | Path,
        *,
        captions: bool = True,
        alpha: float = 0.7,
        colormap: str = "turbo",
    ) -> list[Path]:
        """Write a PNG file per map and return their paths, image by image.

        They are called `<image>.<method>@<layer>.png`, with the class after the image where one has
        several maps. Files of these names are replaced; each is written whole or not at all.

        Args:
            folder: is made where needed.
            captions: whether class, probability and method are written below each map.
            alpha: as in `overlay`.
            colormap: as in `overlay`.

        Raises:
            ValueError: as in `overlay`.
            OSError: the files cannot be written.
        """
        from lightning_cam.render import picture_size, png, with_caption

        shown = self._shown()
        size = picture_size(*shown.shape[2:])
        drawn = {k: _overlaid(shown, m, size, alpha, colormap) for k, m in self.maps.items()}
        flat = {key: is_flat(maps).tolist() for key, maps in self.maps.items()}
        paths = []
        for n, stem in enumerate(self._stems()):
            for key, pictures in drawn.items():
                lines = [*self.lines(n), title(*key, flat=flat[key][n])]
                picture = with_caption(pictures[n], lines) if captions else pictures[n]
                paths.append(Path(folder) / f"{stem}.{safe_name('@'.join(key))}.png")
                write_atomic(paths[-1], png(picture))
        return paths

    def _repr_html_(self) -> str | None:
        """Return images and maps for a notebook, at most sixteen; None where none are kept."""
        return None if self.images is None else self._sheet().html()

    # --- what is drawn ----------------------------------------------------------------------------

    def lines(self, n: int) -> list[str]:
        """Return the text of a map: the predicted class, before it the explained one if another.

        Where images may have several labels, of which none is the predicted one, the explained one.
        """
        row, explained = int(self.rows[n]) - self.first, int(self.classes[n])
        if not self.logits.shape[1]:
            return [self.name_of(explained)] if explained >= 0 else []
        chances = probabilities(self.logits[row : row + 1], multi_label=self.multi_label)[0]
        if self.multi_label and explained >= 0:
            return [f"{self.name_of(explained)} · {float(chances[explained]):.0%}"]
        predicted = int(predictions(self.logits[row : row + 1]))
        lines = [f"predicted {self.name_of(predicted)} · {float(chances[predicted]):.0%}"]
        if explained not in (-1, predicted):
            share = f"{float(chances[explained]):.0%}"
            lines.insert(0, f"explained {self.name_of(explained)} · {share}")
        return lines

    def name_of(self, label: int) -> str:
        """Return a class's name, or its index where it has none."""
        names = self.class_names
        return names[label] if names and label < len(names) else f"class {label}"

    def _id_of(self, n: int) -> str:
        """Return the name of a map's image."""
        row = int(self.rows[n])
        return self.ids[row - self.first] if self.ids else f"{row:02d}"

    def _stems(self) -> Iterator[str]:
        """Yield the start of each map's file names: safe, and different for each."""
        several = len(self.rows) > len(self.logits)
        used: set[str] = set()
        for n in range(len(self.rows)):
            name, label = self._id_of(n), int(self.classes[n])
            path = Path(name)
            name = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else name
            stem = safe_name(name, f"image_{int(self.rows[n])}")
            if several:
                stem = f"{stem}.{safe_name(self.name_of(label), f'class_{label}')}"
            unique, count = stem, 1
            while unique.casefold() in used:  # some file systems do not tell A from a
                count += 1
                unique = f"{stem}-{count}"
            used.add(unique.casefold())
            yield unique

    def _shown(self, most: int | None = None) -> Tensor:
        """Return the images of the first maps in 0 to 1, (n, 3, H, W)."""
        from lightning_cam.render import displayable

        if self.images is None:
            raise ValueError(
                "expected a result with its images, got one without: such as of a monitor, which "
                "does not keep them"
            )
        mean, std = self.mean, self.std
        if mean is None:
            found = normalization_of(self.images.float())  # of values from 0 to 255
            mean, std = found.mean, found.std
        return displayable(self.images, mean, std)[self.rows[:most] - self.first]

    def _sheet(self, alpha: float = 0.7, colormap: str = "turbo") -> ContactSheet:
        """Return images beside their maps with text."""
        from lightning_cam.render import MAX_SHOWN, ContactSheet, picture_size, plain
        from lightning_cam.render.contact_sheet import thumbnail_size

        shown = self._shown(MAX_SHOWN)
        longest = _LONGEST if len(shown) <= _FEW else _LONGEST_OF_MANY
        size = thumbnail_size(*picture_size(*shown.shape[2:]), longest)
        maps = {key: values[:MAX_SHOWN] for key, values in self.maps.items()}
        flat = torch.stack([is_flat(values) for values in maps.values()]).all(dim=0).tolist()
        texts = [
            [self._id_of(n), *self.lines(n), *(["no evidence"] if flat[n] else [])]
            for n in range(len(shown))
        ]
        return ContactSheet(
            images=plain(shown, size).cpu().numpy(),
            maps={
                title(*key): _overlaid(shown, values, size, alpha, colormap)
                for key, values in maps.items()
            },
            texts=texts,
            left_off=len(self.rows) - len(shown),
        )


def title(method: str, layer: str, *, flat: bool = False) -> str:
    """Return the words for the maps of a method at a layer."""
    found = METHODS.get(method)
    words = method if found is None else found.title
    where = words if found is not None and found.place != "layer" else f"{words} at {layer}"
    return f"{where} · no evidence" if flat else where


def _overlaid(
    shown: Tensor, maps: Tensor, size: tuple[int, ...], alpha: float, colormap: str
) -> Pixels:
    from lightning_cam.render import check_alpha, overlay

    check_alpha(alpha)
    height, width = size
    maps = maps.to(shown.device)
    drawn = overlay(shown, maps, size=(height, width), colormap=colormap, alpha=alpha)
    pixels: Pixels = drawn.cpu().numpy()
    return pixels
