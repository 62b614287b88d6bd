"""`Scene`: what all panels draw from, the probe's images and text and one evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lightning_cam import render
from lightning_cam.metrics import is_flat
from lightning_cam.output.picture import Picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lightning_cam.explain.activation_maximization import MaximizedActivations
    from lightning_cam.explain.features import FeatureMaps
    from lightning_cam.output.config import OutputConfig
    from lightning_cam.output.protocols import MapKey, Snapshot
    from lightning_cam.probe import Probe

MAX_ROWS = 8  # samples in an image that compares columns
_GREY = 128  # frame of flat maps


def suffix_of(key: MapKey, maps: Mapping[MapKey, Tensor]) -> str:
    """Return what tells further methods and layers apart; the first has the plain names."""
    return "" if key == next(iter(maps)) else f"/{key[0]}@{key[1]}"


class DisplayedProbe:
    """A probe's images as they are displayed, and its text; the same through the whole training.

    Args:
        tag: what the names of the images start with.
        probe: whose images are drawn.
        config: how many are drawn, in which colours.
    """

    def __init__(self, tag: str, probe: Probe, config: OutputConfig) -> None:
        self.tag = tag
        self.probe = probe
        self.config = config
        self.count = min(config.num_pictures, len(probe))
        self._scale: tuple[Sequence[float] | None, Sequence[float] | None] | None = None
        self._resized: dict[tuple[torch.device, tuple[int, int]], Tensor] = {}

    def images(self, rows: Tensor, device: torch.device, size: tuple[int, int]) -> Tensor:
        """Return images in display range at a size, (n, 3, h, w); the drawn ones are cached."""
        if int(rows.max()) >= self.count:
            return self._at_size(rows, device, size)
        key = (device, size)
        if key not in self._resized:
            self._resized = {k: v for k, v in self._resized.items() if k[0] == device}
            self._resized[key] = self._at_size(torch.arange(self.count), device, size)
        return self._resized[key][rows.to(device)]

    def _at_size(self, rows: Tensor, device: torch.device, size: tuple[int, int]) -> Tensor:
        displayed = render.displayable(self.probe.images[rows].to(device), *self.scale)
        # Channels last, as the finished images are, so that nothing is reordered later.
        return render.resized(displayed, size).contiguous(memory_format=torch.channels_last)

    @property
    def scale(self) -> tuple[Sequence[float] | None, Sequence[float] | None]:
        """Mean and standard deviation that bring the model's input into 0 to 1."""
        if self._scale is None:
            images = self.probe.images
            low, high = float(images.min()), float(images.max())
            known = self.probe.mean is not None or (low >= 0 and high <= 1)
            channels = images.shape[1]
            span = max(high - low, torch.finfo(torch.float32).tiny)
            # `displayable` computes x * std + mean, here (x - low) / span.
            stretch = ([-low / span] * channels, [1 / span] * channels)
            self._scale = (self.probe.mean, self.probe.std) if known else stretch
        return self._scale

    def masks(self, rows: Tensor, device: torch.device) -> Tensor | None:
        """Return the objects' masks of some images, (n, H, W) bool, or None."""
        foreground = self.probe.foreground
        return None if foreground is None else foreground[rows].to(device)

    def thumbnail_size(self, longest: int) -> tuple[int, int]:
        """Return height and width of thumbnails whose longer side is `longest`."""
        height, width = self.probe.images.shape[2:]
        most = max(height, width)
        return max(1, height * longest // most), max(1, width * longest // most)

    def class_name(self, label: int) -> str:
        """Return a class's name, with its index where the font has none of the letters."""
        name = self.probe.name_of(label)
        return name if render.legible(name) or label < 0 else f"class {label} {name}".rstrip()

    def label(self, row: int) -> int | None:
        """Return an image's label, None where it has none or several."""
        targets = self.probe.targets
        return None if targets is None or self.probe.multi_label else int(targets[row])

    def picture(self, name: str, pixels: NDArray[np.uint8], caption: str, epoch: int) -> Picture:
        """Return a finished panel under this probe's tag."""
        return Picture(f"{self.tag}/{name}", pixels, caption, epoch)


@dataclass(frozen=True)
class PastSnapshots:
    """The evaluations that panels compare with, the drawn one among them.

    Attributes:
        first: the first evaluation.
        best: the one with the best monitored value, None where no value is known.
        previous: the one before the drawn one.
        timeline: some evaluations, evenly spaced, the drawn one last.
    """

    first: Snapshot | None = None
    best: Snapshot | None = None
    previous: Snapshot | None = None
    timeline: Sequence[Snapshot] = ()

    def all(self) -> list[Snapshot]:
        """Return all of them."""
        known = [self.first, self.best, self.previous, *self.timeline]
        return [each for each in known if each is not None]


@dataclass(frozen=True)
class Scene:
    """One evaluation, ready to be drawn.

    Attributes:
        displayed: the probe's images and text.
        snapshot: maps, predictions and time.
        past: earlier evaluations.
        drawn: indices of the maps whose images get overlays of their own.
        peaks: largest value of each map so far by method and layer; empty to scale each by itself.
        per_image: metrics of the first map by name.
        features: feature maps by layer, of the probe's first images.
        activations: images that maximise classes and channels, or None.
    """

    displayed: DisplayedProbe
    snapshot: Snapshot
    past: PastSnapshots
    drawn: Sequence[int]
    peaks: Mapping[MapKey, Tensor] = field(default_factory=dict)
    per_image: Mapping[str, Tensor] = field(default_factory=dict)
    features: Mapping[str, FeatureMaps] = field(default_factory=dict)
    activations: MaximizedActivations | None = None

    @property
    def maps(self) -> Mapping[MapKey, Tensor]:
        """Raw maps (N, h, w) by method and layer."""
        return self.snapshot.maps

    @property
    def first(self) -> MapKey:
        """The method and layer that panels of one map show."""
        return next(iter(self.maps))

    @property
    def device(self) -> torch.device:
        """Where images are drawn."""
        return self.maps[self.first].device

    def heading(self, text: str) -> str:
        """Return the line above a panel."""
        method, layer = self.first
        return f"{text} · {method} at {layer} · epoch {self.snapshot.epoch}"

    def rows(self, ns: Sequence[int]) -> Tensor:
        """Return the images that some maps belong to."""
        return self.snapshot.rows[list(ns)]

    def images(self, ns: Sequence[int], size: tuple[int, int]) -> Tensor:
        """Return the images of some maps, (n, 3, h, w) in 0 to 1."""
        return self.displayed.images(self.rows(ns), self.device, size)

    def plain(self, ns: Sequence[int], size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the images of some maps as thumbnails, with the outlines of their objects."""
        masks = self.displayed.masks(self.rows(ns), self.device)
        return on_host(render.plain(self.images(ns, size), size, masks))

    def heat(
        self, key: MapKey, maps: Tensor, ns: Sequence[int], size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Return some maps of an evaluation over their images, flat ones in a grey frame."""
        config = self.displayed.config
        maps = maps[list(ns)].to(self.device)
        thumbnails = render.overlay(
            self.images(ns, size),
            maps,
            size=size,
            colormap=config.colormap,
            alpha=config.alpha,
            peaks=self.peaks_of(key, ns),
        )
        return on_host(_framed(thumbnails, is_flat(maps)))

    def peaks_of(self, key: MapKey, ns: Sequence[int]) -> Tensor | None:
        """Return what some maps are divided by, None where each is scaled by itself."""
        return self.peaks[key][list(ns)].to(self.device) if key in self.peaks else None

    def row_labels(self, ns: Sequence[int]) -> list[list[str]]:
        """Return the text beside each of some maps."""
        return [self.text_of(n) for n in ns]

    def text_of(self, n: int) -> list[str]:
        """Return a map's class or image, and the network's prediction now, one line each."""
        displayed, snapshot = self.displayed, self.snapshot
        row, explained = int(snapshot.rows[n]), int(snapshot.classes[n])
        label, name = displayed.label(row), displayed.probe.ids[row]
        if displayed.probe.multi_label:
            known = [displayed.class_name(explained)] if explained >= 0 else []
            confidence = float(snapshot.confidences[row, explained]) if explained >= 0 else math.nan
            return [*known, name, *([f"{confidence:.0%}"] if explained >= 0 else [])]
        known = [displayed.class_name(label if label is not None else explained)]
        lines = [*(known if label is not None or explained >= 0 else []), name]
        predicted = int(snapshot.predictions[row])
        if predicted >= 0:
            confidence = float(snapshot.confidences[row])
            wrong = label is not None and predicted != label
            lines += [f"as {displayed.class_name(predicted)}"] if wrong or label is None else []
            lines += [f"{confidence:.0%}{' wrong' if wrong else ''}"]
        return lines


class Peaks:
    """The largest value that each map has reached so far: one heat scale over all epochs."""

    def __init__(self) -> None:
        self._so_far: dict[MapKey, Tensor] = {}

    def update(self, snapshot: Snapshot, past: PastSnapshots) -> dict[MapKey, Tensor]:
        """Return the peaks (N,) by method and layer, this evaluation's among them.

        Evaluations that a checkpoint remembers count too, so that a resumed run keeps its scale.
        """
        for key, maps in snapshot.maps.items():
            peaks = [
                each.maps[key].amax(dim=(1, 2)).nan_to_num(0, 0, 0)
                for each in [*past.all(), snapshot]
                if key in each.maps and len(each.maps[key]) == len(maps)
            ]
            before = self._so_far.get(key)
            if before is not None and before.shape == peaks[-1].shape:
                peaks.append(before)
            self._so_far[key] = torch.stack(peaks).amax(dim=0)
        return dict(self._so_far)


def evenly_spaced(items: Sequence[int], most: int) -> list[int]:
    """Return at most `most` of the items, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def on_host(images: Tensor) -> NDArray[np.uint8]:
    """Return images as an array."""
    array: NDArray[np.uint8] = images.cpu().numpy()
    return array


def _framed(thumbnails: Tensor, flat: Tensor) -> Tensor:
    """Return the thumbnails (B, h, w, 3), those of flat maps with a grey frame."""
    framed = thumbnails[flat]
    for side in (framed[:, :2], framed[:, -2:], framed[:, :, :2], framed[:, :, -2:]):
        side.fill_(_GREY)
    thumbnails[flat] = framed
    return thumbnails
