"""`MonitorConfig`: every choice of `CAMCallback` and `CAMMonitor`, its default and its check."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_cam.explain.methods import resolve_methods
from lightning_cam.explain.model_call import ModelCall
from lightning_cam.metrics.selection import HEADLINE, MetricSelection, MetricsOption
from lightning_cam.monitor.probe_names import check_loggable
from lightning_cam.monitor.rules import Rule
from lightning_cam.output.config import OutputConfig
from lightning_cam.probe.drawn_masks import read_masks
from lightning_cam.runtime.checks import check_count, check_type
from lightning_cam.runtime.messages import unknown_name

if TYPE_CHECKING:
    from lightning_cam.explain.layers import LayersLike
    from lightning_cam.explain.model_call import Forward, Output, ScoresOption
    from lightning_cam.explain.targets import TargetLike

TARGET_WORDS = ("label", "mean_label", "prediction", "difference", "box")


@dataclass(frozen=True, kw_only=True)
class MonitorConfig:
    """What is computed, when, and what raises an alert: arguments of `CAMCallback`.

    Attributes:
        output_config: what is drawn and written.
    """

    tag: str = "cam"
    method: str | Sequence[str] = "gradcam"
    layers: LayersLike = "auto"
    target: TargetLike = "label"
    forward: Forward | None = None
    output: Output = None
    scores: ScoresOption = "auto"
    metrics: MetricsOption = HEADLINE
    every_n_validations: int = 1
    max_overhead: float | None = None
    chunk_size: int | None = None
    aug_smooth: bool = False
    eigen_smooth: bool = False
    fuse_layers: bool = False
    alerts: Sequence[Rule] | None = None
    interventions_every: int | None = None
    alert_error_rate: float = 0.05
    estimate_masks: bool = False
    masks: str | Path | None = None
    seed: int = 0
    output_config: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        self._check_types()
        if not self.tag.strip("/"):
            raise ValueError(f"expected a tag with letters, got {self.tag!r}")
        check_loggable("tag", self.tag)
        object.__setattr__(self, "tag", self.tag.strip("/"))
        resolve_methods(self.method)
        ModelCall(self.forward, self.output, self.scores)  # checks them
        if isinstance(self.target, str) and self.target not in TARGET_WORDS:
            words = " or ".join(map(repr, TARGET_WORDS))
            raise ValueError(f"expected target {words}, got {self.target!r}")
        MetricSelection(self.metrics)  # checks them
        check_count("every_n_validations", self.every_n_validations)
        if self.max_overhead is not None and not 0 < self.max_overhead < 1:
            raise ValueError(
                f"expected max_overhead between 0 and 1, such as 0.02, got {self.max_overhead!r}"
            )
        if self.chunk_size is not None:
            check_count("chunk_size", self.chunk_size)
        for rule in self.alerts or ():
            if not isinstance(rule, Rule):
                raise TypeError(f"expected alerts as rules such as Threshold(...), got {rule!r}")
        if self.interventions_every is not None:
            check_count("interventions_every", self.interventions_every, least=0)
        if self.masks is not None:
            read_masks(self.masks)  # checks them
            object.__setattr__(self, "masks", str(self.masks))  # the record holds it
        if not 0 < self.alert_error_rate < 1:
            raise ValueError(
                "expected alert_error_rate between 0 and 1, such as 0.05, got "
                f"{self.alert_error_rate!r}"
            )

    def _check_types(self) -> None:
        check_type("tag", self.tag, str)
        check_type("seed", self.seed, int)
        for name in ("aug_smooth", "eigen_smooth", "fuse_layers", "estimate_masks"):
            check_type(name, getattr(self, name), bool)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> MonitorConfig:
        """Return the configuration for keyword arguments of `CAMCallback` or `CAMMonitor`.

        Raises:
            TypeError: an argument that there is not, or one of the wrong type.
            ValueError: an argument of the wrong value.
        """
        for name in options:
            if name not in option_names():
                raise TypeError(unknown_name("argument", name, sorted(option_names())))
        output = {each.name for each in fields(OutputConfig)}
        return cls(
            output_config=OutputConfig(**{k: v for k, v in options.items() if k in output}),
            **{k: v for k, v in options.items() if k not in output},
        )

    @property
    def has_several_maps(self) -> bool:
        """Whether there may be more than one map per image."""
        layers = self.layers
        one_layer = isinstance(layers, (str, int)) or not isinstance(layers, Sequence)
        one_layer = one_layer or len(layers) == 1  # type: ignore[arg-type]
        return len(resolve_methods(self.method)) > 1 or not one_layer

    def settings(self, rules: Sequence[Rule]) -> dict[str, Any]:
        """Return all choices as primitives, for the record.

        Args:
            rules: those in effect, in place of `alerts`, which may be None for the default ones.
        """
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        output = {
            each.name: getattr(self.output_config, each.name) for each in fields(self.output_config)
        }
        del own["output_config"]
        settings: dict[str, Any] = as_primitives({**own, **output, "alerts": list(rules)})
        return settings


def option_names() -> set[str]:
    """Return the names of all options, those of `OutputConfig` included."""
    own = {each.name for each in fields(MonitorConfig)} - {"output_config"}
    return own | {each.name for each in fields(OutputConfig)}


def as_primitives(value: Any) -> Any:
    """Return a setting as JSON has it; the same text in every process, so without addresses."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): as_primitives(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_primitives(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        named = {each.name: getattr(value, each.name) for each in fields(value)}
        text = [f"{name}={as_primitives(v)!r}" for name, v in named.items() if v is not None]
        return f"{type(value).__name__}({', '.join(text)})"
    return getattr(value, "__qualname__", type(value).__name__)
