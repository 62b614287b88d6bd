"""`compute_metrics`: from the maps and logits of one evaluation to numbers by plain name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_cam.explain.attribution import select_rows
from lightning_cam.explain.outputs import predictions, probabilities
from lightning_cam.metrics.registry import (
    OF_CLASS,
    REFERENCES,
    UNFLIPPED,
    Metric,
    metrics_of,
)
from lightning_cam.metrics.shape import reduced
from lightning_cam.output.panels.scene import suffix_of
from lightning_cam.runtime.files import safe_name

if TYPE_CHECKING:
    from lightning_cam.explain.result import CAMResult
    from lightning_cam.monitor.evaluation import MapKey
    from lightning_cam.monitor.history import History
    from lightning_cam.probe import Probe

_PREDICTED = 0.5  # probability from which one of several labels counts as predicted
_WORST = 3  # images that an alert names
_MAX_CLASSES = 20  # that have a metric of their own


@dataclass(frozen=True)
class Measurements:
    """Everything measured on the maps and logits of one evaluation.

    Attributes:
        metrics: means by plain name, NaN where a metric is defined for no image.
        per_image: metrics of the first map, (N,) on the CPU.
        predictions: (B,) int64, or (B, K) bool where images have several labels.
        confidences: (B,) probability of the predicted class, or (B, K) of each label.
    """

    metrics: dict[str, float]
    per_image: dict[str, Tensor]
    predictions: Tensor
    confidences: Tensor


def compute_metrics(probe: Probe, result: CAMResult, history: History) -> Measurements:
    """Compute all metrics of the catalog that need no further passes.

    Args:
        probe: the images' masks and labels.
        result: maps and logits on the CPU, since many small steps would each wait for a device.
        history: earlier evaluations.
    """
    masks = None if probe.foreground is None else select_rows(probe.foreground, result.rows)
    image_hw = (probe.images.shape[2], probe.images.shape[3])
    confidences, predicted = _predict(probe, result.logits)
    values: dict[str, Tensor] = {}
    per_image: dict[str, Tensor] = {}
    for key, maps in result.maps.items():
        suffix = suffix_of(key, result.maps)
        movement = movement_metrics(maps, history, key, image_hw)
        of_maps = {**map_metrics(maps, masks), **movement}
        if not suffix:
            per_image = dict(of_maps)
            of_maps |= unflipped(movement, predicted, result.rows, history)
        values |= {f"{name}{suffix}": each for name, each in of_maps.items()}
    if result.logits.shape[1]:
        before = None if history.previous is None else history.previous.predictions
        targets = None if probe.targets is None else probe.targets[: len(predicted)]
        found = prediction_metrics(confidences, predicted, before, targets)
        values |= found
        if not probe.multi_label and "label_confidence" in found:
            per_image["label_confidence"] = found["label_confidence"][result.rows]
    means = averages(values) | _per_class(probe, per_image, result)
    if not probe.multi_label:
        confidences = confidences.amax(dim=1)
    return Measurements(means, per_image, predicted, confidences)


def worst_images(
    per_image: Mapping[str, Tensor], rows: Tensor, ids: Sequence[str]
) -> tuple[str, ...]:
    """Return the ids of the images whose first maps have the least on the object.

    Args:
        per_image: metrics of the first map, (N,) each.
        rows: (N,) the image of each map.
        ids: of the images.
    """
    if "enrichment" not in per_image:
        return ()
    values = per_image["enrichment"].nan_to_num(math.inf)
    order = values.argsort()[:_WORST].tolist()
    return tuple(ids[int(rows[n])] for n in order if math.isfinite(values[n]))


def map_metrics(maps: Tensor, foreground: Tensor | None) -> dict[str, Tensor]:
    """Return the metrics of single maps, each (N,), NaN where undefined.

    Args:
        maps: raw maps (N, h, w).
        foreground: (N, H, W) bool masks, or None.
    """
    values = {each.name: _call(each, maps).float() for each in metrics_of("map")}
    if foreground is not None:
        values |= {each.name: _call(each, maps, foreground) for each in metrics_of("mask")}
    return values


def movement_metrics(
    maps: Tensor, history: History, key: MapKey, image_hw: tuple[int, int] | None = None
) -> dict[str, Tensor]:
    """Return how far the maps moved, `<metric>_<reference>`, each (N,), NaN where undefined.

    Maps are compared as they are remembered, `reduced`. Where a reference does not exist yet, or is
    of another shape, the maps are compared with themselves, so that a monitored metric exists from
    the start.

    Args:
        maps: raw maps (N, h, w).
        history: earlier evaluations, without this one.
        key: the maps' method and layer.
        image_hw: height and width of the image in pixels; by default those of the maps.
    """
    image_hw = image_hw or (maps.shape[1], maps.shape[2])
    maps = reduced(maps)
    earlier = []
    for reference in REFERENCES:
        before = _reference(history, reference, key)
        known = before is not None and before.shape == maps.shape
        earlier.append(before.to(maps.device) if before is not None and known else maps)
    found = _against(maps, earlier, image_hw)
    return {
        f"{name}_{reference}": values[i]
        for i, reference in enumerate(REFERENCES)
        for name, values in found.items()
    }


def unflipped(
    movement: Mapping[str, Tensor], predicted: Tensor, rows: Tensor, history: History
) -> dict[str, Tensor]:
    """Return the movement of the images whose prediction did not change, NaN for the others.

    A map may move because the prediction changed. What remains here moved although it did not.

    Args:
        movement: what `movement_metrics` returned.
        predicted: (B,) classes, or (B, K) whether each label is predicted, now.
        rows: (N,) the image of each map.
        history: earlier evaluations. For the average, which has no prediction, the latest counts.
    """
    snapshots = {"previous": history.previous, "first": history.first, "best": history.best}
    flips = {
        name: _flips(None if each is None else each.predictions, predicted)[rows.cpu()]
        for name, each in snapshots.items()
    }
    flips["average"] = flips["previous"]
    flipped = torch.stack([flips[name.rsplit("_", 1)[1]] for name in movement])
    moved = torch.stack([each.float() for each in movement.values()])
    kept = moved.masked_fill(flipped.to(moved.device), math.nan).unbind()
    return dict(zip((f"{UNFLIPPED}/{name}" for name in movement), kept, strict=True))


def _flips(before: Tensor | None, predicted: Tensor) -> Tensor:
    """Return (B,) bool, the images that were predicted otherwise; none where it is not known."""
    before = before if before is not None and before.shape == predicted.shape else predicted
    return (predicted != before).view(len(predicted), -1).any(dim=1)


def prediction_metrics(
    confidences: Tensor, predicted: Tensor, before: Tensor | None, targets: Tensor | None
) -> dict[str, Tensor]:
    """Return the metrics of the predictions, one value per image or label, NaN where undefined.

    Args:
        confidences: (B, K) probabilities.
        predicted: (B,) classes, or (B, K) whether each label is predicted.
        before: the previous evaluation's; None at the first, which is compared with itself.
        targets: (B,) labels, (B, K) labels of 0 and 1, or None.
    """
    values = {}
    if targets is not None and targets.ndim == 1:
        values["label_confidence"] = confidences.gather(1, targets[:, None])[:, 0]
    elif targets is not None:
        values["label_confidence"] = confidences[targets]
    known = confidences.isfinite().all(dim=1)  # the largest of NaN would be no prediction
    values["prediction_flips"] = _flips(before, predicted).float().masked_fill(~known, math.nan)
    return values


def drift_metrics(metrics: Mapping[str, float], noise_floor: float) -> dict[str, float]:
    """Return the movement in multiples of what a flip and a jitter cause, and that itself.

    Args:
        metrics: by plain name.
        noise_floor: mean divergence of maps under noise; NaN where it is not known.
    """
    found = {"noise_floor": noise_floor}
    for name in REFERENCES:
        moved = metrics[f"jsd_{name}"]
        found[f"drift_{name}"] = moved / noise_floor if noise_floor > 0 else math.nan
    return found


def averages(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the mean of each metric where it is defined, NaN where it is nowhere defined.

    One transfer from the device for all of them, since each alone would wait for it.
    """
    groups: dict[int, list[str]] = {}
    for name, each in values.items():
        groups.setdefault(len(each), []).append(name)
    found: dict[str, float] = {}
    for names in groups.values():
        stacked = torch.stack([values[name].float() for name in names]).cpu().double()
        found.update(zip(names, stacked.nanmean(dim=1).tolist(), strict=True))
    return {name: found[name] for name in values}


