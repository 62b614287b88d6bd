"""The choices that a watch is made with, checked when they are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lightning_cam._messages import unknown
from lightning_cam.explain.features import check_channels
from lightning_cam.explain.layers import LayersLike
from lightning_cam.explain.methods import resolve_methods
from lightning_cam.explain.preferences import Wanted, check_preferred
from lightning_cam.explain.targets import TargetLike
from lightning_cam.monitor.rules import Rule
from lightning_cam.render.colormaps import check_colormap

PANELS = (
    "overlay",
    "timeline",
    "comparison",
    "methods",
    "worst",
    "classes",
    "animation",
    "features",
    "preferences",
)
DEFAULT_PANELS = ("overlay", "timeline", "comparison", "methods", "worst", "classes")
SLOW_PANELS = ("features", "preferences")  # need passes of their own


@dataclass(frozen=True)
class Options:
    """What a watch computes and draws: the arguments of `CAMCallback` of the same names."""

    method: str | Sequence[str] = "gradcam"
    layers: LayersLike = "auto"
    target: TargetLike = "label"
    num_pictures: int = 16
    colormap: str = "turbo"
    alpha: float = 0.7
    chunk_size: int | None = None
    aug_smooth: bool = False
    eigen_smooth: bool = False
    fuse_layers: bool = False
    rules: Sequence[Rule] | None = None
    interventions_every: int = 5
    seed: int = 0
    panels: Sequence[str] | None = None
    scale: Literal["image", "run"] = "image"
    feature_layers: LayersLike | None = None
    feature_channels: int | Sequence[int] = 8
    preferred: Sequence[Wanted] | None = None
    slow_panels_every: int = 5

    def __post_init__(self) -> None:
        resolve_methods(self.method)
        check_colormap(self.colormap)
        if not isinstance(self.alpha, (int, float)) or not 0 <= self.alpha <= 1:
            raise ValueError(f"expected alpha between 0 and 1, came {self.alpha!r}")
        check_count("num_pictures", self.num_pictures, least=0)
        if self.chunk_size is not None:
            check_count("chunk_size", self.chunk_size)
        check_count("interventions_every", self.interventions_every, least=0)
        for rule in self.rules or ():
            if not isinstance(rule, Rule):
                raise TypeError(f"expected alerts as rules such as Level(...), came {rule!r}")
        words = ("label", "mean_label", "prediction", "difference", "box")
        if isinstance(self.target, str) and self.target not in words:
            raise ValueError(
                f"expected target {' or '.join(map(repr, words))}, came {self.target!r}"
            )
        self._check_panels()

    def _check_panels(self) -> None:
        if isinstance(self.panels, str):
            raise TypeError(f"expected panels as a list of names, came {self.panels!r}")
        for name in self.panels or ():
            if name not in PANELS:
                raise ValueError(unknown("panel", name, PANELS))
        if self.scale not in ("image", "run"):
            raise ValueError(f"expected scale 'image' or 'run', came {self.scale!r}")
        check_count("slow_panels_every", self.slow_panels_every)
        check_channels(self.feature_channels)
        for wanted in self.preferred or ():
            check_preferred(wanted)

    @property
    def several_maps(self) -> bool:
        """Whether there may be more than one map an image."""
        layers = self.layers
        one_layer = isinstance(layers, (str, int)) or not isinstance(layers, Sequence)
        one_layer = one_layer or len(layers) == 1  # type: ignore[arg-type]
        return len(resolve_methods(self.method)) > 1 or not one_layer

    @property
    def shown_panels(self) -> tuple[str, ...]:
        """The panels that are drawn, in order, each once."""
        return tuple(dict.fromkeys(DEFAULT_PANELS if self.panels is None else self.panels))

    def slow_panels_at(self, count: int) -> tuple[str, ...]:
        """Return the panels to compute passes for at a look that `count` looks came before."""
        due = count % self.slow_panels_every == 0
        return tuple(name for name in self.shown_panels if due and name in SLOW_PANELS)


def check_count(name: str, value: object, *, least: int = 1) -> None:
    """Raise ValueError unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"expected {name} as a whole number of {least} or more, came {value!r}")
