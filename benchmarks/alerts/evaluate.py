"""How well metrics and alerts distinguish runs that use the cue from runs that do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from benchmarks.shortcut.runs import Run
from lightning_cam.metrics.registry import metrics_of
from lightning_cam.monitor import Rule, Threshold, default_rules

BAD = 0.2  # a run that loses more accuracy than this on shuffled images should raise an alert
CLEAN = 0.05  # a run that loses at most this should not

_POINTS_TO_OBJECT = frozenset(  # metrics that are lower where the background is used
    (
        *("enrichment", "relevance_mass", "relevance_rank", "pointing_game", "iou"),
        *("rfs", "rfs_confidence", "faithfulness", "top_drop"),
    )
)
_INTERVENTIONS = tuple(metrics_of("intervention"))
METRICS = {
    "masks": (
        *("enrichment", "relevance_mass", "relevance_rank", "pointing_game", "iou"),
        *(metric.name for metric in _INTERVENTIONS if "masks" in metric.needs),
        *("entropy", "border_mass", "jsd_first"),
    ),
    "blind": (
        *(metric.name for metric in _INTERVENTIONS if "no masks" in metric.needs),
        *("entropy", "border_mass", "jsd_first", "drift_first"),
    ),
}

AlertsOf = Callable[[Run, str], list[int]]


def rules_of(mode: str) -> tuple[Rule, ...]:
    """Return the default rules with masks, or without."""
    return default_rules(masks=mode == "masks", labels=True)


def alert_score(run: Run, mode: str, *, at_the_end: bool = True) -> float:
    """Return by how much the metrics of the default rules exceed their limits, for the ROC curve.

    For each rule the largest value that lasted for its patience, in multiples of the limit. Rules
    that are confirmed by interventions are left out, as another rule is about these.

    Args:
        run: a run whose truth is known.
        mode: with masks or without.
        at_the_end: of the last third of the training only, when the truth is measured; otherwise of
            the whole training: a network may learn the cue first and unlearn it later.
    """
    history = run.metrics[mode]
    if at_the_end:
        history = history[-max(3, len(history) // 3) :]
    scores = [_excess(history, rule) for rule in rules_of(mode)]
    known = [score for score in scores if math.isfinite(score)]
    return max(known) if known else 0.0


def _excess(history: Sequence[Mapping[str, float]], rule: Rule) -> float:
    assert isinstance(rule, Threshold)
    if rule.confirm:
        return -math.inf
    values = [m[rule.metric] for m in history if math.isfinite(m.get(rule.metric, math.nan))]
    if len(values) < rule.patience:
        return -math.inf
    assert rule.above is not None
    windows = [min(values[i : i + rule.patience]) for i in range(len(values) - rule.patience + 1)]
    return max(windows) / rule.above


def roc_area(scores: Sequence[float], runs: Sequence[Run]) -> float:
    """Return the area under the ROC curve of bad runs against all others."""
    pairs = [(s, r.loss > BAD) for s, r in zip(scores, runs, strict=True) if math.isfinite(s)]
    truths = [bad for _, bad in pairs]
    if len(set(truths)) < 2:
        return math.nan
    return float(roc_auc_score(truths, [score for score, _ in pairs]))


def final_value(run: Run, mode: str, metric: str) -> float:
    """Return a metric's mean over the last third of a run, higher where the background is used."""
    history = run.metrics[mode]
    values = [entry.get(metric, math.nan) for entry in history[-max(1, len(history) // 3) :]]
    known = [value for value in values if math.isfinite(value)]
    sign = -1 if metric in _POINTS_TO_OBJECT else 1
    return sign * float(np.mean(known)) if known else math.nan


def summary(runs: Sequence[Run], alerts_of: AlertsOf) -> dict[str, Any]:
    """Return the figures of runs whose truth is known, by mode.

    Args:
        runs: of any length and truth.
        alerts_of: returns the evaluations at which a run raised alerts in a mode.
    """
    bad = [run for run in runs if run.loss > BAD]
    clean = [run for run in runs if run.loss <= CLEAN]
    found: dict[str, Any] = {"runs": len(runs), "bad": len(bad), "clean": len(clean)}
    for mode, metrics in METRICS.items():
        # Time of the first alert as a share of the training; above 1 where there was none.
        first = [min(alerts_of(run, mode), default=math.inf) / run.plan.epochs for run in bad]
        at_any_time = [alert_score(run, mode, at_the_end=False) for run in runs]
        found[mode] = {
            "alert_roc_area": roc_area([alert_score(run, mode) for run in runs], runs),
            "alert_roc_area_any_time": roc_area(at_any_time, runs),
            "true_alarm_rate": _share(share <= 1 for share in first),
            "alerted_in_first_third": _share(share < 1 / 3 for share in first),
            "share_of_training_at_alert": float(np.median(first)) if first else math.nan,
            "false_alarm_rate": _share(bool(alerts_of(run, mode)) for run in clean),
            "metrics": {metric: _quality(runs, mode, metric) for metric in metrics},
        }
    return found


def _quality(runs: Sequence[Run], mode: str, metric: str) -> dict[str, float]:
    values = [final_value(run, mode, metric) for run in runs]
    losses = [run.loss for run in runs]
    return {"roc_area": roc_area(values, runs), "rank_correlation": _correlation(values, losses)}


def long_runs(runs: Sequence[Run], alerts_of: AlertsOf) -> dict[str, Any]:
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


def _correlation(values: Sequence[float], losses: Sequence[float]) -> float:
    pairs = [(v, x) for v, x in zip(values, losses, strict=True) if math.isfinite(v)]
    if len(pairs) < 3 or len({v for v, _ in pairs}) == 1 or len({x for _, x in pairs}) == 1:
        return math.nan
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)
