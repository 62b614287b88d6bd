"""`find_normalization`: the mean and std that a dataset's transforms normalise with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

_HOLDERS = ("transform", "transforms", "dataset", "datasets", "transform_fn", "tfm", "tfms")
_MAX_DEPTH = 8


def find_normalization(dataset: Any) -> tuple[list[float], list[float]] | None:
    """Return (mean, std) of the last `Normalize` among a dataset's transforms, or None.

    Searches wrappers of datasets (`Subset`, `ConcatDataset`, random splits) and of transforms
    (`Compose`, lists, torchvision's v1 and v2 and `StandardTransform`) for a transform whose class
    is called `Normalize` and that has `mean` and `std`.
    """
    found = [
        (mean, std)
        for step in _steps(dataset, 0, set())
        if type(step).__name__ == "Normalize"
        and (mean := _numbers(getattr(step, "mean", None)))
        and (std := _numbers(getattr(step, "std", None)))
    ]
    return found[-1] if found else None


def _steps(holder: Any, depth: int, seen: set[int]) -> Iterator[Any]:
    if holder is None or depth > _MAX_DEPTH or id(holder) in seen:
        return
    seen.add(id(holder))
    yield holder
    inner: list[Any] = []
    if isinstance(holder, Sequence) and not isinstance(holder, str):
        inner = list(holder[:32])  # lists of transforms are short; long lists hold samples
    elif hasattr(holder, "__dict__"):
        inner = [vars(holder).get(name) for name in _HOLDERS]
        inner += list(vars(holder).get("_modules", {}).values())  # v2 and Sequential pipelines
    for item in inner:
        yield from _steps(item, depth + 1, seen)


def _numbers(value: Any) -> list[float] | None:
    if isinstance(value, (int, float)):
        return [float(value)]
    try:
        return [float(number) for number in value]
    except (TypeError, ValueError):
        return None
