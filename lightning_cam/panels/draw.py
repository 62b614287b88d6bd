"""`Panels`: from one validation to all its pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lightning_cam.panels.classes import classes
from lightning_cam.panels.inside import features, preferences
from lightning_cam.panels.over_time import animation, comparison, timeline
from lightning_cam.panels.overlays import overlays
from lightning_cam.panels.scene import Gallery, Peaks, Scene
from lightning_cam.panels.side_by_side import methods, worst

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_cam.explain.features import FeatureMaps
    from lightning_cam.explain.preferences import Preferences
    from lightning_cam.loggers.base import Picture
    from lightning_cam.monitor import History, Snapshot
    from lightning_cam.monitor.history import MapKey
    from lightning_cam.options import Options
    from lightning_cam.probe import Probe

_DRAWN_BY: dict[str, Callable[[Scene], list[Picture]]] = {
    "overlay": overlays,
    "timeline": timeline,
    "comparison": comparison,
    "methods": methods,
    "worst": worst,
    "classes": classes,
    "animation": animation,
    "features": features,
    "preferences": preferences,
}


class Panels:
    """Draws a probe's pictures.

    Args:
        tag: what their names start with.
        probe: whose images are drawn.
        options: which panels, how many images, in which colours.
    """

    def __init__(self, tag: str, probe: Probe, options: Options) -> None:
        self._gallery = Gallery(tag, probe, options)
        self._peaks = Peaks()

    def draw(
        self,
        maps: Mapping[MapKey, Tensor],
        snapshot: Snapshot,
        history: History,
        *,
        per_image: Mapping[str, Tensor] | None = None,
        features: Mapping[str, FeatureMaps] | None = None,
        preferences: Preferences | None = None,
    ) -> list[Picture]:
        """Return the pictures of the validation that `snapshot` tells of.

        Args:
            maps: raw maps on the device, by method and layer.
            snapshot: predictions and time of this validation.
            history: with this validation already in it.
            per_image: metrics of the first map by name, (N,) each; the panel of the worst samples
                is chosen by them and left out without.
            features: feature maps by layer, of the probe's first images; none to leave that panel
                out at this validation.
            preferences: what filters and classes prefer; None to leave that panel out.
        """
        gallery = self._gallery
        drawn = [n for n, row in enumerate(snapshot.rows.tolist()) if row < gallery.count]
        if gallery.count == 0 or not drawn:
            return []
        by_run = gallery.options.scale == "run"
        scene = Scene(
            gallery=gallery,
            maps=maps,
            snapshot=snapshot,
            history=history,
            drawn=drawn,
            peaks=self._peaks.updated(snapshot, history) if by_run else {},
            per_image=per_image or {},
            features=features or {},
            preferences=preferences,
        )
        return [
            picture for name in gallery.options.shown_panels for picture in _DRAWN_BY[name](scene)
        ]
