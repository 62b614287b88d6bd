"""What is remembered of earlier validations, small enough for every checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

MapKey = tuple[str, str]  # method, layer


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
    """The first, the previous, and evenly thinned snapshots between, of one probe.

    Args:
        capacity: snapshots kept for the timeline. When it is full every other one is dropped and
            from then on only every second, fourth, ... validation enters, so the kept ones stay
            evenly spaced and the state stays bounded however long the training.
    """

    def __init__(self, capacity: int = 12) -> None:
        self._capacity = capacity
        self._stride = 1
        self._kept: list[Snapshot] = []
        self.first: Snapshot | None = None
        self.previous: Snapshot | None = None
        self.count = 0

    def add(self, snapshot: Snapshot) -> None:
        """Remember a validation."""
        if self.first is None:
            self.first = snapshot
        self.previous = snapshot
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
            "first": _packed(self.first),
            "previous": _packed(self.previous),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self._stride, self.count = int(state["stride"]), int(state["count"])
        self._kept = [_unpacked(packed) for packed in state["kept"]]
        self.first = _unpacked(state["first"]) if state["first"] else None
        self.previous = _unpacked(state["previous"]) if state["previous"] else None


def _packed(snapshot: Snapshot | None) -> dict[str, Any]:
    if snapshot is None:
        return {}
    fields = {name: getattr(snapshot, name) for name in Snapshot.__dataclass_fields__}
    fields["maps"] = [[method, layer, maps] for (method, layer), maps in snapshot.maps.items()]
    return fields


def _unpacked(packed: dict[str, Any]) -> Snapshot:
    maps = {(method, layer): maps for method, layer, maps in packed["maps"]}
    return Snapshot(**{**packed, "maps": maps})
