"""Docstring and tables that are made from the catalog hold every metric."""

from pathlib import Path

import pytest

from lightning_cam import CAMCallback
from lightning_cam.metrics.documentation import document_metrics, metrics_tables, metrics_text
from lightning_cam.metrics.registry import (
    BASELINES,
    GROUPS,
    METRICS,
    REFERENCES,
    Metric,
    grouped,
    register_metric,
)


def shown(metric):
    """Return how texts name a metric."""
    return f"`{metric.name}_<reference>`" if metric.moves else f"`{metric.name}`"


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_every_metric_is_in_the_docstring_and_in_a_table(metric):
    assert shown(metric) in CAMCallback.__doc__
    (row,) = [r for r in metrics_tables().splitlines() if r.startswith(f"| {shown(metric)}")]
    assert metric.description in row
    assert ("(headline)" in row) is bool(metric.headline_names)
    assert row.count(" | ") == 5


def test_suffixes_are_explained():
    text = metrics_text()
    for name in (*REFERENCES, *BASELINES):
        assert f"`{name}`" in text


def test_the_placeholder_of_a_docstring_is_replaced():
    @document_metrics
    class Documented:
        """Does something.

        {metrics}
        """

    assert "{metrics}" not in Documented.__doc__
    assert "`enrichment`" in Documented.__doc__
    assert "{metrics}" not in CAMCallback.__doc__


def test_a_class_without_docstring_is_left_alone():
    """`python -OO` removes docstrings."""

    class Bare:
        pass

    assert document_metrics(Bare) is Bare
    assert Bare.__doc__ is None


@pytest.mark.parametrize("indent", [0, 4])
def test_lines_are_indented_and_at_most_100_wide(indent):
    lines = metrics_text(indent).splitlines()
    assert all(len(line) <= 100 for line in lines)
    assert all(line.startswith(" " * indent) for line in lines if line)


def test_there_is_a_table_per_group_with_equally_many_cells():
    tables = metrics_tables()
    assert [title for title in GROUPS.values() if f"### {title}\n" in tables] == [
        GROUPS[group] for group in grouped()
    ]
    rows = [line for line in tables.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {7}
    assert len(rows) == len(METRICS) + 2 * len(grouped())


def test_a_row_states_range_even_value_direction_and_needs(monkeypatch):
    monkeypatch.setattr("lightning_cam.metrics.registry.METRICS", dict(METRICS))
    register_metric(
        Metric(
            "mine",
            "Mine",
            "what it is",
            function=len,
            needs=("masks", "labels"),
            bounds=(-1.0, None),
            even=0.5,
            higher_is_better=False,
        )
    )
    assert (
        "| `mine` | what it is **(headline)** | −1 to ∞ | 0.5 | lower | masks, labels |"
        in metrics_tables()
    )


def test_the_page_of_metrics_is_up_to_date():
    """`make docs` fills it."""
    page = Path(__file__).parents[3] / "docs" / "metrics.md"
    text = page.read_text(encoding="utf-8")
    assert f"<!-- metrics -->\n\n{metrics_tables()}\n\n<!-- /metrics -->" in text
