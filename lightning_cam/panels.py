"""The pictures of one validation: what is drawn, under which tag, with which words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_cam import render
from lightning_cam.loggers.base import Picture, safe_name
from lightning_cam.metrics import is_flat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightning_cam.monitor import History, Snapshot
    from lightning_cam.monitor.history import MapKey
    from lightning_cam.options import Options
    from lightning_cam.probe import Probe

_THUMBNAIL = 96
_TIMELINE_ROWS = 8
_FLAT_FRAME = 128  # grey: nothing to show here


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
        drawn = [n for n, row in enumerate(snapshot.rows.tolist()) if row < self._count]
        if not drawn:
            return []
        pictures: list[Picture] = []
        for key, each in maps.items():
            folder = safe_name(suffix_of(key, maps)[1:]) if suffix_of(key, maps) else ""
            pictures += self._overlays(each[drawn], drawn, snapshot, folder)
        first = next(iter(maps))
        return [*pictures, self._timeline(first, drawn, maps[first].device, history)]

    def _shown(self, device: torch.device) -> Tensor:
        """Return the drawn images in display range, kept on the device between validations."""
        if self._images is None or self._images.device != device:
            images = self._probe.images[: self._count].to(device)
            self._images = render.displayable(images, self._probe.mean, self._probe.std)
        return self._images

    def _overlays(
        self, maps: Tensor, drawn: Sequence[int], snapshot: Snapshot, folder: str
    ) -> list[Picture]:
        rows = snapshot.rows[list(drawn)]
        images = self._shown(maps.device)[rows.to(maps.device)]
        foreground = self._probe.foreground
        pixels_BHW3 = render.overlay(
            images,
            maps,
            masks=None if foreground is None else foreground[rows].to(maps.device),
            size=render.picture_size(images.shape[2], images.shape[3]),
            colormap=self._options.colormap,
            alpha=self._options.alpha,
        )
        pictures = []
        flat = is_flat(maps).tolist()
        for n, pixels, empty in zip(drawn, pixels_BHW3.cpu().numpy(), flat, strict=True):
            lines = self._caption(n, snapshot, empty=empty)
            place = (self._tag, "overlay", folder, self._place(n, snapshot))
            captioned = render.with_caption(pixels, lines)
            tag = "/".join(part for part in place if part)
            pictures.append(Picture(tag, captioned, " · ".join(lines), snapshot.epoch))
        return pictures

    def _place(self, n: int, snapshot: Snapshot) -> str:
        """Return the last part of a map's tag: the image, and the class where it has several."""
        row = int(snapshot.rows[n])
        name = safe_name(self._probe.ids[row])
        same = (snapshot.rows == row).nonzero()[:, 0].tolist()
        if len(same) == 1 and not self._probe.multi_label:
            return name
        label = safe_name(self._probe.name_of(int(snapshot.classes[n])))
        twins = [m for m in same if snapshot.classes[m] == snapshot.classes[n]]
        return f"{name}/{label}" + (f"-{twins.index(n)}" if len(twins) > 1 else "")

    def _caption(self, n: int, snapshot: Snapshot, *, empty: bool) -> list[str]:
        """Return label, prediction, and last, where no long name cuts them off, the figures."""
        row, explained = int(snapshot.rows[n]), int(snapshot.classes[n])
        lines, figures = [], [f"epoch {snapshot.epoch}"]
        if self._probe.multi_label:
            lines.append(f"label {self._name(explained)}" if explained >= 0 else "all labels")
            if explained >= 0:
                figures.append(f"{float(snapshot.confidences[row, explained]):.0%}")
        else:
            label, predicted = self._label(row), int(snapshot.predictions[row])
            if label is not None or explained >= 0:
                lines.append(
                    f"label {self._name(label)}" if label is not None else self._name(explained)
                )
            if predicted >= 0:
                lines.append(f"predicted {self._name(predicted)}")
                figures.append(f"{float(snapshot.confidences[row]):.0%}")
                figures += ["wrong"] if label is not None and predicted != label else []
        return [*lines, " · ".join(figures), *(["no evidence"] if empty else [])]

    def _name(self, label: int) -> str:
        return self._probe.name_of(label)

    def _label(self, row: int) -> int | None:
        """Return an image's label, None where there is none or several."""
        targets = self._probe.targets
        return None if targets is None or self._probe.multi_label else int(targets[row])

    def _timeline(
        self, key: MapKey, drawn: Sequence[int], device: torch.device, history: History
    ) -> Picture:
        latest = history.timeline()[-1]
        drawn = evenly(drawn, _TIMELINE_ROWS)
        images = self._shown(device)[latest.rows[list(drawn)].to(device)]
        longest = max(images.shape[2:])
        size = (
            max(1, images.shape[2] * _THUMBNAIL // longest),
            max(1, images.shape[3] * _THUMBNAIL // longest),
        )
        shape = latest.maps[key].shape  # of other maps (another number of labels) it tells nothing
        snapshots = [s for s in history.timeline() if key in s.maps and s.maps[key].shape == shape]
        columns = []
        for snapshot in snapshots:
            maps = snapshot.maps[key][list(drawn)].to(device)
            thumbnails = render.overlay(
                images,
                maps,
                size=size,
                colormap=self._options.colormap,
                alpha=self._options.alpha,
            )
            columns.append(_framed(thumbnails, is_flat(maps)).cpu().numpy())
        epochs = [snapshot.epoch for snapshot in snapshots]
        several = len(set(epochs)) < len(epochs)  # validations within an epoch
        titles = [f"step {s.step}" if several else f"epoch {s.epoch}" for s in snapshots]
        rows = [self._row_name(n, latest) for n in drawn]
        pixels = render.timeline(columns, titles, rows)
        return Picture(f"{self._tag}/timeline", pixels, f"{key[0]} at {key[1]}", epochs[-1])

    def _row_name(self, n: int, snapshot: Snapshot) -> str:
        row, explained = int(snapshot.rows[n]), int(snapshot.classes[n])
        label = self._label(row)
        if label is not None:
            return self._name(label)
        return self._name(explained) if explained >= 0 else self._probe.ids[row]


def evenly(items: Sequence[int], most: int) -> list[int]:
    """Return at most `most` of the items, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _framed(thumbnails: Tensor, flat: Tensor) -> Tensor:
    """Return the thumbnails (B, h, w, 3), those of flat maps with a grey frame."""
    frame = torch.ones(thumbnails.shape[1:3], dtype=torch.bool, device=thumbnails.device)
    frame[2:-2, 2:-2] = False
    return torch.where(flat.view(-1, 1, 1, 1) & frame[None, :, :, None], _FLAT_FRAME, thumbnails)
