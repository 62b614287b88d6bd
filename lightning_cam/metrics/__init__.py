"""Metrics of attention: pure functions of raw maps, one value an image, NaN where undefined."""

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
    evidence_magnitude,
    is_flat,
)
from lightning_cam.metrics.stability import (
    center_shift,
    correlation,
    jsd,
    rank_correlation,
    top_overlap,
)

__all__ = [
    "border_mass",
    "center",
    "center_shift",
    "correlation",
    "coverage",
    "enrichment",
    "entropy",
    "evidence_magnitude",
    "iou",
    "is_flat",
    "jsd",
    "pointing_game",
    "rank_correlation",
    "relevance_mass",
    "relevance_rank",
    "top_overlap",
]
