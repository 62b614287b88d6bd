"""The tables of docs/alerts.md: `python -m benchmarks.pages shortcut`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.pages import measured_by, table
from benchmarks.shortcut.evaluate import BAD, CLEAN, METRICS

RESULTS, PAGE = "benchmarks/results/shortcut-cpu.json", "docs/alerts.md"


def alerts(results: Mapping[str, Any]) -> str:
    """Return what the default rules found, and their false alarms."""
    short, long = results["shortcut"], results["long_runs"]
    bad, clean = (f"{100 * each:.0f} points" for each in (BAD, CLEAN))
    known = (
        f"{short['runs']} runs, {short['bad']} lose more than {bad}, {short['clean']} at most "
        f"{clean}; {long['runs']} clean runs of {long['epochs'] // max(1, long['runs'])} epochs."
    )

    def row(title: str, figures: Mapping[str, Any], key: str, form: str) -> Sequence[str]:
        return title, *(format(figures[mode][key], form) for mode in METRICS)

    rows = [
        row("area under the ROC curve of the alert", short, "alert_roc_area", ".3f"),
        row("… where alerts that clear again count too", short, "alert_roc_area_any_time", ".3f"),
        row(f"runs that lose more than {bad} and are alerted", short, "true_alarm_rate", ".0%"),
        row("… within the first third of the training", short, "alerted_in_first_third", ".0%"),
        row(
            "share of the training that had passed at the alert, median",
            short,
            "share_of_training_at_alert",
            ".0%",
        ),
        row(f"runs that lose at most {clean} and are alerted", short, "false_alarm_rate", ".0%"),
        row(f"clean runs that are alerted, of {long['runs']}", long, "runs_with_an_alert", "d"),
        row("false alarms in 100 clean epochs", long, "alerts_per_100_epochs", ".2f"),
    ]
    return f"{known}\n\n{table(('', 'with masks', 'without'), rows)}"


def by_metric(results: Mapping[str, Any]) -> str:
    """Return how well each metric distinguishes the runs, of whichever probe it is."""
    found: dict[str, dict[str, float]] = {}
    for mode in reversed(METRICS):  # those with masks last: they count where both modes have one
        found |= results["shortcut"][mode]["metrics"]
    order = sorted(found, key=lambda name: found[name]["rank_correlation"], reverse=True)
    rows = []
    for name in order:
        area, correlation = found[name]["roc_area"], found[name]["rank_correlation"]
        rows.append((f"`{name}`", f"{area:.2f}", f"{correlation:.2f}"))
    return table(("metric", "area under the ROC curve", "rank correlation with the loss"), rows)


def sections(results: Mapping[str, Any]) -> dict[str, str]:
    """Return the sections of the page."""
    measured = measured_by(results["command"], results["environment"])
    return {"alerts": f"{alerts(results)}\n\n{measured}", "metrics": by_metric(results)}
