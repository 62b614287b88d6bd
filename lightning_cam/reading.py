"""What a look's maps and logits say in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_cam.explain.outputs import predictions, probabilities
from lightning_cam.loggers.base import safe_name
from lightning_cam.monitor.measure import (
    averages,
    measure,
    measure_movement,
    measure_predictions,
    unflipped,
)
from lightning_cam.panels import suffix_of

if TYPE_CHECKING:
    from lightning_cam.explain.engine import CAMResult
    from lightning_cam.monitor import History
    from lightning_cam.probe import Probe

_LIKELY = 0.5  # from which probability a label of several counts as predicted
_MOST_CLASSES = 20  # that have a curve of their own


@dataclass(frozen=True)
class Reading:
    """Everything measured on one look's maps.

    Attributes:
        metrics: means by plain name, NaN where a metric is defined for no image.
        per_image: of the first map, (N,) on the CPU.
        predictions: (B,) long, or (B, K) boolean where images have several labels.
        confidences: (B,) probability of the predicted class, or (B, K) of each label.
    """

    metrics: dict[str, float]
    per_image: dict[str, Tensor]
    predictions: Tensor
    confidences: Tensor


def read(probe: Probe, result: CAMResult, history: History) -> Reading:
    """Measure maps against masks, memory and labels.

    Args:
        probe: the images that were looked at.
        result: their maps and logits, on the CPU: so many small steps would each wait for a device.
        history: what was seen before.
    """
    masks = None if probe.foreground is None else probe.foreground[result.rows]
    confidences, predicted = _predicted(probe, result.logits)
    means: dict[str, float] = {}
    per_image: dict[str, Tensor] = {}
    for key, maps in result.maps.items():
        suffix = suffix_of(key, result.maps)
        movement = measure_movement(maps, history, key)
        values = {**measure(maps, masks), **movement}
        if not suffix:
            per_image = dict(values)
            values |= unflipped(movement, predicted, result.rows, history)
        means |= {f"{name}{suffix}": value for name, value in averages(values).items()}
    if result.logits.shape[1]:
        before = history.previous.predictions if history.previous else None
        targets = None if probe.targets is None else probe.targets[: len(predicted)]
        found = measure_predictions(confidences, predicted, before, targets)
        means |= averages(found)
        if not probe.multi_label and "label_confidence" in found:
            per_image["label_confidence"] = found["label_confidence"][result.rows]
    means |= _per_class(probe, per_image, result)
    if not probe.multi_label:
        confidences = confidences.amax(dim=1)
    return Reading(means, per_image, predicted, confidences)


def _predicted(probe: Probe, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return probabilities (B, K) and predictions; NaN and -1 without logits."""
    if logits.shape[1] == 0:
        return torch.full((len(logits), 1), torch.nan), torch.full((len(logits),), -1)
    confidences = probabilities(logits, multi_label=probe.multi_label)
    if probe.multi_label:
        return confidences, confidences > _LIKELY
    return confidences, predictions(logits)


def _per_class(
    probe: Probe, per_image: Mapping[str, Tensor], result: CAMResult
) -> dict[str, float]:
    """Return the enrichment of each class, where the probe has few enough to read."""
    if "enrichment" not in per_image or probe.targets is None:
        return {}
    if probe.multi_label:
        classes, known = result.classes, probe.targets.any(dim=0).nonzero()[:, 0].tolist()
    else:
        classes, known = probe.targets[result.rows], sorted(set(probe.targets.tolist()))
    if not 1 < len(known) <= _MOST_CLASSES:
        return {}
    return {
        f"enrichment_of/{safe_name(probe.name_of(label))}": float(
            per_image["enrichment"][classes == label].nanmean()
        )
        for label in known
    }
