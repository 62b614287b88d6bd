"""From maps and memory to the numbers that are logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lightning_cam import metrics
from lightning_cam.monitor.baselines import LOCALIZATION

if TYPE_CHECKING:
    from torch import Tensor


def measure(
    maps: Tensor,
    foreground: Tensor | None,
    first: Tensor | None,
    previous: Tensor | None,
) -> dict[str, Tensor]:
    """Return the metrics of one method and layer, each (N,), NaN where undefined.

    Args:
        maps: raw maps (N, h, w).
        foreground: (N, H, W) boolean masks, or None.
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
        values.update({name: metric(maps, foreground) for name, metric in LOCALIZATION.items()})
    for name, before in (("previous", previous), ("first", first)):
        known = before is not None and before.shape == maps.shape
        earlier = before.to(maps.device) if before is not None and known else maps
        values[f"jsd_{name}"] = metrics.jsd(maps, earlier)
        values[f"correlation_{name}"] = metrics.correlation(maps, earlier)
        values[f"center_shift_{name}"] = metrics.center_shift(maps, earlier)
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
    changed = predicted != (predicted if before is None else before)
    values["prediction_flips"] = changed.reshape(len(changed), -1).any(dim=1).float()
    return values


def average(values: Tensor) -> float:
    """Return the mean over the images where the metric is defined, NaN where it is nowhere."""
    return float(torch.nanmean(values.cpu().double()))
