"""Metrics of attention: pure functions of raw maps, one value per map, NaN where undefined.

`catalog.py` lists every metric with its title, range and meaning.
"""

from lightning_cam.metrics.catalog import METRICS, Metric, register_metric
from lightning_cam.metrics.localization import (
    coverage,
    enrichment,
    iou,
    pointing_game,
    relevance_mass,
    relevance_rank,
)
from lightning_cam.metrics.shape import (
    border_mass,
    center,
    entropy,
    is_flat,
    mean_activation,
)
from lightning_cam.metrics.stability import (
    center_shift,
    correlation,
    jsd,
    rank_correlation,
    top_overlap,
)

__all__ = [
    "METRICS",
    "Metric",
    "border_mass",
    "center",
    "center_shift",
    "correlation",
    "coverage",
    "enrichment",
    "entropy",
    "iou",
    "is_flat",
    "jsd",
    "mean_activation",
    "pointing_game",
    "rank_correlation",
    "register_metric",
    "relevance_mass",
    "relevance_rank",
    "top_overlap",
]
