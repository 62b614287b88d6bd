"""The same images at several validations: comparison, film strip, animation."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from lightning_cam import render
from lightning_cam.panels.scene import MAX_ROWS, Scene, evenly, on_host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lightning_cam.loggers.base import Picture
    from lightning_cam.monitor import Snapshot

_COMPARED, _STRIP, _FRAME = 128, 96, 96  # longer sides of thumbnails
_FRAMED = 16  # samples of the animation


def comparison(scene: Scene) -> list[Picture]:
    """Return a row a sample, columns image, first, best, previous, now and what changed.

    What does not exist yet is left out, and validations that play several parts stand once.
    """
    key, ns = scene.first, evenly(scene.drawn, MAX_ROWS)
    size = scene.gallery.size(_COMPARED)
    moments = _moments(scene)
    columns, titles = [scene.plain(ns, size)], [["image"]]
    when = _when([snapshot for _, snapshot in moments])
    for (part, snapshot), time in zip(moments, when, strict=True):
        columns.append(scene.heat(key, _maps_of(scene, snapshot), ns, size))
        titles.append([part, time])
    before = scene.history.before
    if before is not None and _same_kind(scene, before):
        columns.append(_change(scene, before, ns, size))
        titles.append(["now - previous", "red more, blue less"])
    heading = f"comparison · {key[0]} at {key[1]}"
    pixels = render.grid(columns, titles, scene.row_words(ns), heading)
    caption = " · ".join(" ".join(title) for title in titles)
    return [scene.gallery.picture("comparison", pixels, caption, scene.snapshot.epoch)]


def _moments(scene: Scene) -> list[tuple[str, Snapshot]]:
    """Return what now is compared with, in order of time, coinciding parts under one name."""
    history = scene.history
    known = np.isfinite(history.best_value)  # else the first stands in for the best
    parts = {
        "first": history.first,
        "best": history.best if known else None,
        "previous": history.before,
        "now": scene.snapshot,
    }
    there = {
        name: each for name, each in parts.items() if each is not None and _same_kind(scene, each)
    }
    joined: dict[int, tuple[list[str], Snapshot]] = {}
    for name, snapshot in there.items():
        joined.setdefault(snapshot.validation, ([], snapshot))[0].append(name)
    moments = [(", ".join(names), snapshot) for names, snapshot in joined.values()]
    return sorted(moments, key=lambda moment: moment[1].validation)


def _change(
    scene: Scene, before: Snapshot, ns: Sequence[int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    maps = [_maps_of(scene, each)[list(ns)].to(scene.device) for each in (before, scene.snapshot)]
    peaks = scene.peaks_of(scene.first, ns)
    images = scene.images(ns, size)
    return on_host(render.difference(images, maps[0], maps[1], size=size, peaks=peaks))


def timeline(scene: Scene) -> list[Picture]:
    """Return the film strip: a row a sample, a column a kept validation."""
    key, ns = scene.first, evenly(scene.drawn, MAX_ROWS)
    size, snapshots = scene.gallery.size(_STRIP), _kept(scene)
    columns = [scene.heat(key, _maps_of(scene, each), ns, size) for each in snapshots]
    words = [lines[:2] for lines in scene.row_words(ns)]
    pixels = render.grid(columns, _when(snapshots), words, f"timeline · {key[0]} at {key[1]}")
    epoch = snapshots[-1].epoch
    return [scene.gallery.picture("timeline", pixels, f"{key[0]} at {key[1]}", epoch)]


def animation(scene: Scene) -> list[Picture]:
    """Return the film itself: a frame a kept validation, the samples side by side."""
    ns, size = evenly(scene.drawn, _FRAMED), scene.gallery.size(_FRAME)
    snapshots = _kept(scene)
    key = scene.first
    frames = np.stack([scene.heat(key, _maps_of(scene, each), ns, size) for each in snapshots])
    method, layer = key
    when = _when(snapshots)
    headings = [f"{time} · {method} at {layer}" for time in when]
    film = render.film(frames, [lines[:1] for lines in scene.row_words(ns)], headings)
    picture = scene.gallery.picture(
        "animation", film[-1], f"{when[0]} to {when[-1]}", scene.snapshot.epoch
    )
    return [dataclasses.replace(picture, frames=film)]


def _kept(scene: Scene) -> list[Snapshot]:
    return [each for each in scene.history.timeline() if _same_kind(scene, each)]


def _same_kind(scene: Scene, snapshot: Snapshot) -> bool:
    """Tell whether a snapshot's maps are of the same scores: their number of labels may change."""
    maps = snapshot.maps.get(scene.first)
    return maps is not None and maps.shape == scene.snapshot.maps[scene.first].shape


def _maps_of(scene: Scene, snapshot: Snapshot) -> Tensor:
    return snapshot.maps[scene.first]


def _when(snapshots: Sequence[Snapshot]) -> list[str]:
    """Return the time of each: its epoch, or its step where an epoch holds several."""
    epochs = [snapshot.epoch for snapshot in snapshots]
    several = len(set(epochs)) < len(epochs)
    return [f"step {s.step}" if several else f"epoch {s.epoch}" for s in snapshots]
