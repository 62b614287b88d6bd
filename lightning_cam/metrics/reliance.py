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
    "background_reliance",
    "bg_gap",
    "bg_gap_confidence",
    "mixed_rand_drop",
    "rfs",
    "rfs_confidence",
    "background_accuracy",
    "background_confidence",
    "background_skill",
)

FEWEST_PAIRS = 4
_LITTLE = 0.3
MASK_FREE_METRICS = (
    "rim_reliance",
    "rim_gap_confidence",
    "rim_confidence",
    "rim_skill",
    "top_drop",
    "random_drop",
    "faithfulness",
)


@dataclass(frozen=True)
class Outcome:
    """What a model says of altered images.

    Attributes:
        rows: (M,) the images of the probe that were altered.
        confidence: (M,) probability of the label.
        correct: (M,) boolean.
        skill: (M,) probability of the label minus what images of other classes are given for it: 0
            for whatever answer that is always the same. NaN where there are no others.
    """

    rows: Tensor
    confidence: Tensor
    correct: Tensor
    skill: Tensor


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
    chances, labels = probabilities_MK.float().cpu(), labels.cpu()
    of_labels = chances[:, labels]  # a row an image, a column the label of an image
    other = labels[:, None] != labels[None, :]
    elsewhere = (of_labels * other).sum(dim=0) / other.sum(dim=0)
    own = of_labels.diagonal()
    return Outcome(rows.cpu(), own, chances.argmax(dim=1) == labels, own - elsewhere)


def reliance(clean: Outcome, altered: Mapping[str, Outcome]) -> dict[str, float]:
    """Return all metrics that the interventions made allow.

    - `bg_gap`, `bg_gap_confidence`: by accuracy and by probability.
    - `rfs`, `rfs_confidence`.
    - `background_accuracy`, `background_confidence`: of the background alone; `background_skill`:
      how much more probable than on backgrounds of other classes it makes the label.
    - `mixed_rand_drop`: probability of the label lost on backgrounds of other classes.
    - `background_reliance`: how much of what the model knows hangs on the background, 0 to about 1:
      the mean of `bg_gap_confidence` and `background_skill`, two views of one thing whose noise
      is not the same, over the skill on the images as they are. A model that knows little yet
      can rely on little: the divisor is at least 0.3.
    """
    values: dict[str, float] = {}
    if (pair := _pair(altered, "mixed_same", "mixed_rand")) is not None:
        same, other = pair
        values["bg_gap"] = background_gap(_mean(same.correct), _mean(other.correct))
        values["bg_gap_confidence"] = background_gap(
            _mean(same.confidence), _mean(other.confidence)
        )
    if (rand := altered.get("mixed_rand")) is not None:
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
        values["background_skill"] = _mean(alone.skill)
    both = _middle(values, "bg_gap_confidence", "background_skill")
    values["background_reliance"] = both / _known(clean)
    return values


def mask_free_reliance(clean: Outcome, altered: Mapping[str, Outcome]) -> dict[str, float]:
    """Return what interventions without masks allow, see `explain.mask_free`.

    - `rim_gap_confidence`: probability of the label with a rim of the same class minus of another.
    - `rim_confidence`, `rim_skill`: what the rim alone predicts, as for a background.
    - `rim_reliance`: of `rim_gap_confidence` and `rim_skill`, as `background_reliance`.
    - `top_drop`, `random_drop`: probability lost without the region where the map is highest, and
      without another of the same shape; `faithfulness` is their difference, above 0 where the map
      points at what the score depends on. After Samek et al. 2017.
    """
    values: dict[str, float] = {}
    if (pair := _pair(altered, "rim_same", "rim_rand")) is not None:
        same, rand = pair
        values["rim_gap_confidence"] = background_gap(
            _mean(same.confidence), _mean(rand.confidence)
        )
    if (alone := altered.get("rim")) is not None:
        values["rim_confidence"] = _mean(alone.confidence)
        values["rim_skill"] = _mean(alone.skill)
    values["rim_reliance"] = _middle(values, "rim_gap_confidence", "rim_skill") / _known(clean)
    for name in ("top", "random"):
        if (without := altered.get(f"without_{name}")) is not None:
            values[f"{name}_drop"] = _mean(clean.confidence[without.rows] - without.confidence)
    if "top_drop" in values and "random_drop" in values:
        values["faithfulness"] = values["top_drop"] - values["random_drop"]
    return values


def _pair(
    altered: Mapping[str, Outcome], first: str, second: str
) -> tuple[Outcome, Outcome] | None:
    """Return two outcomes on the images that both are of, so that only the background differs.

    None where there are too few of them for a difference to mean anything.
    """
    one, other = altered.get(first), altered.get(second)
    if one is None or other is None:
        return None
    common = sorted(set(one.rows.tolist()) & set(other.rows.tolist()))
    if len(common) < FEWEST_PAIRS:
        return None
    kept = []
    for each in (one, other):
        place = {row: i for i, row in enumerate(each.rows.tolist())}
        index = torch.tensor([place[row] for row in common], dtype=torch.long)
        fields = (getattr(each, name)[index] for name in Outcome.__dataclass_fields__)
        kept.append(Outcome(*fields))
    return kept[0], kept[1]


def _known(clean: Outcome) -> float:
    """Return how well the model tells the probe's classes apart, 0 to 1, and at least a little."""
    skill = _mean(clean.skill)
    return max(skill, _LITTLE) if math.isfinite(skill) else 1.0


def _middle(values: Mapping[str, float], *names: str) -> float:
    """Return the mean of those that are defined."""
    known = [values[name] for name in names if math.isfinite(values.get(name, math.nan))]
    return math.fsum(known) / len(known) if known else math.nan


def _mean(values: Tensor) -> float:
    return float(values.double().mean()) if len(values) else math.nan
