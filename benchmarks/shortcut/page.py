"""From results to documentation: the tables of docs/alerts.md.

python -m benchmarks.shortcut.page   # rewrites what lies between the page's marks
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.pages import measured_by, rewrite, table
from benchmarks.shortcut.evaluate import BAD, CLEAN, METRICS

RESULTS, PAGE = "benchmarks/results/shortcut-cpu.json", "docs/alerts.md"


def alerts(results: dict[str, Any]) -> str:
    """Return what the default rules caught, and what they should not have."""
    short, long = results["shortcut"], results["endurance"]
    bad, clean = (f"{100 * each:.0f} points" for each in (BAD, CLEAN))
    known = (
        f"{short['runs']} runs, {short['bad']} lose more than {bad}, {short['clean']} at most "
        f"{clean}; {long['runs']} clean runs of {long['epochs'] // long['runs']} epochs."
    )

    def row(title: str, figures: dict[str, Any], key: str, form: str) -> Sequence[str]:
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


def by_metric(results: dict[str, Any]) -> str:
    """Return how well each metric parts the runs, whichever probe it is of."""
    found: dict[str, dict[str, float]] = {}
    for mode in reversed(METRICS):  # those with masks last: they count where both have one
        found |= results["shortcut"][mode]["metrics"]
    order = sorted(found, key=lambda name: found[name]["rank_correlation"], reverse=True)
    return table(
        ("metric", "area under the ROC curve", "rank correlation with the loss"),
        [
            (
                f"`{name}`",
                f"{found[name]['roc_area']:.2f}",
                f"{found[name]['rank_correlation']:.2f}",
            )
            for name in order
        ],
    )


def sections(results: dict[str, Any]) -> dict[str, str]:
    """Return the page's sections."""
    by = measured_by(results["command"], results["environment"])
    return {"alerts": f"{alerts(results)}\n\n{by}", "metrics": by_metric(results)}


def main() -> None:
    """Rewrite the page."""
    results = json.loads(Path(RESULTS).read_text(encoding="utf-8"))
    rewrite(PAGE, sections(results))


if __name__ == "__main__":
    main()
