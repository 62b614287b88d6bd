"""Documentation made from the catalog: `CAMCallback`'s docstring and `docs/metrics.md`."""

from __future__ import annotations

import textwrap
from typing import TypeVar

from lightning_cam.metrics.registry import (
    BASELINES,
    GAP,
    GROUPS,
    OF_CLASS,
    REFERENCES,
    UNFLIPPED,
    Metric,
    grouped,
)

T = TypeVar("T", bound=type)
_WIDTH = 100
_DIRECTIONS = {True: "higher", False: "lower", None: ""}


def document_metrics(cls: T) -> T:
    """Fill the list of all metrics into a class's docstring, in place of `{metrics}`."""
    if cls.__doc__ is not None:  # `python -OO` drops docstrings
        cls.__doc__ = cls.__doc__.replace("{metrics}", metrics_text(indent=4).strip())
    return cls


def metrics_text(indent: int = 0) -> str:
    """Return the names of all metrics by group, as a paragraph and a list.

    Args:
        indent: number of spaces before each line.
    """
    start = (
        "Logged metrics, all under `cam/` (`cam/<probe>/` with several probes, and with the suffix "
        "`/<method>@<layer>` for every further map), NaN where they are defined for no image:"
    )
    lines = [start, ""]
    for group, metrics in grouped().items():
        names = ", ".join(_short_name(metric) for metric in metrics)
        lines.append(f"- {GROUPS[group]}: {names};")
    lines += [
        f"- `<baseline>` is one of {_listed(BASELINES)}: the metric of {_meanings(BASELINES)};",
        f"- `<reference>` is one of {_listed(REFERENCES)}: {_meanings(REFERENCES)};",
        f"- `{UNFLIPPED}/<name>`: the movement of images whose prediction did not change;",
        f"- `{OF_CLASS}/<class>`: the enrichment of one class's images, for up to 20 classes;",
        f"- `{GAP}/<metric>`: with two probes, training minus validation, or first minus second.",
    ]
    wrapped = []
    for line in lines:
        hanging = " " * (indent + 2) if line.startswith("- ") else " " * indent
        start = " " * indent
        wrapped.append(
            textwrap.fill(
                line,
                _WIDTH,
                initial_indent=start,
                subsequent_indent=hanging,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    return "\n".join(wrapped)


def metrics_tables() -> str:
    """Return a Markdown table of the metrics of each group."""
    parts = []
    for group, metrics in grouped().items():
        parts += [
            f"### {GROUPS[group]}",
            "",
            "| metric | meaning | range | even | better | needs |",
        ]
        parts += ["|---|---|---|---|---|---|", *map(_row, metrics), ""]
    return "\n".join(parts).strip()


def _short_name(metric: Metric) -> str:
    if metric.moves:
        return f"`{metric.name}_<reference>`"
    return f"`{metric.name}`" + (f", `{metric.name}_<baseline>`" if metric.kind == "mask" else "")


def _row(metric: Metric) -> str:
    low, high = metric.bounds
    bounds = f"{_number(low, '−∞')} to {_number(high, '∞')}"
    if low is None and high is None:
        bounds = ""
    cells = [
        _short_name(metric),
        metric.description + (" **(headline)**" if metric.headline_names else ""),
        bounds,
        _number(metric.even, ""),
        _DIRECTIONS[metric.higher_is_better],
        ", ".join(metric.needs),
    ]
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, none: str) -> str:
    return none if value is None else f"{value:g}".replace("-", "−")


def _listed(names: dict[str, str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _meanings(names: dict[str, str]) -> str:
    return ", ".join(names.values())
