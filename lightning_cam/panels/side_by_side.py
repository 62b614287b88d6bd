"""Maps of one validation side by side: several methods, and the samples worth a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lightning_cam import render
from lightning_cam.panels.scene import MAX_ROWS, Scene, evenly

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_cam.loggers.base import Picture

_SIDE, _WORST_SIDE = 128, 160
_WORST = 6


def methods(scene: Scene) -> list[Picture]:
    """Return a row a sample, a column a method and layer; nothing where there is one map only."""
    if len(scene.maps) == 1:
        return []
    ns, size = evenly(scene.drawn, MAX_ROWS), scene.gallery.size(_SIDE)
    columns, titles = [scene.plain(ns, size)], [["image"]]
    for key, maps in scene.maps.items():
        columns.append(scene.heat(key, maps, ns, size))
        titles.append(list(key))
    heading = f"methods and layers · epoch {scene.snapshot.epoch}"
    pixels = render.grid(columns, titles, scene.row_words(ns), heading)
    caption = ", ".join(f"{method} at {layer}" for method, layer in scene.maps)
    return [scene.gallery.picture("methods", pixels, caption, scene.snapshot.epoch)]


def worst(scene: Scene) -> list[Picture]:
    """Return the samples whose attention is furthest off the object, or moved most.

    Without masks the move since the previous validation decides. Nothing where neither is known.
    """
    for name, sign, title in (
        ("enrichment", 1, "least on the object (enrichment: 1 is an even spread)"),
        ("jsd_previous", -1, "moved most (jsd_previous: 0 is the same map, 1 another place)"),
    ):
        values = scene.per_image.get(name)
        if values is None or len(values) != len(scene.snapshot.rows):
            continue
        order = _lowest(sign * values)
        if sign < 0:
            order = [n for n in order if values[n] > 0]
        if order:
            words = [[f"{name} {float(values[n]):.2f}", *scene.words(n)] for n in order]
            return [_worst_of(scene, order, words, title)]
    return []


def _lowest(values: Tensor) -> list[int]:
    known = values.isfinite()
    order = torch.where(known, values, torch.inf).argsort(stable=True)[:_WORST].tolist()
    return [n for n in order if known[n]]


def _worst_of(scene: Scene, ns: list[int], words: list[list[str]], title: str) -> Picture:
    size, key = scene.gallery.size(_WORST_SIDE), scene.first
    plain, heat = scene.plain(ns, size), scene.heat(key, scene.maps[key], ns, size)
    columns = [
        torch.stack([torch.from_numpy(a), torch.from_numpy(b)]).numpy()
        for a, b in zip(plain, heat, strict=True)
    ]
    pixels = render.grid(columns, words, ["", ""], scene.heading(title))
    ids = [scene.gallery.probe.ids[int(scene.snapshot.rows[n])] for n in ns]
    caption = f"{title}: " + ", ".join(f"{i} ({w[0]})" for i, w in zip(ids, words, strict=True))
    return scene.gallery.picture("worst", pixels, caption, scene.snapshot.epoch)
