"""What all panels draw from: the probe's images, its words, and one validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lightning_cam import render
from lightning_cam.loggers.base import Picture
from lightning_cam.metrics import is_flat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_cam.explain.features import FeatureMaps
    from lightning_cam.explain.preferences import Preferences
    from lightning_cam.monitor import History, Snapshot
    from lightning_cam.monitor.history import MapKey
    from lightning_cam.options import Options
    from lightning_cam.probe import Probe

MAX_ROWS = 8  # of samples in a picture that compares columns
_FLAT_FRAME = 128  # grey: nothing to show here


def suffix_of(key: MapKey, maps: Mapping[MapKey, Tensor]) -> str:
    """Return what tells further methods and layers apart; the first keeps the plain names."""
    return "" if key == next(iter(maps)) else f"/{key[0]}@{key[1]}"


class Gallery:
    """A probe's images as they are shown, and its words; the same through the whole training.

    Args:
        tag: what the pictures' names start with.
        probe: whose images are drawn.
        options: how many, in which colours.
    """

    def __init__(self, tag: str, probe: Probe, options: Options) -> None:
        self.tag = tag
        self.probe = probe
        self.options = options
        self.count = min(options.num_pictures, len(probe))
        self._scale: tuple[Sequence[float] | None, Sequence[float] | None] | None = None
        self._shown: dict[tuple[torch.device, tuple[int, int]], Tensor] = {}

    def images(self, rows: Tensor, device: torch.device, size: tuple[int, int]) -> Tensor:
        """Return images in display range at a size, (n, 3, h, w); the drawn ones are kept."""
        key = (device, size)
        if key not in self._shown:
            self._shown = {k: v for k, v in self._shown.items() if k[0] == device}
            self._shown[key] = self._at(torch.arange(self.count), device, size)
        if int(rows.max()) < self.count:
            return self._shown[key][rows.to(device)]
        return self._at(rows, device, size)

    def _at(self, rows: Tensor, device: torch.device, size: tuple[int, int]) -> Tensor:
        shown = render.displayable(self.probe.images[rows].to(device), *self.scale)
        # Channels last: pictures lie like that too, so that nothing is moved about later.
        return render.resized(shown, size).contiguous(memory_format=torch.channels_last)

    @property
    def scale(self) -> tuple[Sequence[float] | None, Sequence[float] | None]:
        """Mean and standard deviation that bring the images, whichever of them, into 0 to 1."""
        if self._scale is None:
            images = self.probe.images
            low, high = float(images.min()), float(images.max())
            known = self.probe.mean is not None or (low >= 0 and high <= 1)
            flat = images.shape[1]
            stretch = ([low] * flat, [max(high - low, torch.finfo(torch.float32).tiny)] * flat)
            self._scale = (self.probe.mean, self.probe.std) if known else stretch
        return self._scale

    def masks(self, rows: Tensor, device: torch.device) -> Tensor | None:
        """Return the objects' masks of some images, (n, H, W) boolean, or None."""
        foreground = self.probe.foreground
        return None if foreground is None else foreground[rows].to(device)

    def size(self, longest: int) -> tuple[int, int]:
        """Return height and width of thumbnails whose longer side is `longest`."""
        height, width = self.probe.images.shape[2:]
        most = max(height, width)
        return max(1, height * longest // most), max(1, width * longest // most)

    def name(self, label: int) -> str:
        """Return a class's name, with its index where the font can draw nothing of it."""
        name = self.probe.name_of(label)
        return name if render.legible(name) or label < 0 else f"class {label} {name}".rstrip()

    def label(self, row: int) -> int | None:
        """Return an image's label, None where there is none or several."""
        targets = self.probe.targets
        return None if targets is None or self.probe.multi_label else int(targets[row])

    def picture(self, name: str, pixels: NDArray[np.uint8], caption: str, epoch: int) -> Picture:
        """Return a finished panel under this probe's tag."""
        return Picture(f"{self.tag}/{name}", pixels, caption, epoch)


@dataclass(frozen=True)
class Scene:
    """One validation, ready to be drawn.

    Attributes:
        gallery: the probe's images and words.
        maps: raw maps on the device.
        snapshot: predictions and time.
        history: with this validation in it.
        drawn: the maps whose images get pictures of their own.
        peaks: largest value of each map so far by method and layer; empty to scale each by itself.
        per_image: metrics of the first map by name.
        features: feature maps by layer, of the probe's first images.
        preferences: what filters and classes prefer, or None.
    """

    gallery: Gallery
    maps: Mapping[MapKey, Tensor]
    snapshot: Snapshot
    history: History
    drawn: Sequence[int]
    peaks: Mapping[MapKey, Tensor]
    per_image: Mapping[str, Tensor]
    features: Mapping[str, FeatureMaps]
    preferences: Preferences | None

    @property
    def first(self) -> MapKey:
        """The method and layer that panels of one map show."""
        return next(iter(self.maps))

    @property
    def device(self) -> torch.device:
        """Where pictures are drawn."""
        return self.maps[self.first].device

    def heading(self, what: str) -> str:
        """Return what stands above a panel."""
        method, layer = self.first
        return f"{what} · {method} at {layer} · epoch {self.snapshot.epoch}"

    def rows(self, ns: Sequence[int]) -> Tensor:
        """Return the images that some maps belong to."""
        return self.snapshot.rows[list(ns)]

    def images(self, ns: Sequence[int], size: tuple[int, int]) -> Tensor:
        """Return the images of some maps, (n, 3, h, w) in 0 to 1."""
        return self.gallery.images(self.rows(ns), self.device, size)

    def plain(self, ns: Sequence[int], size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the images of some maps as thumbnails, with their objects' outlines."""
        masks = self.gallery.masks(self.rows(ns), self.device)
        return on_host(render.plain(self.images(ns, size), size, masks))

    def heat(
        self, key: MapKey, maps: Tensor, ns: Sequence[int], size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Return some of a validation's maps over their images, flat ones in a grey frame."""
        options = self.gallery.options
        maps = maps[list(ns)].to(self.device)
        thumbnails = render.overlay(
            self.images(ns, size),
            maps,
            size=size,
            colormap=options.colormap,
            alpha=options.alpha,
            peaks=self.peaks_of(key, ns),
        )
        return on_host(_framed(thumbnails, is_flat(maps)))

    def peaks_of(self, key: MapKey, ns: Sequence[int]) -> Tensor | None:
        """Return what some maps are divided by, None where each stands for itself."""
        return self.peaks[key][list(ns)].to(self.device) if key in self.peaks else None

    def row_words(self, ns: Sequence[int]) -> list[list[str]]:
        """Return the words that stand left of each of some maps."""
        return [self.words(n) for n in ns]

    def words(self, n: int) -> list[str]:
        """Return a map's class or image, and what the network takes the image for now."""
        gallery, snapshot = self.gallery, self.snapshot
        row, explained = int(snapshot.rows[n]), int(snapshot.classes[n])
        label, name = gallery.label(row), gallery.probe.ids[row]
        if gallery.probe.multi_label:
            known = [gallery.name(explained)] if explained >= 0 else []
            chance = float(snapshot.confidences[row, explained]) if explained >= 0 else math.nan
            return [*known, name, *([f"{chance:.0%}"] if explained >= 0 else [])]
        known = [gallery.name(label if label is not None else explained)]
        lines = [*(known if label is not None or explained >= 0 else []), name]
        predicted = int(snapshot.predictions[row])
        if predicted >= 0:
            chance = float(snapshot.confidences[row])
            wrong = label is not None and predicted != label
            lines += [f"as {gallery.name(predicted)}"] if wrong or label is None else []
            lines += [f"{chance:.0%}{' wrong' if wrong else ''}"]
        return lines


class Peaks:
    """The largest value that each map reached so far: one heat scale over the epochs."""

    def __init__(self) -> None:
        self._so_far: dict[MapKey, Tensor] = {}

    def updated(self, snapshot: Snapshot, history: History) -> dict[MapKey, Tensor]:
        """Return the peaks (N,) by method and layer, this validation's among them.

        What a checkpoint's history holds counts too, so that a resumed run keeps its scale.
        """
        known = [history.first, history.best, history.before, *history.timeline(), snapshot]
        for key, maps in snapshot.maps.items():
            shape = maps.shape
            peaks = [
                each.maps[key].amax(dim=(1, 2)).nan_to_num(0, 0, 0)
                for each in known
                if each is not None and key in each.maps and each.maps[key].shape == shape
            ]
            before = self._so_far.get(key)
            if before is not None and before.shape == peaks[-1].shape:
                peaks.append(before)
            self._so_far[key] = torch.stack(peaks).amax(dim=0)
        return dict(self._so_far)


def evenly(items: Sequence[int], most: int) -> list[int]:
    """Return at most `most` of the items, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def on_host(pictures: Tensor) -> NDArray[np.uint8]:
    """Return pictures as an array."""
    array: NDArray[np.uint8] = pictures.cpu().numpy()
    return array


def _framed(thumbnails: Tensor, flat: Tensor) -> Tensor:
    """Return the thumbnails (B, h, w, 3), those of flat maps with a grey frame."""
    frame = torch.ones(thumbnails.shape[1:3], dtype=torch.bool, device=thumbnails.device)
    frame[2:-2, 2:-2] = False
    return torch.where(flat.view(-1, 1, 1, 1) & frame[None, :, :, None], _FLAT_FRAME, thumbnails)
