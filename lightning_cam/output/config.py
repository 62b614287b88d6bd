"""`OutputConfig`: what is drawn and written, with every default and its check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lightning_cam.explain.activation_maximization import check_activation_target
from lightning_cam.explain.features import check_channels
from lightning_cam.output.panels import PANELS
from lightning_cam.render.colormaps import check_alpha, check_colormap
from lightning_cam.runtime.checks import check_count, check_type
from lightning_cam.runtime.messages import unknown_name

if TYPE_CHECKING:
    from lightning_cam.explain.activation_maximization import ActivationTarget
    from lightning_cam.explain.layers import LayersLike


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """What is drawn and written: arguments of `CAMCallback` and `CAMMonitor` of the same names."""

    num_pictures: int = 16
    colormap: str = "turbo"
    alpha: float = 0.7
    panels: Sequence[str] | None = None
    scale: Literal["image", "run"] = "image"
    feature_layers: LayersLike | None = None
    feature_channels: int | Sequence[int] = 8
    activation_maximization: Sequence[ActivationTarget] | None = None
    slow_panels_every: int = 5
    report: bool = True

    def __post_init__(self) -> None:
        check_count("num_pictures", self.num_pictures, least=0)
        check_colormap(self.colormap)
        check_alpha(self.alpha)
        if isinstance(self.panels, str):
            raise TypeError(f"expected panels as a list of names, got {self.panels!r}")
        for name in self.panels or ():
            if name not in PANELS:
                raise ValueError(unknown_name("panel", name, PANELS))
        if self.scale not in ("image", "run"):
            raise ValueError(f"expected scale 'image' or 'run', got {self.scale!r}")
        check_channels(self.feature_channels)
        for target in self.activation_maximization or ():
            check_activation_target(target)
        check_count("slow_panels_every", self.slow_panels_every)
        check_type("report", self.report, bool)

    @property
    def panel_names(self) -> tuple[str, ...]:
        """The panels that are drawn, in order, each once."""
        default = [panel.name for panel in PANELS.values() if panel.default]
        return tuple(dict.fromkeys(default if self.panels is None else self.panels))

    def slow_panels_due(self, count: int) -> tuple[str, ...]:
        """Return the slow panels to draw at an evaluation that `count` others came before."""
        due = count % self.slow_panels_every == 0
        return tuple(name for name in self.panel_names if due and PANELS[name].slow)
