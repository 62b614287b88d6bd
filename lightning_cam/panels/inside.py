"""What happens inside: feature maps of layers, and what filters and classes prefer."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch

from lightning_cam import render
from lightning_cam.loggers.base import safe_name
from lightning_cam.panels.scene import Scene, on_host

if TYPE_CHECKING:
    from lightning_cam.explain.features import FeatureMaps
    from lightning_cam.loggers.base import Picture

_FEATURE_SIDE, _PREFERRED_SIDE = 96, 128


def features(scene: Scene) -> list[Picture]:
    """Return a picture a layer: a row an image, a column a channel; each channel has its scale."""
    return [_layer(scene, layer, found) for layer, found in scene.features.items()]


def _layer(scene: Scene, layer: str, found: FeatureMaps) -> Picture:
    gallery, size = scene.gallery, scene.gallery.size(_FEATURE_SIDE)
    rows = torch.arange(len(found.maps))
    images = on_host(render.plain(gallery.images(rows, found.maps.device, size), size))
    drawn = on_host(render.feature_pictures(found.maps, size))
    columns = [images, *np.moveaxis(drawn, 1, 0)]
    titles = [["image"]]
    for i, channel in enumerate(found.channels):
        low, high = float(found.maps[:, i].min()), float(found.maps[:, i].max())
        titles.append([f"channel {channel}", f"{min(low, 0.0):.2g} to {high:.2g}"])
    words = [_row_name(scene, row) for row in rows.tolist()]
    epoch = scene.snapshot.epoch
    shown = f"{len(found.channels)} of {found.total} channels"
    heading = f"features of {layer} · {shown} · epoch {epoch}"
    pixels = render.grid(columns, titles, words, heading)
    picture = gallery.picture(f"features/{safe_name(layer)}", pixels, heading, epoch)
    return dataclasses.replace(picture, group=f"{gallery.tag}/features")


def _row_name(scene: Scene, row: int) -> list[str]:
    label, name = scene.gallery.label(row), scene.gallery.probe.ids[row]
    return [name] if label is None else [scene.gallery.name(label), name]


def preferences(scene: Scene) -> list[Picture]:
    """Return the images that classes and channels respond to most, and how much they do."""
    found = scene.preferences
    if found is None or not len(found.images):
        return []
    gallery, epoch = scene.gallery, scene.snapshot.epoch
    size = gallery.size(_PREFERRED_SIDE)
    shown = render.displayable(found.images, *gallery.scale)
    drawn = on_host(render.plain(shown, size))
    words = []
    for wanted, before, after in zip(found.wanted, found.before, found.after, strict=True):
        name = gallery.name(wanted) if isinstance(wanted, int) else wanted
        words.append([name, f"score {before:.2g} to {after:.2g}"])
    heading = f"preferred images, by gradient ascent · epoch {epoch}"
    pixels = render.tiles(drawn, words, heading)
    return [gallery.picture("preferences", pixels, heading, epoch)]
