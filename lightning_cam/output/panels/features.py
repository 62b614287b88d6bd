"""Panel `features`: channels of a layer over some images."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch

from lightning_cam import render
from lightning_cam.output.panels.registry import register_panel
from lightning_cam.output.panels.scene import Scene, on_host
from lightning_cam.runtime.files import safe_name

if TYPE_CHECKING:
    from lightning_cam.explain.features import FeatureMaps
    from lightning_cam.output.picture import Picture

_SIDE = 96


@register_panel("features", slow=True)
def features(scene: Scene) -> list[Picture]:
    """Return one image per layer: one row per sample, one column per channel, each in its scale."""
    return [_layer(scene, layer, found) for layer, found in scene.features.items()]


def _layer(scene: Scene, layer: str, found: FeatureMaps) -> Picture:
    displayed, size = scene.displayed, scene.displayed.thumbnail_size(_SIDE)
    rows = torch.arange(len(found.maps))
    images = on_host(render.plain(displayed.images(rows, found.maps.device, size), size))
    drawn = on_host(render.feature_pictures(found.maps, size))
    columns = [images, *np.moveaxis(drawn, 1, 0)]
    titles = [["image"]]
    for i, channel in enumerate(found.channels):
        low, high = float(found.maps[:, i].min()), float(found.maps[:, i].max())
        titles.append([f"channel {channel}", f"{min(low, 0.0):.2g} to {high:.2g}"])
    labels = [_row_label(scene, row) for row in rows.tolist()]
    epoch = scene.snapshot.epoch
    shown = f"{len(found.channels)} of {found.total} channels"
    heading = f"features of {layer} · {shown} · epoch {epoch}"
    pixels = render.grid(columns, titles, labels, heading)
    picture = displayed.picture(f"features/{safe_name(layer)}", pixels, heading, epoch)
    return dataclasses.replace(picture, group=f"{displayed.tag}/features")


def _row_label(scene: Scene, row: int) -> list[str]:
    label, name = scene.displayed.label(row), scene.displayed.probe.ids[row]
    return [name] if label is None else [scene.displayed.class_name(label), name]
