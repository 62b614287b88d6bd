"""From maps and memory to the numbers that are logged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_cam import metrics
from lightning_cam.monitor.baselines import LOCALIZATION

if TYPE_CHECKING:
    from lightning_cam.monitor.history import History, MapKey

_SMALL = 1 << 17  # cells of all maps, up to which they are compared in one call
REFERENCES = ("previous", "first", "best", "average")
MOVEMENT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "jsd": metrics.jsd,
    "correlation": metrics.correlation,
    "rank_correlation": metrics.rank_correlation,
    "top_overlap": metrics.top_overlap,
    "center_shift": metrics.center_shift,
}


def measure(maps: Tensor, foreground: Tensor | None) -> dict[str, Tensor]:
    """Return what one method's maps at one layer are like, each (N,), NaN where undefined.

    Args:
        maps: raw maps (N, h, w).
        foreground: (N, H, W) boolean masks, or None.
    """
    centers = metrics.center(maps)
    values = {
        "zero_map_fraction": metrics.is_flat(maps).float(),
        "evidence": metrics.evidence_magnitude(maps),
        "entropy": metrics.entropy(maps),
        "border_mass": metrics.border_mass(maps),
        "center_x": centers[:, 0],
        "center_y": centers[:, 1],
    }
    if foreground is not None:
        values.update({name: metric(maps, foreground) for name, metric in LOCALIZATION.items()})
    return values


def measure_movement(maps: Tensor, history: History, key: MapKey) -> dict[str, Tensor]:
    """Return how far the maps moved, `<metric>_<reference>`, each (N,), NaN where undefined.

    A reference that does not exist yet, or is of another shape, is the maps themselves, so that a
    monitored metric is there from the start.

    Args:
        maps: raw maps (N, h, w).
        history: what was seen before, without these maps.
        key: their method and layer.
    """
    earlier = []
    for reference in REFERENCES:
        before = _earlier(history, reference, key)
        known = before is not None and before.shape == maps.shape
        earlier.append(before.to(maps.device) if before is not None and known else maps)
    found = {name: _against(maps, earlier, metric) for name, metric in MOVEMENT.items()}
    return {
        f"{name}_{reference}": found[name][i]
        for i, reference in enumerate(REFERENCES)
        for name in MOVEMENT
    }


def _against(
    maps: Tensor, earlier: Sequence[Tensor], metric: Callable[[Tensor, Tensor], Tensor]
) -> list[Tensor]:
    """Return a metric against each of several earlier maps; small ones take one call for all.

    Most of the time of so small a calculation is calling it.
    """
    if maps.numel() > _SMALL:
        return [metric(maps, each) for each in earlier]
    found = metric(maps.repeat(len(earlier), 1, 1), torch.cat(list(earlier)))
    return list(torch.split(found, len(maps)))


def _earlier(history: History, reference: str, key: MapKey) -> Tensor | None:
    if reference == "average":
        return history.average.get(key)
    snapshot = getattr(history, reference)
    return None if snapshot is None else snapshot.maps.get(key)


def unflipped(
    movement: Mapping[str, Tensor], predicted: Tensor, rows: Tensor, history: History
) -> dict[str, Tensor]:
    """Return the movement of the images whose prediction stayed, NaN for the others.

    A map may move because the answer did. What is left here moved although it did not.

    Args:
        movement: what `measure_movement` gave.
        predicted: (B,) classes or (B, K) whether each label is predicted, now.
        rows: (N,) the image of each map.
        history: what was seen before. For the average, which has no prediction, the latest counts.
    """
    values = {}
    for name, moved in movement.items():
        reference = name.rsplit("_", 1)[1]
        snapshot = getattr(history, "previous" if reference == "average" else reference)
        if snapshot is None or snapshot.predictions.shape != predicted.shape:
            values[f"unflipped/{name}"] = moved
            continue
        flips = (snapshot.predictions != predicted).view(len(predicted), -1).any(dim=1)
        gone = flips[rows.cpu()].to(moved.device)
        values[f"unflipped/{name}"] = moved.masked_fill(gone, math.nan)
    return values


def measure_predictions(
    confidences: Tensor, predicted: Tensor, before: Tensor | None, targets: Tensor | None
) -> dict[str, Tensor]:
    """Return the metrics of the predictions, one value an image or label, NaN where undefined.

    Args:
        confidences: (B, K) probabilities.
        predicted: (B,) classes, or (B, K) whether each label is predicted.
        before: the previous validation's; None at the first, which is then its own reference.
        targets: (B,) labels, (B, K) labels of 0 and 1, or None.
    """
    values = {}
    if targets is not None and targets.ndim == 1:
        values["label_confidence"] = confidences.gather(1, targets[:, None])[:, 0]
    elif targets is not None:
        values["label_confidence"] = confidences[targets]
    before = before if before is not None and before.shape == predicted.shape else predicted
    values["prediction_flips"] = (predicted != before).view(len(predicted), -1).any(1).float()
    return values


def averages(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the mean of each metric where it is defined, NaN where it is nowhere defined.

    One transfer from the device for all of them: each alone would wait for it.
    """
    groups: dict[int, list[str]] = {}
    for name, each in values.items():
        groups.setdefault(len(each), []).append(name)
    found: dict[str, float] = {}
    for names in groups.values():
        stacked = torch.stack([values[name].float() for name in names]).cpu().double()
        found.update(zip(names, stacked.nanmean(dim=1).tolist(), strict=True))
    return {name: found[name] for name in values}
