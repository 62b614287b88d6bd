"""How well alerts distinguish runs that use the cue from runs that do not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from benchmarks.alerts.runs import Run

BAD = 0.1  # a run that loses more accuracy than this on shuffled images should raise an alert
CLEAN = 0.05  # a run that loses at most this should not
ATTRIBUTES = {"tint": "color", "blur": "sharpness"}  # the attribute of a cue of another name


def final_value(run: Run, mode: str, metric: str = "shortcut_score") -> float:
    """Return a metric's mean over the last third of a run."""
    history = run.metrics[mode]
    values = [entry.get(metric, math.nan) for entry in history[-max(1, len(history) // 3) :]]
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else 0.0


def roc_area(bad: Sequence[float], good: Sequence[float]) -> float:
    """Return the area under the ROC curve of scores; NaN where one kind is missing."""
    if not bad or not good:
        return math.nan
    truths = [True] * len(bad) + [False] * len(good)
    return float(roc_auc_score(truths, [*bad, *good]))


def planted(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Return by cue what was found of the runs that lose more than `BAD`."""
    good = [final_value(run, "blind") for run in runs if not run.plan.cue]
    cues = dict.fromkeys(run.plan.cue for run in runs if run.plan.cue)
    return {cue: _of_cue(cue, [r for r in runs if r.plan.cue == cue], good) for cue in cues}


def _of_cue(cue: str, runs: Sequence[Run], good: Sequence[float]) -> dict[str, Any]:
    bad = [run for run in runs if run.loss > BAD]
    first = [_share_passed(run, "blind") for run in bad]
    leading = [
        alert["attribute"]
        for run in bad
        for alert in run.alerts["blind"][:1]
        if alert["verdict"] == "confirmed"
    ]
    return {
        "runs": len(runs),
        "bad": len(bad),
        "alerted": share(each <= 1 for each in first),
        "alerted_by_strength": {
            f"{strength:.0%}": share(
                _share_passed(run, "blind") <= 1 for run in bad if run.plan.correlation == strength
            )
            for strength in sorted({run.plan.correlation for run in bad})
        },
        "share_of_training": float(np.median(first)) if first else math.nan,
        "named": share(name == ATTRIBUTES.get(cue, cue) for name in leading),
        "roc_area": roc_area([final_value(run, "blind") for run in bad], good),
    }


def unplanted(runs: Sequence[Run]) -> dict[str, dict[str, int]]:
    """Return by number of classes and kind how many runs there are, and how many are alerted."""
    found: dict[str, dict[str, int]] = {}
    for run in runs:
        if run.plan.cue:
            continue
        count = 100 if isinstance(run.plan.classes, str) else len(run.plan.classes)
        kind = f"{count} classes, {run.plan.network}"
        entry = found.setdefault(kind, {"runs": 0, "alerted": 0})
        entry["runs"] += 1
        entry["alerted"] += run.first_alert("blind") is not None
    return found


def with_masks(runs: Sequence[Run]) -> dict[str, Any]:
    """Return by mode the figures of runs on pasted objects."""
    bad = [run for run in runs if run.loss > 2 * BAD]
    clean = [run for run in runs if run.loss <= CLEAN]
    found: dict[str, Any] = {"runs": len(runs), "bad": len(bad), "clean": len(clean)}
    for mode in ("masks", "blind"):
        known = [run for run in runs if mode in run.metrics]
        scores = {id(run): final_value(run, mode) for run in known}
        first = [_share_passed(run, mode) for run in bad]
        of_bad = [scores[id(run)] for run in bad]
        others = [scores[id(run)] for run in known if run.loss <= 2 * BAD]
        found[mode] = {
            "roc_area": roc_area(of_bad, others),
            "roc_area_clean": roc_area(of_bad, [scores[id(run)] for run in clean]),
            "rank_correlation": _correlation(list(scores.values()), [run.loss for run in known]),
            "alerted": share(each <= 1 for each in first),
            "share_of_training": float(np.median(first)) if first else math.nan,
            "false_alarms": share(run.first_alert(mode) is not None for run in clean),
        }
    return found


def share(holds: Iterable[bool]) -> float:
    """Return the share that holds; NaN of none."""
    listed = list(holds)
    return sum(listed) / len(listed) if listed else math.nan


def _share_passed(run: Run, mode: str) -> float:
    """Return the share of the training that had passed at the first alert; infinite for none."""
    first = run.first_alert(mode)
    return math.inf if first is None else (first + 1) / run.plan.epochs


def _correlation(values: Sequence[float], losses: Sequence[float]) -> float:
    if len(values) < 3 or len(set(values)) == 1 or len(set(losses)) == 1:
        return math.nan
    return float(spearmanr(values, losses).statistic)
