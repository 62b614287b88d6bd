"""From runs to figures: how well metrics and alerts tell the runs apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from benchmarks.shortcut.runs import Run
from lightning_cam.metrics.reliance import MASK_FREE_METRICS, RELIANCE_METRICS
from lightning_cam.monitor import Threshold, Rule, default_rules

BAD = 0.2  # accuracy lost on shuffled images from which a run should be alerted
CLEAN = 0.05  # up to which it should not be

_SIGNS = {  # which way a metric points when the background is used; others are taken both ways
    "enrichment": -1,
    "relevance_mass": -1,
    "relevance_rank": -1,
    "pointing_game": -1,
    "iou": -1,
    "rfs": -1,
    "rfs_confidence": -1,
    "faithfulness": -1,
    "top_drop": -1,
}
METRICS = {
    "masks": (
        *("enrichment", "relevance_mass", "relevance_rank", "pointing_game", "iou"),
        *RELIANCE_METRICS,
        *("entropy", "border_mass", "jsd_first"),
    ),
    "blind": (*MASK_FREE_METRICS, "entropy", "border_mass", "jsd_first", "drift_first"),
}


def rules_of(mode: str) -> tuple[Rule, ...]:
    """Return the default rules with masks, or without."""
    return default_rules(masks=mode == "masks", labels=True)


def alert_score(run: Run, mode: str, *, standing: bool = True) -> float:
    """Return how far the default rules' metrics stay beyond their limits: the alert's ROC score.

    For each rule the most extreme value that held for its patience, in multiples of the limit. A
    rule that waits for an intervention adds nothing to what confirms it.

    Args:
        run: with a known truth, which is that of its end.
        mode: with masks or without.
        standing: of the last third of the training only, where the truth is taken; else of any
            time: a network may learn the cue first and unlearn it later.
    """
    course = run.metrics[mode]
    if standing:
        course = course[-max(3, len(course) // 3) :]
    scores = [_margin(course, rule) for rule in rules_of(mode)]
    known = [score for score in scores if math.isfinite(score)]
    return max(known) if known else 0.0


def _margin(course: Sequence[Mapping[str, float]], rule: Rule) -> float:
    assert isinstance(rule, Level)
    if rule.confirm:
        return -math.inf
    values = [m[rule.metric] for m in course if math.isfinite(m.get(rule.metric, math.nan))]
    if len(values) < rule.patience:
        return -math.inf
    assert rule.above is not None
    windows = [min(values[i : i + rule.patience]) for i in range(len(values) - rule.patience + 1)]
    return max(windows) / rule.above


def area(scores: Sequence[float], runs: Sequence[Run]) -> float:
    """Return the area under the ROC curve: does the score part bad runs from all others?"""
    pairs = [(s, r.loss > BAD) for s, r in zip(scores, runs, strict=True) if math.isfinite(s)]
    truths = [bad for _, bad in pairs]
    if len(set(truths)) < 2:
        return math.nan
    return float(roc_auc_score(truths, [score for score, _ in pairs]))


def settled(run: Run, mode: str, metric: str) -> float:
    """Return a metric's mean over the last third of a run, with the sign that means background."""
    course = run.metrics[mode]
    values = [entry.get(metric, math.nan) for entry in course[-max(1, len(course) // 3) :]]
    known = [value for value in values if math.isfinite(value)]
    return _SIGNS.get(metric, 1) * float(np.mean(known)) if known else math.nan


def summary(runs: Sequence[Run], alerts_of: Callable[[Run, str], list[int]]) -> dict[str, Any]:
    """Return the figures of runs with a known truth, by mode.

    Args:
        runs: any lengths and truths.
        alerts_of: the looks at which a run was alerted in a mode.
    """
    bad = [run for run in runs if run.loss > BAD]
    clean = [run for run in runs if run.loss <= CLEAN]
    found: dict[str, Any] = {"runs": len(runs), "bad": len(bad), "clean": len(clean)}
    for mode, metrics in METRICS.items():
        # When each run was first alerted, as a share of its training; above 1 where it was not.
        first = [min(alerts_of(run, mode), default=math.inf) / run.plan.epochs for run in bad]
        found[mode] = {
            "alert_roc_area": area([alert_score(run, mode) for run in runs], runs),
            "alert_roc_area_any_time": area(
                [alert_score(run, mode, standing=False) for run in runs], runs
            ),
            "true_alarm_rate": _share(share <= 1 for share in first),
            "alerted_in_first_third": _share(share < 1 / 3 for share in first),
            "share_of_training_at_alert": float(np.median(first)) if first else math.nan,
            "false_alarm_rate": _share(bool(alerts_of(run, mode)) for run in clean),
            "metrics": {metric: _told_by(runs, mode, metric) for metric in metrics},
        }
    return found


def _told_by(runs: Sequence[Run], mode: str, metric: str) -> dict[str, float]:
    values = [settled(run, mode, metric) for run in runs]
    losses = [run.loss for run in runs]
    return {"roc_area": area(values, runs), "rank_correlation": _rank(values, losses)}


def endurance(runs: Sequence[Run], alerts_of: Callable[[Run, str], list[int]]) -> dict[str, Any]:
    """Return the false alarms of long clean runs."""
    epochs = sum(run.plan.epochs for run in runs)
    found: dict[str, Any] = {"runs": len(runs), "epochs": epochs}
    found["largest_loss"] = max((run.loss for run in runs), default=math.nan)
    for mode in METRICS:
        counts = [len(alerts_of(run, mode)) for run in runs]
        found[mode] = {
            "runs_with_an_alert": sum(count > 0 for count in counts),
            "alerts_per_100_epochs": 100 * sum(counts) / max(1, epochs),
        }
    return found


def _share(holds: Iterable[bool]) -> float:
    listed = list(holds)
    return sum(listed) / len(listed) if listed else math.nan


def _rank(values: Sequence[float], losses: Sequence[float]) -> float:
    pairs = [(v, x) for v, x in zip(values, losses, strict=True) if math.isfinite(v)]
    if len(pairs) < 3 or len({v for v, _ in pairs}) == 1 or len({x for _, x in pairs}) == 1:
        return math.nan
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)
