"""Panel `methods`: the maps of several methods and layers side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_cam import render
from lightning_cam.output.panels.registry import register_panel
from lightning_cam.output.panels.scene import MAX_ROWS, Scene, evenly_spaced

if TYPE_CHECKING:
    from lightning_cam.output.picture import Picture

_SIDE = 128


@register_panel("methods", default=True)
def methods(scene: Scene) -> list[Picture]:
    """Return one row per sample, one column per method and layer; nothing for a single map."""
    if len(scene.maps) == 1:
        return []
    ns, size = evenly_spaced(scene.drawn, MAX_ROWS), scene.displayed.thumbnail_size(_SIDE)
    columns, titles = [scene.plain(ns, size)], [["image"]]
    for key, maps in scene.maps.items():
        columns.append(scene.heat(key, maps, ns, size))
        titles.append(list(key))
    heading = f"methods and layers · epoch {scene.snapshot.epoch}"
    pixels = render.grid(columns, titles, scene.row_labels(ns), heading)
    caption = ", ".join(f"{method} at {layer}" for method, layer in scene.maps)
    return [scene.displayed.picture("methods", pixels, caption, scene.snapshot.epoch)]
