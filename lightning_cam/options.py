"""The choices that a watch is made with, checked when they are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_cam.explain.layers import LayersLike
from lightning_cam.explain.methods import resolve_methods
from lightning_cam.explain.targets import TargetLike
from lightning_cam.monitor.rules import Rule
from lightning_cam.render.colormaps import check_colormap


@dataclass(frozen=True)
class Options:
    """What a watch computes and draws: the arguments of `CAMCallback` of the same names."""

    method: str | Sequence[str] = "gradcam"
    layers: LayersLike = "auto"
    target: TargetLike = "label"
    num_pictures: int = 16
    colormap: str = "turbo"
    alpha: float = 0.7
    chunk_size: int = 64
    aug_smooth: bool = False
    eigen_smooth: bool = False
    fuse_layers: bool = False
    rules: Sequence[Rule] | None = None
    interventions_every: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        resolve_methods(self.method)
        check_colormap(self.colormap)
        if not isinstance(self.alpha, (int, float)) or not 0 <= self.alpha <= 1:
            raise ValueError(f"expected alpha between 0 and 1, came {self.alpha!r}")
        check_count("num_pictures", self.num_pictures, least=0)
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


def check_count(name: str, value: object, *, least: int = 1) -> None:
    """Raise ValueError unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"expected {name} as a whole number of {least} or more, came {value!r}")
