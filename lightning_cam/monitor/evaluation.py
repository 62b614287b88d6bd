"""`Evaluation` and `Snapshot`: the data of one evaluation of one probe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from lightning_cam.metrics.selection import is_headline
from lightning_cam.monitor.diagnostics import Diagnostics

if TYPE_CHECKING:
    from lightning_cam.monitor.alerts import Alert
    from lightning_cam.output.panels.scene import DisplayedProbe
    from lightning_cam.render import ContactSheet

_MAX_LISTED = 4  # metrics in the short form

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


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Everything measured on one probe at one time; as the last line of a cell it shows itself.

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
        displayed: the probe's images, for `show`; None where it failed.
    """

    snapshot: Snapshot
    metrics: Mapping[str, float]
    per_image: Mapping[str, Tensor] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)
    worst: tuple[str, ...] = ()
    alerts: tuple[Alert, ...] = ()
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    displayed: DisplayedProbe | None = None

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

    def __repr__(self) -> str:
        time = f"epoch {self.epoch}, step {self.step}"
        if self.failed:
            return f"Evaluation({time}: failed)"
        maps = ", ".join("@".join(key) for key in self.maps)
        facts = "".join(f", {name} {value}" for name, value in self._headline()[:_MAX_LISTED])
        count = len(self.alerts)
        alerts = f", {count} alert{'s' * (count != 1)}" if count else ""
        return f"Evaluation({time}: {len(self.snapshot.rows)} maps of {maps}{facts}{alerts})"

    def _repr_html_(self) -> str | None:
        """Return metrics, alerts and overlays for a notebook; None where it failed."""
        if self.failed or self.displayed is None:
            return None
        notes = [str(alert) for alert in self.alerts]
        return replace(self._sheet(self.displayed), facts=self._headline(), notes=notes).html()

    def show(self) -> None:
        """Show the probe's images beside their maps, at most sixteen, with label and prediction.

        Inline in Jupyter, else in a window, else in a file whose path is printed.

        Raises:
            ValueError: the evaluation failed, and has no maps.
        """
        from lightning_cam.render import show_picture

        if self.failed or self.displayed is None:
            raise ValueError(f"expected an evaluation with maps, got {self!r}")
        sheet = self._sheet(self.displayed)
        show_picture(sheet.picture(), alt=sheet.alt)

    def _sheet(self, displayed: DisplayedProbe) -> ContactSheet:
        from lightning_cam.output.contact_sheet import contact_sheet

        return contact_sheet(displayed, self.snapshot)

    def _headline(self) -> list[tuple[str, str]]:
        """Return the headline metrics that are defined, and their values as text."""
        return [
            (name, f"{value:.3g}")
            for name, value in self.metrics.items()
            if is_headline(name) and "/" not in name and math.isfinite(value)
        ]
