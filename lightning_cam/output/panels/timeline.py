"""Panel `timeline`: one row per sample, one column per kept evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_cam import render
from lightning_cam.output.panels.past import kept_snapshots, maps_of, times
from lightning_cam.output.panels.registry import register_panel
from lightning_cam.output.panels.scene import MAX_ROWS, Scene, evenly_spaced

if TYPE_CHECKING:
    from lightning_cam.output.picture import Picture

_SIDE = 96


@register_panel("timeline", default=True)
def timeline(scene: Scene) -> list[Picture]:
    """Return the first map of some samples at some evaluations, evenly spaced in time."""
    key, ns = scene.first, evenly_spaced(scene.drawn, MAX_ROWS)
    size, snapshots = scene.displayed.thumbnail_size(_SIDE), kept_snapshots(scene)
    columns = [scene.heat(key, maps_of(scene, each), ns, size) for each in snapshots]
    labels = [lines[:2] for lines in scene.row_labels(ns)]
    title = f"{key[0]} at {key[1]}"
    pixels = render.grid(columns, times(snapshots), labels, f"timeline · {title}")
    return [scene.displayed.picture("timeline", pixels, title, snapshots[-1].epoch)]
