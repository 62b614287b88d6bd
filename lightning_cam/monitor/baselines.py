"""What a metric says of maps that know nothing: what a curve has to be read against."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from lightning_cam import metrics

LOCALIZATION: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relevance_mass": metrics.relevance_mass,
    "enrichment": metrics.enrichment,
    "relevance_rank": metrics.relevance_rank,
    "pointing_game": metrics.pointing_game,
    "iou": metrics.iou,
}
BASELINES = ("random", "center", "untrained")
_RANDOM_DRAWS = 16
_PRIOR_WIDTH = 0.25


def localization_baselines(
    foreground: Tensor, grid: tuple[int, int], untrained: Tensor | None, seed: int = 0
) -> dict[str, float]:
    """Return each metric of localisation for maps that know nothing of the image.

    Args:
        foreground: (N, H, W) boolean masks, a row a map.
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
    for name, metric in LOCALIZATION.items():
        values[f"{name}_random"] = _mean(metric(each, masks) for each in noise)
        values[f"{name}_center"] = _mean([metric(middle, masks)])
        if untrained is not None:
            values[f"{name}_untrained"] = _mean([metric(untrained.cpu(), masks)])
    return values


def center_prior(grid: tuple[int, int]) -> Tensor:
    """Return a Gaussian in the middle, deviation a quarter of each side, (h, w)."""
    rows, columns = (
        torch.exp(-(((torch.arange(n) + 0.5) / n - 0.5) ** 2) / (2 * _PRIOR_WIDTH**2)) for n in grid
    )
    return rows[:, None] * columns[None, :]


def _mean(values: Iterable[Tensor]) -> float:
    return float(torch.nanmean(torch.cat(list(values)).double()))
