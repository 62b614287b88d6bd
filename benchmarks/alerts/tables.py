"""The tables of docs/alerts.md: `python -m benchmarks.pages alerts`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.alerts.evaluate import BAD
from benchmarks.alerts.picture import draw
from benchmarks.pages import measured_by, table

__all__ = ["PAGE", "RESULTS", "draw", "planted", "sections", "unplanted", "with_masks"]

RESULTS, PAGE = "benchmarks/results/alerts-cpu.json", "docs/alerts.md"


def planted(results: Mapping[str, Any]) -> str:
    """Return what was found of cues that were planted into photographs."""
    rows = []
    for cue, found in results["planted"].items():
        by_strength = found["alerted_by_strength"]
        rows.append(
            (
                cue,
                f"{found['bad']} of {found['runs']}",
                f"{found['alerted']:.0%}",
                ", ".join(f"{share:.0%} at {strength}" for strength, share in by_strength.items()),
                f"{found['share_of_training']:.0%}",
                f"{found['named']:.0%}",
                f"{found['roc_area']:.2f}",
            )
        )
    head = (
        "planted cue",
        f"runs that lose more than {100 * BAD:.0f} points",
        "of these alerted",
        "by correlation",
        "training passed at the alert, median",
        "cue named rightly",
        "area under the ROC curve",
    )
    return table(head, rows)


def unplanted(results: Mapping[str, Any]) -> str:
    """Return false alarms on photographs without a planted cue."""
    rows = [(kind, str(found["runs"]), str(found["alerted"]))
            for kind, found in results["unplanted"].items()]  # fmt: skip
    long = results["long"]
    rows += [(f"{kind}, 100 epochs", str(found["runs"]), str(found["alerted"]))
             for kind, found in long.items()]  # fmt: skip
    return table(("photographs without a planted cue", "runs", "alerted"), rows)


def with_masks(results: Mapping[str, Any]) -> str:
    """Return what was found on pasted objects."""
    found = results["pasted"]
    known = (
        f"{found['runs']} runs, {found['bad']} lose more than {200 * BAD:.0f} points, "
        f"{found['clean']} at most 5."
    )
    rows = [
        (title, *(format(found[mode][key], form) for mode in ("masks", "blind")))
        for title, key, form in (
            ("area under the ROC curve of `shortcut_score`", "roc_area", ".3f"),
            ("… against runs that lose at most 5 points", "roc_area_clean", ".3f"),
            ("its rank correlation with the loss", "rank_correlation", ".2f"),
            ("runs that lose more and are alerted", "alerted", ".0%"),
            ("training passed at the alert, median", "share_of_training", ".0%"),
            ("runs that lose at most 5 points and are alerted", "false_alarms", ".0%"),
        )
    ]
    return f"{known}\n\n{table(('', 'with masks', 'without'), rows)}"


def sections(results: Mapping[str, Any]) -> dict[str, str]:
    """Return the sections of the page."""
    measured = measured_by(results["command"], results["environment"])
    return {
        "planted": f"{planted(results)}\n\n{measured}",
        "unplanted": unplanted(results),
        "pasted": with_masks(results),
    }
