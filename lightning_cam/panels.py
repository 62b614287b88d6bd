"""The pictures of one validation: what is drawn, under which tag, with which words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_cam import render
from lightning_cam.loggers.base import Picture, safe_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor

    from lightning_cam.monitor import History, Snapshot
    from lightning_cam.monitor.history import MapKey
    from lightning_cam.options import Options
    from lightning_cam.probe import Probe

_THUMBNAIL = 96


def suffix_of(key: MapKey, maps: Mapping[MapKey, Tensor]) -> str:
    """Return what tells further methods and layers apart; the first keeps the plain names."""
    return "" if key == next(iter(maps)) else f"/{key[0]}@{key[1]}"


class Panels:
    """Draws a probe's pictures.

    Args:
        tag: what their names start with.
        probe: whose images are drawn.
        options: how many, in which colours.
    """

    def __init__(self, tag: str, probe: Probe, options: Options) -> None:
        self._tag = tag
        self._probe = probe
        self._options = options
        self._count = min(options.num_pictures, len(probe))
        self._images: Tensor | None = None

    def draw(
        self, maps: Mapping[MapKey, Tensor], snapshot: Snapshot, history: History
    ) -> list[Picture]:
        """Return the pictures of the validation that `snapshot` tells of.

        Args:
            maps: raw maps on the device, by method and layer.
            snapshot: predictions and time of this validation.
            history: with this validation already in it.
        """
        if self._count == 0:
            return []
        pictures: list[Picture] = []
        for key, each in maps.items():
            folder = safe_name(suffix_of(key, maps)[1:]) if suffix_of(key, maps) else ""
            pictures += self._overlays(each[: self._count], snapshot, folder)
        first = next(iter(maps))
        return [*pictures, self._timeline(first, maps[first].device, history)]

    def _shown(self, device: torch.device) -> Tensor:
        """Return the drawn images in display range, kept on the device between validations."""
        if self._images is None or self._images.device != device:
            images = self._probe.images[: self._count].to(device)
            self._images = render.displayable(images, self._probe.mean, self._probe.std)
        return self._images

    def _overlays(self, maps: Tensor, snapshot: Snapshot, folder: str) -> list[Picture]:
        images = self._shown(maps.device)
        foreground = self._probe.foreground
        drawn = render.overlay(
            images,
            maps,
            masks=None if foreground is None else foreground[: len(maps)].to(maps.device),
            size=render.picture_size(images.shape[2], images.shape[3]),
            colormap=self._options.colormap,
            alpha=self._options.alpha,
        )
        pictures = []
        for i, pixels in enumerate(drawn.cpu().numpy()):
            lines = self._caption(i, snapshot)
            place = (self._tag, "overlay", folder, safe_name(self._probe.ids[i]))
            tag = "/".join(part for part in place if part)
            captioned = render.with_caption(pixels, lines)
            pictures.append(Picture(tag, captioned, " · ".join(lines), snapshot.epoch))
        return pictures

    def _caption(self, i: int, snapshot: Snapshot) -> list[str]:
        predicted = self._probe.name_of(int(snapshot.predictions[i]))
        prediction = f"predicted {predicted} {float(snapshot.confidences[i]):.0%}"
        if self._probe.targets is None:
            return [f"epoch {snapshot.epoch}", prediction]
        label = self._probe.name_of(int(self._probe.targets[i]))
        return [f"{label}, epoch {snapshot.epoch}", prediction]

    def _timeline(self, key: MapKey, device: torch.device, history: History) -> Picture:
        images = self._shown(device)
        longest = max(images.shape[2:])
        size = (
            max(1, images.shape[2] * _THUMBNAIL // longest),
            max(1, images.shape[3] * _THUMBNAIL // longest),
        )
        snapshots = [s for s in history.timeline() if key in s.maps]
        columns = [
            render.overlay(
                images,
                snapshot.maps[key][: self._count].to(device),
                size=size,
                colormap=self._options.colormap,
                alpha=self._options.alpha,
            )
            .cpu()
            .numpy()
            for snapshot in snapshots
        ]
        epochs = [snapshot.epoch for snapshot in snapshots]
        several = len(set(epochs)) < len(epochs)  # validations within an epoch
        titles = [f"step {s.step}" if several else f"epoch {s.epoch}" for s in snapshots]
        rows = [self._row_name(i) for i in range(self._count)]
        pixels = render.timeline(columns, titles, rows)
        return Picture(f"{self._tag}/timeline", pixels, f"{key[0]} at {key[1]}", epochs[-1])

    def _row_name(self, i: int) -> str:
        if self._probe.targets is None:
            return self._probe.ids[i]
        return self._probe.name_of(int(self._probe.targets[i]))
