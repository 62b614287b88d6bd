"""Which scalars share a chart on TensorBoard's page of custom scalars, and which charts a group."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from lightning_cam.metrics.catalog import METRICS
from lightning_cam.metrics.registry import (
    GAP,
    GROUPS,
    OF_CLASS,
    UNFLIPPED,
    Metric,
    find_metric,
    title_of,
)

_FAMILIES = (GAP, UNFLIPPED, OF_CLASS)
_FAMILY = rf"(?:{'|'.join(_FAMILIES)})"  # may precede a metric's name, as in `gap/enrichment`
_PROBE = rf"(?:(?!{_FAMILY}/)[^/]+/)?"
_MAP = rf"(?:(?<!{OF_CLASS})/[^/]+@[^/]+)?"  # further methods and layers; a class may hold an @


def charts(tag: str, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return regular expressions of the scalars that share a chart, by group and chart title.

    All probes, and the maps of further methods and layers, share the chart of their metric. Only
    charts that one of the names belongs to are returned.

    Args:
        tag: what the names start with, e.g. `cam`.
        names: of the scalars, in full, e.g. `cam/train/enrichment_random`.
    """
    found: dict[str, dict[str, str]] = {group: {} for group in GROUPS}
    for name in names:
        group, title, pattern = _chart_of(_short_name(tag, name))
        found[group][title] = f"^{re.escape(tag)}/{_PROBE}(?:{pattern}){_MAP}$"
    return {
        f"{tag}: {GROUPS[group]}": {title: some[title] for title in _ordered(group, some)}
        for group, some in found.items()
        if some
    }


def _chart_of(short: str) -> tuple[str, str, str]:
    """Return group, title and pattern of the chart that a name without tag and probe belongs to."""
    family, _, last = short.rpartition("/")
    if family == GAP:
        return "gap", title_of(last), re.escape(short)
    if family == OF_CLASS:
        return "attention", f"{title_of('enrichment')} by class", rf"{OF_CLASS}/[^/]+"
    metric, _ = find_metric(last)
    if metric is None:
        return "other", short, re.escape(short)
    names = [name for each in _sharing_chart(metric) for name in each.logged_names]
    pattern = "|".join(map(re.escape, names))
    title = metric.chart or metric.title
    if family == UNFLIPPED:
        return metric.group, f"{title}, prediction unchanged", rf"{UNFLIPPED}/(?:{pattern})"
    return metric.group, title, pattern


def _sharing_chart(metric: Metric) -> Iterator[Metric]:
    title = metric.chart or metric.title
    return (each for each in METRICS.values() if title in (each.chart, each.title))


def _short_name(tag: str, name: str) -> str:
    """Return a name without tag, probe, method and layer; families such as `gap/` stay."""
    *before, last = name.removeprefix(f"{tag}/").split("/")
    if "@" in last and before and before[-1] not in _FAMILIES:
        *before, last = before
    return f"{before[-1]}/{last}" if before and before[-1] in _FAMILIES else last


def _ordered(group: str, titles: Iterable[str]) -> list[str]:
    """Return titles in the order of the catalog, those that it does not know at the end."""
    known = [each.chart or each.title for each in METRICS.values() if each.group == group]

    def place(title: str) -> tuple[int, str]:
        plain = title.removesuffix(", prediction unchanged").removesuffix(" by class")
        return (known.index(plain) if plain in known else len(known), title)

    return sorted(titles, key=place)