def _call(metric: Metric, *maps: Tensor | Sequence[Tensor], **options: tuple[int, int]) -> Tensor:
    assert metric.function is not None
    values: Tensor = metric.function(*maps, **options)
    return values


def _against(
    maps: Tensor, earlier: Sequence[Tensor], image_hw: tuple[int, int]
) -> dict[str, list[Tensor]]:
    """Return each metric of movement against several earlier maps.

    Maps that are several references at once, such as the previous and the best, are compared once.
    """
    unique = list({id(each): each for each in earlier}.values())
    places = [next(i for i, each in enumerate(unique) if each is one) for one in earlier]
    found = {}
    for metric in metrics_of("movement"):
        size = {"image_hw": image_hw} if metric.in_pixels else {}
        if metric.compares_several:
            values = _call(metric, maps, unique, **size).unbind()
        else:
            values = tuple(_call(metric, maps, before, **size) for before in unique)
        found[metric.name] = [values[place] for place in places]
    return found


def _reference(history: History, reference: str, key: MapKey) -> Tensor | None:
    if reference == "average":
        return history.average.get(key)
    snapshot = getattr(history, reference)
    return None if snapshot is None else snapshot.maps.get(key)


def _predict(probe: Probe, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return probabilities (B, K) and predictions; NaN and -1 without logits."""
    if logits.shape[1] == 0:
        return torch.full((len(logits), 1), torch.nan), torch.full((len(logits),), -1)
    confidences = probabilities(logits, multi_label=probe.multi_label)
    if probe.multi_label:
        return confidences, confidences > _PREDICTED
    return confidences, predictions(logits)


def _per_class(
    probe: Probe, per_image: Mapping[str, Tensor], result: CAMResult
) -> dict[str, float]:
    """Return the enrichment of each class, where the probe has few enough classes."""
    if "enrichment" not in per_image or probe.targets is None:
        return {}
    if probe.multi_label:
        classes, known = result.classes, probe.targets.any(dim=0).nonzero()[:, 0].tolist()
    else:
        classes, known = probe.targets[result.rows], sorted(set(probe.targets.tolist()))
    if not 1 < len(known) <= _MAX_CLASSES:
        return {}
    of_class = classes[:, None] == torch.tensor(known)
    values = torch.where(of_class, per_image["enrichment"].double()[:, None], math.nan)
    names = [f"{OF_CLASS}/{safe_name(probe.name_of(label), f'class_{label}')}" for label in known]
    return dict(zip(names, values.nanmean(dim=0).tolist(), strict=True))
