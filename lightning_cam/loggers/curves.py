"""Which curves belong into one chart, and which charts beside each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

# Chart titles and the metric names that they take, by category; the first that fits is taken.
# A metric's baselines and further references end in `_...`, so new ones find their chart.
_CHARTS = {
    "where attention rests": {
        "enrichment": r"enrichment\w*",
        "enrichment by class": r"enrichment_of/[^/]+",
        "relevance_mass": r"relevance_mass\w*",
        "relevance_rank": r"relevance_rank\w*",
        "pointing_game": r"pointing_game\w*",
        "iou": r"iou\w*",
        "border_mass": r"border_mass\w*",
        "entropy": r"entropy\w*",
        "center": r"center_[xy]",
    },
    "how it moves": {
        "correlation": r"correlation_\w+",
        "correlation, prediction unchanged": r"unflipped/correlation_\w+",
        "rank_correlation": r"rank_correlation_\w+",
        "rank_correlation, prediction unchanged": r"unflipped/rank_correlation_\w+",
        "jsd": r"jsd_\w+",
        "jsd, prediction unchanged": r"unflipped/jsd_\w+",
        "top_overlap": r"top_overlap_\w+",
        "top_overlap, prediction unchanged": r"unflipped/top_overlap_\w+",
        "center_shift": r"center_shift_\w+",
        "center_shift, prediction unchanged": r"unflipped/center_shift_\w+",
        "drift and its noise floor": r"drift_\w+|noise_floor\w*",
        "prediction_flips": r"prediction_flips\w*",
    },
    "does the model use the background": {
        "reliance": r"\w+_reliance",
        "gap between backgrounds of the same and of other classes": r"(?:bg|rim)_gap\w*",
        "probability lost when a part is taken away": r"\w+_drop",
        "faithfulness": r"faithfulness\w*",
        "rfs": r"rfs\w*",
        "what is left without the object": r"(?:background|rim|scrambled)_(?:accuracy|confidence)",
        "skill without the object": r"\w+_skill",
    },
    "train against validation": {},
    "health": {
        "zero_map_fraction": r"zero_map_fraction\w*",
        "evidence": r"evidence\w*",
        "label_confidence": r"label_confidence\w*",
    },
    "more": {},
}
_FAMILY = r"(?:unflipped|gap|\w+_of)"  # what may stand before a metric's last part
_PROBE = rf"(?:(?!{_FAMILY}/)[^/]+/)?"
_MAP = r"(?:(?<!_of)/[^/]+@[^/]+)?"  # further methods and layers; no class with an @ in its name


def charts(tag: str, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return regular expressions of the curves that belong together, by category and title.

    Probes, and the maps of further methods and layers, share the chart of their metric. Only charts
    that one of the names belongs to are returned.

    Args:
        tag: what the names start with, e.g. `cam`.
        names: of the scalars, in full, e.g. `cam/train/enrichment_random`.
    """
    found: dict[str, dict[str, str]] = {category: {} for category in _CHARTS}
    for name in names:
        category, title, pattern = _chart_of(_short(tag, name))
        found[category][title] = f"^{re.escape(tag)}/{_PROBE}(?:{pattern}){_MAP}$"
    return {
        f"{tag}: {category}": {title: some[title] for title in _ordered(category, some)}
        for category, some in found.items()
        if some
    }


def _chart_of(short: str) -> tuple[str, str, str]:
    for category, known in _CHARTS.items():
        for title, pattern in known.items():
            if re.fullmatch(pattern, short):
                return category, title, pattern
    category = "train against validation" if short.startswith("gap/") else "more"
    return category, short, re.escape(short)


def _short(tag: str, name: str) -> str:
    """Return a metric's name without tag, probe, method and layer; `gap/...` keeps its family."""
    *before, last = name.removeprefix(f"{tag}/").split("/")
    if "@" in last and before and not re.fullmatch(_FAMILY, before[-1]):
        *before, last = before
    return f"{before[-1]}/{last}" if before and re.fullmatch(_FAMILY, before[-1]) else last


def _ordered(category: str, titles: Iterable[str]) -> Iterator[str]:
    """Yield titles in the order of the table, those that it does not know at the end."""
    order = list(_CHARTS[category])
    return iter(sorted(titles, key=lambda t: (order.index(t) if t in order else len(order), t)))
