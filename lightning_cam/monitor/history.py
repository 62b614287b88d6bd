"""What is remembered of earlier validations, small enough for every checkpoint."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_cam.metrics.shape import as_distribution

MapKey = tuple[str, str]  # method, layer
AVERAGE_WEIGHT = 0.3  # of the latest maps in the exponential average
_REFERENCES = ("first", "previous", "before", "best")


@dataclass(frozen=True)
class Snapshot:
    """What one validation saw on one probe. Tensors are on the CPU.

    Attributes:
        validation: how many validations came before.
        epoch: the trainer's epoch.
        step: the step under which the trainer's scalars of this validation are logged.
        maps: raw maps float32 (N, h, w) by (method, layer), a row a score.
        rows: (N,) long, the image of each map.
        classes: (N,) long, the class that each map explains, -1 where there is none.
        predictions: (B,) long, or (B, K) boolean where images have several labels.
        confidences: (B,) float32, the probability of the predicted class; (B, K) of each label.
    """

    validation: int
    epoch: int
    step: int
    maps: dict[MapKey, Tensor]
    rows: Tensor
    classes: Tensor
    predictions: Tensor
    confidences: Tensor


class History:
    """What to compare the next validation of one probe with, and what to draw as a timeline.

    Args:
        capacity: snapshots kept for the timeline. When it is full every other one is dropped and
            from then on only every second, fourth, ... validation enters, so the kept ones stay
            evenly spaced and the state stays bounded however long the training.

    Attributes:
        first: the first validation's snapshot.
        previous: the latest that was added.
        before: the one that was added before it.
        best: the one with the best monitored value.
        best_value: that value, the higher the better.
        average: exponential average of the maps, each as a distribution, by method and layer.
        count: validations that were added.
    """

    def __init__(self, capacity: int = 12) -> None:
        self._capacity = capacity
        self._stride = 1
        self._kept: list[Snapshot] = []
        self.first: Snapshot | None = None
        self.previous: Snapshot | None = None
        self.before: Snapshot | None = None
        self.best: Snapshot | None = None
        self.best_value = -math.inf
        self.average: dict[MapKey, Tensor] = {}
        self.count = 0

    def copy(self) -> History:
        """Return a history of its own that holds the same snapshots, which nobody alters."""
        twin = copy.copy(self)
        twin._kept = list(self._kept)  # noqa: SLF001 - its own class
        twin.average = dict(self.average)
        return twin

    def add(self, snapshot: Snapshot, value: float = math.nan) -> None:
        """Remember a validation.

        Args:
            snapshot: what it saw.
            value: how good the model was, the higher the better; NaN when that is not known.
        """
        if self.first is None:
            self.first = snapshot
        self.before, self.previous = self.previous, snapshot
        if self.best is None or value > self.best_value:
            self.best, self.best_value = snapshot, value if math.isfinite(value) else -math.inf
        self.average = {
            key: averaged(self.average.get(key), maps) for key, maps in snapshot.maps.items()
        }
        if self.count % self._stride == 0:
            if len(self._kept) == self._capacity:
                self._kept = self._kept[::2]
                self._stride *= 2
            if self.count % self._stride == 0:
                self._kept.append(snapshot)
        self.count += 1

    def timeline(self) -> list[Snapshot]:
        """Return the kept snapshots in order, the latest always among them."""
        if self.previous is not None and self.previous is not self._kept[-1]:
            return [*self._kept, self.previous]
        return list(self._kept)

    def state_dict(self) -> dict[str, Any]:
        """Return primitives, lists, dicts and tensors, as weights-only checkpoints demand."""
        return {
            "stride": self._stride,
            "count": self.count,
            "kept": [_packed(snapshot) for snapshot in self._kept],
            "best_value": self.best_value,
            "average": [[method, layer, m] for (method, layer), m in self.average.items()],
            **{name: _packed(getattr(self, name)) for name in _REFERENCES},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self._stride, self.count = int(state["stride"]), int(state["count"])
        self._kept = [_unpacked(packed) for packed in state["kept"]]
        for name in _REFERENCES:
            setattr(self, name, _unpacked(state[name]) if state.get(name) else None)
        self.best_value = float(state.get("best_value", -math.inf))
        self.average = {(method, layer): m for method, layer, m in state.get("average", [])}


def averaged(before: Tensor | None, maps: Tensor) -> Tensor:
    """Return the exponential average of maps as distributions; flat maps leave it as it was."""
    now = as_distribution(maps)
    if before is None or before.shape != now.shape:
        return now
    blended = torch.lerp(before, now, AVERAGE_WEIGHT)
    known = torch.where(before.isnan(), now, blended)
    return torch.where(now.isnan(), before, known)


def _packed(snapshot: Snapshot | None) -> dict[str, Any]:
    if snapshot is None:
        return {}
    fields = {name: getattr(snapshot, name) for name in Snapshot.__dataclass_fields__}
    fields["maps"] = [[method, layer, maps] for (method, layer), maps in snapshot.maps.items()]
    return fields


def _unpacked(packed: dict[str, Any]) -> Snapshot:
    maps = {(method, layer): maps for method, layer, maps in packed["maps"]}
    return Snapshot(**{**packed, "maps": maps})
