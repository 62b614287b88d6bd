"""Does the model use the background? Scores under interventions, see `explain.interventions`.

Formulas take accuracies, or mean probabilities of the label, which move in small probes where
accuracies cannot. All return plain numbers, NaN where undefined.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

RELIANCE_METRICS = (
    "bg_gap",
    "bg_gap_confidence",
    "mixed_rand_drop",
    "rfs",
    "rfs_confidence",
    "background_accuracy",
    "background_confidence",
)


@dataclass(frozen=True)
class Outcome:
    """What a model says of altered images.

    Attributes:
        rows: (M,) the images of the probe that were altered.
        confidence: (M,) probability of the label.
        correct: (M,) boolean.
    """

    rows: Tensor
    confidence: Tensor
    correct: Tensor


def background_gap(same: float, rand: float) -> float:
    """Return BG-Gap: the score with backgrounds of the same class minus of other classes.

    0 for a model that ignores the background, 1 for one that reads nothing else. Xiao et al. 2020,
    section 3.
    """
    return same - rand


def foreground_sensitivity(noisy_object: float, noisy_background: float) -> float:
    """Return RFS, relative foreground sensitivity, -1 to 1. Moayeri et al. 2022, eq. 1.

    (a_bg - a_fg) / (2 min(ā, 1 - ā)) with ā their mean: 1 for a model that only noise on the object
    hurts, -1 for one that only noise on the background hurts. NaN when neither or both fail
    entirely, since no difference is possible then.
    """
    mean = (noisy_object + noisy_background) / 2
    room = min(mean, 1 - mean)
    if not room > 0:
        return math.nan
    return (noisy_background - noisy_object) / (2 * room)


def outcome(probabilities_MK: Tensor, labels: Tensor, rows: Tensor) -> Outcome:
    """Return what the probabilities (M, K) say of the labels (M,) of the images `rows`."""
    own = probabilities_MK.gather(1, labels[:, None].to(probabilities_MK.device))[:, 0]
    correct = probabilities_MK.argmax(dim=1).cpu() == labels.cpu()
    return Outcome(rows.cpu(), own.float().cpu(), correct)


def reliance(clean: Outcome, altered: Mapping[str, Outcome]) -> dict[str, float]:
    """Return all metrics that the interventions made allow.

    - `bg_gap`, `bg_gap_confidence`: by accuracy and by probability.
    - `rfs`, `rfs_confidence`.
    - `background_accuracy`, `background_confidence`: of the background alone.
    - `mixed_rand_drop`: probability of the label lost on backgrounds of other classes.
    """
    values: dict[str, float] = {}
    same, rand = altered.get("mixed_same"), altered.get("mixed_rand")
    if same is not None and rand is not None:
        one, other = _both(same, rand)
        values["bg_gap"] = background_gap(_mean(one.correct), _mean(other.correct))
        values["bg_gap_confidence"] = background_gap(_mean(one.confidence), _mean(other.confidence))
    if rand is not None:
        before = clean.confidence[rand.rows]
        values["mixed_rand_drop"] = _mean(before) - _mean(rand.confidence)
    fg, bg = altered.get("noisy_object"), altered.get("noisy_background")
    if fg is not None and bg is not None:
        values["rfs"] = foreground_sensitivity(_mean(fg.correct), _mean(bg.correct))
        values["rfs_confidence"] = foreground_sensitivity(
            _mean(fg.confidence), _mean(bg.confidence)
        )
    if (alone := altered.get("background")) is not None:
        values["background_accuracy"] = _mean(alone.correct)
        values["background_confidence"] = _mean(alone.confidence)
    return values


def _both(one: Outcome, other: Outcome) -> tuple[Outcome, Outcome]:
    """Return two outcomes on the images that both are of, so that only the background differs."""
    common = sorted(set(one.rows.tolist()) & set(other.rows.tolist()))
    kept = []
    for each in (one, other):
        place = {row: i for i, row in enumerate(each.rows.tolist())}
        index = torch.tensor([place[row] for row in common], dtype=torch.long)
        kept.append(Outcome(each.rows[index], each.confidence[index], each.correct[index]))
    return kept[0], kept[1]


def _mean(values: Tensor) -> float:
    return float(values.double().mean()) if len(values) else math.nan
