"""Baselines: metrics of maps that know nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_cam.explain.modules import ADAPTED
from lightning_cam.interventions.untrained import Untrained, layer_in_untrained
from lightning_cam.metrics.registry import metrics_of

if TYPE_CHECKING:
    from lightning_cam.explain.model_call import ModelAdapter
    from lightning_cam.explain.result import CAMResult
    from lightning_cam.monitor.map_computer import MapComputer

_RANDOM_DRAWS = 16
_PRIOR_WIDTH = 0.25


def untrained_maps(
    computer: MapComputer, model: ModelAdapter, images: Tensor, layer: str, rows: slice
) -> Tensor:
    """Return the first maps (N, h, w) of the same network with fresh weights.

    Args:
        computer: of the maps.
        model: the network.
        images: (B, C, H, W) of the probe, on its device.
        layer: of the maps.
        rows: which of the images.

    Raises:
        Exception: of any kind, by unusual modules.
    """
    fresh = model.around(Untrained(model, computer.seed))
    layers = [layer_in_untrained(f"{ADAPTED}.{layer}")]
    return computer.first_maps(fresh, images, computer.target, layers, rows)


def baselines_of(
    result: CAMResult, foreground: Tensor | None, untrained: Tensor | None
) -> dict[str, float]:
    """Return what the metrics with masks are for maps that know nothing.

    Args:
        result: maps and logits, on the CPU.
        foreground: (B, H, W) bool masks, or None: then there are no such metrics.
        untrained: (N, h, w) maps of fresh weights, or None.
    """
    if foreground is None or not len(result.rows):
        return {}
    maps = next(iter(result.maps.values()))
    masks = foreground[result.rows]
    return localization_baselines(masks, (maps.shape[1], maps.shape[2]), untrained)


def localization_baselines(
    foreground: Tensor, grid: tuple[int, int], untrained: Tensor | None, seed: int = 0
) -> dict[str, float]:
    """Return each metric that compares maps with masks, for maps that know nothing of the image.

    Args:
        foreground: (N, H, W) bool masks, one row per map.
        grid: height and width of the maps in cells.
        untrained: (N, h, w) maps of the same network under fresh weights, or None.
        seed: of the random maps.

    Returns:
        By `<metric>_random` (mean over uniform random maps), `<metric>_center` (a Gaussian in the
        middle) and `<metric>_untrained`.
    """
    generator = torch.Generator().manual_seed(seed)
    count = len(foreground)
    masks = foreground.cpu()
    noise = [torch.rand((count, *grid), generator=generator) for _ in range(_RANDOM_DRAWS)]
    middle = center_prior(grid).expand(count, -1, -1)
    values: dict[str, float] = {}
    for metric in metrics_of("mask"):
        assert metric.function is not None
        values[f"{metric.name}_random"] = _mean(metric.function(each, masks) for each in noise)
        values[f"{metric.name}_center"] = _mean([metric.function(middle, masks)])
        if untrained is not None:
            values[f"{metric.name}_untrained"] = _mean([metric.function(untrained.cpu(), masks)])
    return values


def center_prior(grid: tuple[int, int]) -> Tensor:
    """Return (h, w), a Gaussian in the middle, its standard deviation a quarter of each side."""
    rows, columns = (
        torch.exp(-(((torch.arange(n) + 0.5) / n - 0.5) ** 2) / (2 * _PRIOR_WIDTH**2)) for n in grid
    )
    return rows[:, None] * columns[None, :]


def _mean(values: Iterable[Tensor]) -> float:
    return float(torch.nanmean(torch.cat(list(values)).double()))
