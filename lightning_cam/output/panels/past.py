"""What the panels that show several evaluations share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from lightning_cam.output.panels.scene import Scene
    from lightning_cam.output.protocols import Snapshot


def comparable(scene: Scene, snapshot: Snapshot) -> bool:
    """Return whether a snapshot's maps are of the same scores: the number of labels may change.

    Those of earlier evaluations may be smaller than they were: see `History.add`.
    """
    maps = snapshot.maps.get(scene.first)
    return maps is not None and len(maps) == len(scene.maps[scene.first])


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
