"""`contact_sheet`: a probe's images beside the maps of one evaluation, to look at in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_cam.explain.drawable import title
from lightning_cam.output.panels.scene import DisplayedProbe, PastSnapshots, Scene
from lightning_cam.render import MAX_SHOWN, ContactSheet, picture_size
from lightning_cam.render.contact_sheet import thumbnail_size

if TYPE_CHECKING:
    from lightning_cam.output.protocols import Snapshot

_LONGEST = 144  # pixels of an image; sixteen pairs fit on a screen


def contact_sheet(displayed: DisplayedProbe, snapshot: Snapshot) -> ContactSheet:
    """Return the first images, at most sixteen, beside their maps, with label and prediction.

    Args:
        displayed: the probe's images and text.
        snapshot: maps, predictions and time of an evaluation.
    """
    count = min(MAX_SHOWN, len(snapshot.rows))
    ns = range(count)
    scene = Scene(displayed, snapshot, PastSnapshots(), drawn=ns)
    size = thumbnail_size(*picture_size(*displayed.probe.images.shape[2:]), _LONGEST)
    return ContactSheet(
        images=scene.plain(ns, size),
        maps={title(*key): scene.heat(key, maps, ns, size) for key, maps in scene.maps.items()},
        texts=scene.row_labels(ns),
        heading=f"epoch {snapshot.epoch}",
        left_off=len(snapshot.rows) - count,
    )
