"""What the panels that show several evaluations share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_cam.metrics.shape import reduced_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from lightning_cam.output.panels.scene import Scene
    from lightning_cam.output.protocols import Snapshot


def comparable(scene: Scene, snapshot: Snapshot) -> bool:
    """Return whether a snapshot's maps are of the same scores: the number of labels may change.

    Those of earlier evaluations may be smaller than they were: see `reduced`.
    """
    maps, now = snapshot.maps.get(scene.first), scene.maps[scene.first]
    if maps is None or len(maps) != len(now):
        return False
    size = (now.shape[1], now.shape[2])
    return tuple(maps.shape[1:]) in (size, reduced_size(*size))


def kept_snapshots(scene: Scene) -> list[Snapshot]:
    """Return the snapshots of the timeline that can be compared."""
    return [each for each in scene.past.timeline if comparable(scene, each)]


def maps_of(scene: Scene, snapshot: Snapshot) -> Tensor:
    """Return the first map of a snapshot, (N, h, w)."""
    return snapshot.maps[scene.first]


def times(snapshots: Sequence[Snapshot]) -> list[str]:
    """Return each snapshot's epoch, or its step where one epoch holds several."""
    epochs = [snapshot.epoch for snapshot in snapshots]
    several = len(set(epochs)) < len(epochs)
    return [f"step {s.step}" if several else f"epoch {s.epoch}" for s in snapshots]
