"""`Evaluation` and `Snapshot`: the data of one evaluation of one probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from lightning_cam.monitor.diagnostics import Diagnostics

if TYPE_CHECKING:
    from lightning_cam.monitor.alerts import Alert

MapKey: TypeAlias = "tuple[str, str]"  # method and layer


@dataclass(frozen=True)
class Snapshot:
    """Maps and predictions of one evaluation. All tensors are on the CPU.

    Attributes:
        index: how many evaluations came before.
        epoch: the trainer's epoch.
        step: the step under which the scalars of this evaluation are logged.
        maps: raw maps float32 (N, h, w) by (method, layer), one row per score.
        rows: (N,) int64, the image of each map.
        classes: (N,) int64, the class that each map explains, -1 where there is none.
        predictions: (B,) int64, or (B, K) bool where images have several labels.
        confidences: (B,) float32, the probability of the predicted class; (B, K) of each label.
    """

    index: int
    epoch: int
    step: int
    maps: dict[MapKey, Tensor]
    rows: Tensor
    classes: Tensor
    predictions: Tensor
    confidences: Tensor

    @classmethod
    def empty(cls, index: int, epoch: int, step: int) -> Snapshot:
        """Return the snapshot of an evaluation that failed."""
        none = torch.empty(0, dtype=torch.long)
        return cls(index, epoch, step, {}, none, none, none, torch.empty(0))


@dataclass(frozen=True)
class Evaluation:
    """Everything measured on one probe at one time.

    Attributes:
        snapshot: maps, predictions and time.
        metrics: mean over the probe by plain name (`enrichment`, without a tag), NaN where a metric
            is defined for no image. Those of further methods and layers end in
            `/<method>@<layer>`; with two probes the second one's also hold `gap/<metric>`.
        per_image: metrics of the first map by name, (N,) on the CPU, one value per map.
        evidence: metrics of interventions that are defined, empty where none were made.
        worst: ids of the images whose maps are furthest off the object.
        alerts: raised by this evaluation.
        diagnostics: what slow panels show, empty at most evaluations.
    """

    snapshot: Snapshot
    metrics: Mapping[str, float]
    per_image: Mapping[str, Tensor] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)
    worst: tuple[str, ...] = ()
    alerts: tuple[Alert, ...] = ()
    diagnostics: Diagnostics = field(default_factory=Diagnostics)

    @property
    def maps(self) -> dict[MapKey, Tensor]:
        """Raw maps float32 (N, h, w) on the CPU, by (method, layer); empty where it failed."""
        return self.snapshot.maps

    @property
    def epoch(self) -> int:
        """The trainer's epoch."""
        return self.snapshot.epoch

    @property
    def step(self) -> int:
        """The step under which its scalars are logged."""
        return self.snapshot.step

    @property
    def failed(self) -> bool:
        """Whether an error kept it from being made; all metrics are NaN then."""
        return not self.snapshot.maps
