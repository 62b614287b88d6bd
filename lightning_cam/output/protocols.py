"""What this package reads of an evaluation, a snapshot and an alert.

`lightning_cam.monitor` makes them; `output` does not import it, so that it can be read, changed and
tested without the monitor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from torch import Tensor

MapKey: TypeAlias = "tuple[str, str]"  # method and layer
Verdict: TypeAlias = Literal["confirmed", "contradicted", "saliency only"]


class Snapshot(Protocol):
    """Maps and predictions of one evaluation: `lightning_cam.monitor.evaluation.Snapshot`."""

    @property
    def index(self) -> int:
        """How many evaluations came before it."""

    @property
    def epoch(self) -> int:
        """The trainer's epoch."""

    @property
    def step(self) -> int:
        """The step under which the scalars of this evaluation are logged."""

    @property
    def maps(self) -> Mapping[MapKey, Tensor]:
        """Raw maps float32 (N, h, w) on the CPU."""

    @property
    def rows(self) -> Tensor:
        """(N,) int64, the image of each map."""

    @property
    def classes(self) -> Tensor:
        """(N,) int64, the class that each map explains, -1 where there is none."""

    @property
    def predictions(self) -> Tensor:
        """(B,) int64, or (B, K) bool where images have several labels."""

    @property
    def confidences(self) -> Tensor:
        """(B,) float32, or (B, K) where images have several labels."""


class Alert(Protocol):
    """A rule that was triggered: `lightning_cam.monitor.alerts.Alert`."""

    def as_dict(self) -> dict[str, Any]:
        """Return primitives for JSON."""


class Evaluation(Protocol):
    """Everything measured at one evaluation: `lightning_cam.monitor.evaluation.Evaluation`."""

    @property
    def snapshot(self) -> Snapshot:
        """Maps and predictions."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Mean over the probe by plain name, NaN where undefined."""

    @property
    def per_image(self) -> Mapping[str, Tensor]:
        """Metrics of the first map, (N,) each."""

    @property
    def evidence(self) -> Mapping[str, float]:
        """Metrics of interventions, empty where none were made."""

    @property
    def worst(self) -> Sequence[str]:
        """Ids of the images whose maps are furthest off the object."""

    @property
    def alerts(self) -> Sequence[Alert]:
        """Alerts that this evaluation raised."""
