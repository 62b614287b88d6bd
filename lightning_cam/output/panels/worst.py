"""Panel `worst`: the samples whose attention is furthest off the object, or moved most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lightning_cam import render
from lightning_cam.output.panels.registry import register_panel
from lightning_cam.output.panels.scene import Scene

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_cam.output.picture import Picture

_SIDE = 160
_COUNT = 6


@register_panel("worst", default=True)
def worst(scene: Scene) -> list[Picture]:
    """Return the samples with the lowest enrichment.

    Without masks those whose map moved most since the previous evaluation; nothing where neither is
    known.
    """
    for name, sign, title in (
        ("enrichment", 1, "least on the object (enrichment: 1 is an even spread)"),
        ("jsd_previous", -1, "moved most (jsd_previous: 0 is the same map, 1 a disjoint one)"),
    ):
        values = scene.per_image.get(name)
        if values is None or len(values) != len(scene.snapshot.rows):
            continue
        order = _lowest(sign * values)
        if sign < 0:
            order = [n for n in order if values[n] > 0]
        if order:
            labels = [[f"{name} {float(values[n]):.2f}", *scene.text_of(n)] for n in order]
            return [_picture(scene, order, labels, title)]
    return []


def _lowest(values: Tensor) -> list[int]:
    known = values.isfinite()
    order = torch.where(known, values, torch.inf).argsort(stable=True)[:_COUNT].tolist()
    return [n for n in order if known[n]]


def _picture(scene: Scene, ns: list[int], labels: list[list[str]], title: str) -> Picture:
    size, key = scene.displayed.thumbnail_size(_SIDE), scene.first
    plain, heat = scene.plain(ns, size), scene.heat(key, scene.maps[key], ns, size)
    columns = [
        torch.stack([torch.from_numpy(a), torch.from_numpy(b)]).numpy()
        for a, b in zip(plain, heat, strict=True)
    ]
    pixels = render.grid(columns, labels, ["", ""], scene.heading(title))
    ids = [scene.displayed.probe.ids[int(scene.snapshot.rows[n])] for n in ns]
    listed = ", ".join(f"{i} ({lines[0]})" for i, lines in zip(ids, labels, strict=True))
    return scene.displayed.picture("worst", pixels, f"{title}: {listed}", scene.snapshot.epoch)
