"""`PanelRenderer`: from one evaluation to all its images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lightning_cam.output.panels.registry import PANELS
from lightning_cam.output.panels.scene import DisplayedProbe, PastSnapshots, Peaks, Scene

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_cam.explain.activation_maximization import MaximizedActivations
    from lightning_cam.explain.features import FeatureMaps
    from lightning_cam.output.config import OutputConfig
    from lightning_cam.output.picture import Picture
    from lightning_cam.output.protocols import Snapshot
    from lightning_cam.probe import Probe


class PanelRenderer:
    """Draws the panels of one probe.

    Args:
        tag: what the names of the images start with.
        probe: whose images are drawn.
        config: which panels, how many images, in which colours.
    """

    def __init__(self, tag: str, probe: Probe, config: OutputConfig) -> None:
        self._displayed = DisplayedProbe(tag, probe, config)
        self._peaks = Peaks()

    def draw(
        self,
        snapshot: Snapshot,
        past: PastSnapshots,
        *,
        per_image: Mapping[str, Tensor] | None = None,
        features: Mapping[str, FeatureMaps] | None = None,
        activations: MaximizedActivations | None = None,
    ) -> list[Picture]:
        """Return the images of one evaluation.

        Args:
            snapshot: its maps, predictions and time.
            past: the evaluations to compare with, this one last in the timeline.
            per_image: metrics of the first map by name, (N,) each; the panel of the worst samples
                is chosen by them and left out without.
            features: feature maps by layer, of the probe's first images; empty to leave that panel
                out.
            activations: images that maximise classes and channels; None to leave that panel out.
        """
        displayed = self._displayed
        drawn = [n for n, row in enumerate(snapshot.rows.tolist()) if row < displayed.count]
        if displayed.count == 0 or not drawn:
            return []
        by_run = displayed.config.scale == "run"
        scene = Scene(
            displayed=displayed,
            snapshot=snapshot,
            past=past,
            drawn=drawn,
            peaks=self._peaks.update(snapshot, past) if by_run else {},
            per_image=per_image or {},
            features=features or {},
            activations=activations,
        )
        names = displayed.config.panel_names
        return [picture for name in names for picture in PANELS[name].draw(scene)]
