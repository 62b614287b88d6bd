"""Panel `comparison`: first, best, previous and current maps, and what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_cam import render
from lightning_cam.metrics.shape import reduced
from lightning_cam.output.panels.past import comparable, maps_of, times
from lightning_cam.output.panels.registry import register_panel
from lightning_cam.output.panels.scene import MAX_ROWS, Scene, evenly_spaced, on_host

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from lightning_cam.output.picture import Picture
    from lightning_cam.output.protocols import Snapshot

_SIDE = 128


@register_panel("comparison", default=True)
def comparison(scene: Scene) -> list[Picture]:
    """Return one row per sample with columns image, first, best, previous, now and the change.

    Columns that do not exist yet are left out; an evaluation that is both first and best is shown
    once.
    """
    key, ns = scene.first, evenly_spaced(scene.drawn, MAX_ROWS)
    size = scene.displayed.thumbnail_size(_SIDE)
    compared = _compared(scene)
    columns, titles = [scene.plain(ns, size)], [["image"]]
    when = times([snapshot for _, snapshot in compared])
    for (role, snapshot), time in zip(compared, when, strict=True):
        columns.append(scene.heat(key, maps_of(scene, snapshot), ns, size))
        titles.append([role, time])
    previous = scene.past.previous
    if previous is not None and comparable(scene, previous):
        columns.append(_change(scene, previous, ns, size))
        titles.append(["now - previous", "red more, blue less"])
    heading = f"comparison · {key[0]} at {key[1]}"
    pixels = render.grid(columns, titles, scene.row_labels(ns), heading)
    caption = " · ".join(" ".join(title) for title in titles)
    return [scene.displayed.picture("comparison", pixels, caption, scene.snapshot.epoch)]


def _compared(scene: Scene) -> list[tuple[str, Snapshot]]:
    """Return the evaluations with their roles in order of time, coinciding roles joined."""
    past = scene.past
    roles = {
        "first": past.first,
        "best": past.best,
        "previous": past.previous,
        "now": scene.snapshot,
    }
    joined: dict[int, tuple[list[str], Snapshot]] = {}
    for role, snapshot in roles.items():
        if snapshot is not None and comparable(scene, snapshot):
            joined.setdefault(snapshot.index, ([], snapshot))[0].append(role)
    compared = [(", ".join(names), snapshot) for names, snapshot in joined.values()]
    return sorted(compared, key=lambda each: each[1].index)


def _change(
    scene: Scene, previous: Snapshot, ns: Sequence[int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    before, now = (
        reduced(maps_of(scene, each)[list(ns)]).to(scene.device)
        for each in (previous, scene.snapshot)
    )
    peaks = scene.peaks_of(scene.first, ns)
    images = scene.images(ns, size)
    return on_host(render.difference(images, before, now, size=size, peaks=peaks))
