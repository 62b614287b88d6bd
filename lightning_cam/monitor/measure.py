"""From maps and memory to the numbers that are logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lightning_cam import metrics
from lightning_cam.explain.targets import predictions, probabilities

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_cam.monitor.history import History


def measure(
    maps: Tensor,
    foreground: Tensor | None,
    first: Tensor | None,
    previous: Tensor | None,
) -> dict[str, Tensor]:
    """Return the metrics of one method and layer, each (B,), NaN where undefined.

    Args:
        maps: raw maps (B, h, w).
        foreground: (B, H, W) boolean masks, or None.
        first: the first validation's maps; None at the first, which is then its own reference, so
            that a monitored metric is there from the start.
        previous: the previous validation's maps; None likewise.
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
        values["relevance_mass"] = metrics.relevance_mass(maps, foreground)
        values["enrichment"] = metrics.enrichment(maps, foreground)
        values["pointing_game"] = metrics.pointing_game(maps, foreground)
    for name, before in (("previous", previous), ("first", first)):
        known = before is not None and before.shape == maps.shape
        earlier = before.to(maps.device) if before is not None and known else maps
        values[f"jsd_{name}"] = metrics.jsd(maps, earlier)
        values[f"correlation_{name}"] = metrics.correlation(maps, earlier)
        values[f"center_shift_{name}"] = metrics.center_shift(maps, earlier)
    return values


def measure_predictions(
    logits: Tensor, targets: Tensor | None, history: History
) -> dict[str, Tensor]:
    """Return the metrics of the predictions, each (B,), NaN where undefined.

    Args:
        logits: (B, K).
        targets: (B,) labels, or None.
        history: of this probe, before this validation is added.
    """
    values = {}
    if targets is not None:
        confidence = probabilities(logits).gather(1, targets.to(logits.device)[:, None])[:, 0]
        values["label_confidence"] = confidence
    predicted = predictions(logits)
    before = history.previous.predictions if history.previous is not None else predicted
    values["prediction_flips"] = (predicted != before.to(predicted.device)).float()
    return values


def average(values: Tensor) -> float:
    """Return the mean over the images where the metric is defined, NaN where it is nowhere."""
    return float(torch.nanmean(values.double()))
