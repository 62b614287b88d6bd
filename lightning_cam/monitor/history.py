"""`History`: what is remembered of earlier evaluations, small enough for every checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lightning_cam.metrics.shape import as_distribution, reduced, reduced_size
from lightning_cam.monitor.evaluation import MapKey, Snapshot
from lightning_cam.output.panels.scene import PastSnapshots

AVERAGE_WEIGHT = 0.3  # of the latest maps in the exponential average
_REFERENCES = ("first", "previous", "before", "best")


class History:
    """What the next evaluation of one probe is compared with, and what the timeline shows.

    Args:
        capacity: snapshots kept for the timeline. When it is full every other one is dropped, and
            from then on only every second, fourth, ... evaluation is kept, so that the timeline
            stays evenly spaced and the state stays bounded however long the training is.

    Attributes:
        first: the first evaluation's snapshot.
        previous: the latest one.
        before: the one before the latest.
        best: the one with the best monitored value.
        best_value: that value, the higher the better.
        monitored: whether that is the value of a monitored metric, and not `fallback`.
        average: exponential average of the maps, each as a distribution, by method and layer.
        count: number of evaluations so far.
    """

    def __init__(self, capacity: int = 10) -> None:
        self._capacity = capacity
        self._stride = 1
        self._kept: list[Snapshot] = []
        self.first: Snapshot | None = None
        self.previous: Snapshot | None = None
        self.before: Snapshot | None = None
        self.best: Snapshot | None = None
        self.best_value = -math.inf
        self.monitored = False
        self._fallback = math.nan
        self.average: dict[MapKey, Tensor] = {}
        self.count = 0

    def add(
        self, snapshot: Snapshot, value: float | None = math.nan, *, fallback: float = math.nan
    ) -> None:
        """Add an evaluation.

        Args:
            snapshot: its maps and predictions; maps are kept as `reduced` returns them.
            value: see `settle_best`; None where it is called later.
            fallback: how good the model was, the higher the better, where no value is known.
        """
        maps = {key: reduced(each) for key, each in snapshot.maps.items()}
        snapshot = replace(snapshot, maps=maps)
        if self.first is None:
            self.first = self.best = snapshot
        self.before, self.previous = self.previous, snapshot
        self._fallback = fallback
        self.average = {
            key: averaged(self.average.get(key), maps) for key, maps in snapshot.maps.items()
        }
        if self.count % self._stride == 0:
            if len(self._kept) >= self._capacity:  # more of a checkpoint
                self._kept = self._kept[::2]
                self._stride *= 2
            if self.count % self._stride == 0:
                self._kept.append(snapshot)
        self.count += 1
        if value is not None:
            self.settle_best(value)

    def settle_best(self, value: float = math.nan) -> None:
        """Say how good the model was at the latest evaluation.

        Args:
            value: of the monitored metric, the higher the better; NaN where it is not known. Then
                `fallback` counts, unless a monitored value was known before: the two are not
                comparable.
        """
        monitored = not math.isnan(value)
        if self.previous is None or (self.monitored and not monitored):
            return
        value = value if monitored else self._fallback
        if value > self.best_value or (monitored and not self.monitored):
            self.best, self.best_value = self.previous, value if math.isfinite(value) else -math.inf
        self.monitored = monitored

    def timeline(self) -> list[Snapshot]:
        """Return the kept snapshots in order, the latest always among them."""
        # By index: a restored latest snapshot is another object than the kept one.
        if self.previous is not None and self.previous.index != self._kept[-1].index:
            return [*self._kept, self.previous]
        return list(self._kept)

    def past_of(self, snapshot: Snapshot) -> PastSnapshots:
        """Return what panels compare a snapshot with, whether it has been added yet or not."""
        added = self.previous is not None and snapshot.index == self.previous.index
        known = math.isfinite(self.best_value)  # else the first only stands in for the best
        return PastSnapshots(
            first=self.first or snapshot,
            best=self.best if known else None,
            previous=self.before if added else self.previous,
            timeline=self.timeline() if added else [*self.timeline(), snapshot],
        )

    def state_dict(self) -> dict[str, Any]:
        """Return primitives, lists, dicts and tensors, as weights-only checkpoints demand."""
        return {
            "stride": self._stride,
            "count": self.count,
            "kept": [_packed(snapshot) for snapshot in self._kept],
            "best_value": self.best_value,
            "monitored": self.monitored,
            "average": [[method, layer, m] for (method, layer), m in self.average.items()],
            **{name: _packed(getattr(self, name)) for name in _REFERENCES},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._stride, self.count = state["stride"], state["count"]
        self._kept = [_unpacked(packed) for packed in state["kept"]]
        for name in _REFERENCES:
            setattr(self, name, _unpacked(state[name]) if state.get(name) else None)
        self.best_value = float(state.get("best_value", -math.inf))
        self.monitored = bool(state.get("monitored", False))
        self.average = _by_key(state.get("average", []))

    def check(self, shapes: Mapping[MapKey, tuple[int, int]], images: int) -> None:
        """Check that a restored history can be compared with what will be measured.

        Args:
            shapes: height and width of the maps by method and layer, before they are `reduced`.
            images: number of images of the probe.

        Raises:
            ValueError: it is of other maps, or parts of it are missing.
            TypeError: anything but tensors where tensors are expected.
        """
        shapes = {key: reduced_size(*size) for key, size in shapes.items()}
        known = [self.first, self.previous, self.before, self.best, *self.timeline()]
        found = [snapshot for snapshot in known if snapshot is not None]
        if self.count < 0 or bool(self.count) != bool(self.first and self.previous):
            raise ValueError(f"expected snapshots of {self.count} evaluations, got {len(found)}")
        for snapshot in found:
            _check_snapshot(snapshot, shapes, images)
        for key, maps in self.average.items():
            _check_maps(key, maps, shapes)


def averaged(before: Tensor | None, maps: Tensor) -> Tensor:
    """Return the exponential average of maps as distributions; flat maps leave it unchanged."""
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
    fields = {name: packed[name] for name in Snapshot.__dataclass_fields__}
    fields = {name: v.cpu() if isinstance(v, Tensor) else v for name, v in fields.items()}
    return Snapshot(**{**fields, "maps": _by_key(packed["maps"])})


def _by_key(packed: Iterable[tuple[str, str, Tensor]]) -> dict[MapKey, Tensor]:
    """Return maps as float32 on the CPU, wherever the checkpoint was loaded to."""
    return {(method, layer): maps.cpu().float() for method, layer, maps in packed}


def _check_snapshot(
    snapshot: Snapshot, shapes: Mapping[MapKey, tuple[int, int]], images: int
) -> None:
    tensors = (snapshot.rows, snapshot.classes, snapshot.predictions, snapshot.confidences)
    if not all(isinstance(each, Tensor) for each in tensors):
        raise TypeError("expected tensors in a snapshot, got something else")
    if not all(isinstance(each, int) for each in (snapshot.index, snapshot.epoch, snapshot.step)):
        raise TypeError("expected the time of a snapshot as integers, got something else")
    if snapshot.maps.keys() != shapes.keys():
        raise ValueError(f"expected maps of {_names(shapes)}, got {_names(snapshot.maps)}")
    count = len(snapshot.rows)
    for key, maps in snapshot.maps.items():
        _check_maps(key, maps, shapes)
        if len(maps) != count or len(snapshot.classes) != count:
            raise ValueError(f"expected {count} maps of {_names([key])}, got {len(maps)}")
    too_high = count and int(snapshot.rows.max()) >= images
    if len(snapshot.predictions) not in (0, images) or too_high:
        raise ValueError(f"expected a snapshot of {images} images, got another number")


def _check_maps(key: MapKey, maps: object, shapes: Mapping[MapKey, tuple[int, int]]) -> None:
    if not isinstance(maps, Tensor) or maps.ndim != 3:  # noqa: PLR2004
        raise TypeError(f"expected maps (N, h, w) of {_names([key])}, got something else")
    if key in shapes and tuple(maps.shape[1:]) != tuple(shapes[key]):
        got, expected = ("×".join(map(str, size)) for size in (maps.shape[1:], shapes[key]))
        raise ValueError(f"expected maps of {expected} for {_names([key])}, got {got}")


def _names(keys: Iterable[MapKey]) -> str:
    return ", ".join(f"{method}@{layer}" for method, layer in keys)
