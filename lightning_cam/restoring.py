"""What a checkpoint remembers, taken back whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lightning_cam.monitor import AlertBook, History, Snapshot

if TYPE_CHECKING:
    from lightning_cam.monitor import Rule


@dataclass(frozen=True)
class Remembered:
    """What one probe's state held.

    Attributes:
        history: earlier validations.
        book: the rules' memory.
        baselines: of the localisation, by name; empty where they are still to be measured.
        noise_floor: NaN where it is.
    """

    history: History
    book: AlertBook
    baselines: dict[str, float]
    noise_floor: float


def remembered(state: Mapping[str, Any], rules: Iterable[Rule]) -> Remembered:
    """Return what a watch's `state_dict` held; what an older version did not know starts afresh.

    Raises:
        Exception: of any kind, where the state is damaged.
    """
    history, book = History(), AlertBook(rules)
    history.load_state_dict(state["history"])
    load_rules(book, state.get("rules", []))
    baselines = {str(name): float(value) for name, value in state.get("baselines", {}).items()}
    return Remembered(history, book, baselines, float(state.get("noise_floor", math.nan)))


def load_rules(book: AlertBook, states: Iterable[Mapping[str, Any]]) -> None:
    """Give rules their memory back.

    Raises:
        TypeError: something else than numbers in it.
    """
    states = list(states)
    for state in states:
        values = {name: value for name, value in state.items() if name != "metric"}
        for value in [*values.pop("baseline", []), *values.values()]:
            if not isinstance(value, (bool, int, float)):
                raise TypeError(f"expected numbers as a rule's memory, came {value!r}")
    book.load_state_dict(states)


def check_fits(
    history: History, sizes: Mapping[tuple[str, str], tuple[int, int]], images: int
) -> None:
    """Check that a history can be compared with what will be seen.

    Args:
        history: taken back.
        sizes: height and width of the maps by method and layer.
        images: of the probe.

    Raises:
        ValueError: it is of other maps, or parts of it are missing.
        TypeError: something else than tensors in it.
    """
    known = [history.first, history.previous, history.before, history.best, *history.timeline()]
    found = [snapshot for snapshot in known if snapshot is not None]
    if history.count < 0 or bool(history.count) != bool(history.first and history.previous):
        raise ValueError(f"expected snapshots of {history.count} validations, came {len(found)}")
    for snapshot in found:
        _check_snapshot(snapshot, sizes, images)
    for key, maps in history.average.items():
        _check_maps(key, maps, sizes)


def _check_snapshot(
    seen: Snapshot, sizes: Mapping[tuple[str, str], tuple[int, int]], images: int
) -> None:
    tensors = (seen.rows, seen.classes, seen.predictions, seen.confidences)
    if not all(isinstance(each, Tensor) for each in tensors):
        raise TypeError("expected tensors in a snapshot, came something else")
    if not all(isinstance(each, int) for each in (seen.validation, seen.epoch, seen.step)):
        raise TypeError("expected a snapshot's time as whole numbers, came something else")
    if seen.maps.keys() != sizes.keys():
        raise ValueError(f"expected maps of {_named(sizes)}, came {_named(seen.maps)}")
    count = len(seen.rows)
    for key, maps in seen.maps.items():
        _check_maps(key, maps, sizes)
        if len(maps) != count or len(seen.classes) != count:
            raise ValueError(f"expected {count} maps of {_named([key])}, came {len(maps)}")
    if len(seen.predictions) not in (0, images) or (count and int(seen.rows.max()) >= images):
        raise ValueError(f"expected a snapshot of {images} images, came another number")


def _check_maps(
    key: tuple[str, str], maps: object, sizes: Mapping[tuple[str, str], tuple[int, int]]
) -> None:
    if not isinstance(maps, Tensor) or maps.ndim != 3:  # noqa: PLR2004
        raise TypeError(f"expected maps (N, h, w) of {_named([key])}, came something else")
    if key in sizes and tuple(maps.shape[1:]) != tuple(sizes[key]):
        came, wanted = ("×".join(map(str, size)) for size in (maps.shape[1:], sizes[key]))
        raise ValueError(f"expected maps of {wanted} for {_named([key])}, came {came}")


def _named(keys: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{method}@{layer}" for method, layer in keys)
