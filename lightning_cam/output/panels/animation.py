"""Panel `animation`: one frame per kept evaluation, the samples side by side."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from lightning_cam import render
from lightning_cam.output.panels.past import kept_snapshots, maps_of, times
from lightning_cam.output.panels.registry import register_panel
from lightning_cam.output.panels.scene import Scene, evenly_spaced

if TYPE_CHECKING:
    from lightning_cam.output.picture import Picture

_SIDE = 96
_MAX_SAMPLES = 16


@register_panel("animation")
def animation(scene: Scene) -> list[Picture]:
    """Return the timeline as frames of an animation."""
    ns, size = (
        evenly_spaced(scene.drawn, _MAX_SAMPLES),
        scene.displayed.thumbnail_size(_SIDE),
    )
    snapshots, key = kept_snapshots(scene), scene.first
    frames = np.stack([scene.heat(key, maps_of(scene, each), ns, size) for each in snapshots])
    when = times(snapshots)
    headings = [f"{time} · {key[0]} at {key[1]}" for time in when]
    captions = [lines[:1] for lines in scene.row_labels(ns)]
    film = render.film(frames, captions, headings)
    caption = f"{when[0]} to {when[-1]}"
    picture = scene.displayed.picture("animation", film[-1], caption, scene.snapshot.epoch)
    return [dataclasses.replace(picture, frames=film)]
