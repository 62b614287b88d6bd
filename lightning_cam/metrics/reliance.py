"""Does the model use the background? Metrics of what it answers to altered images.

`lightning_cam.interventions` alters the images and runs the model; an `Outcome` holds its answers
to one set of images. The functions here turn outcomes into numbers. They take accuracies, or mean
probabilities of the label, which change in small probes where accuracies cannot. All return plain
floats, NaN where undefined.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

MIN_PAIRS = 4  # images that a difference between two interventions needs to mean anything
_MIN_SKILL = 0.3


@dataclass(frozen=True)
class Outcome:
    """The model's answers to M images.

    Attributes:
        rows: (M,) int64, which images of the probe these are.
        confidence: (M,) float32, probability of the label, 0 to 1.
        correct: (M,) bool, whether the label is the predicted class.
        skill: (M,) float32, probability of the label minus the mean probability that images of
            other classes get for it: 0 for a model that answers every image alike. NaN where there
            are no images of other classes.
    """

    rows: Tensor
    confidence: Tensor
    correct: Tensor
    skill: Tensor


@dataclass(frozen=True)
class InterventionResults:
    """The model's answers to a probe's images, as they are and altered.

    Attributes:
        clean: answers to the unaltered images.
        altered: answers by name of the intervention; only those that the probe allows.
    """

    clean: Outcome
    altered: Mapping[str, Outcome]

    def pair(self, first: str, second: str) -> tuple[Outcome, Outcome] | None:
        """Return two outcomes on the images that both interventions altered.

        None where one is missing or where they share fewer than `MIN_PAIRS` images.
        """
        one, other = self.altered.get(first), self.altered.get(second)
        if one is None or other is None:
            return None
        common = sorted(set(one.rows.tolist()) & set(other.rows.tolist()))
        if len(common) < MIN_PAIRS:
            return None
        return _only(one, common), _only(other, common)


def outcome(probabilities_MK: Tensor, labels: Tensor, rows: Tensor) -> Outcome:
    """Return what probabilities (M, K) say about the labels (M,) of the images `rows` (M,)."""
    probabilities, labels = probabilities_MK.float().cpu(), labels.cpu()
    of_labels = probabilities[:, labels]  # one row per image, one column per image's label
    other = labels[:, None] != labels[None, :]
    mean_of_others = (of_labels * other).sum(dim=0) / other.sum(dim=0)
    own = of_labels.diagonal()
    return Outcome(rows.cpu(), own, probabilities.argmax(dim=1) == labels, own - mean_of_others)


# --- with masks: object and background -----------------------------------------------------------


def background_reliance(results: InterventionResults) -> float:
    """Return which share of what the model knows depends on the background, 0 to about 1.

    The mean of `bg_gap_confidence` and `background_skill`, two estimates of one thing with
    different noise, divided by the skill on unaltered images. A model that knows little can rely on
    little, so the divisor is at least 0.3.
    """
    return _mean_of_known(bg_gap_confidence(results), background_skill(results)) / _skill(results)


def bg_gap(results: InterventionResults) -> float:
    """Return BG-Gap: accuracy on backgrounds of the same class minus that of other classes.

    0 for a model that ignores the background, 1 for one that reads nothing else. Xiao et al. 2020,
    section 3.
    """
    return _difference(results, "mixed_same", "mixed_rand", "correct")


def bg_gap_confidence(results: InterventionResults) -> float:
    """Return BG-Gap of the label's probability in place of the accuracy."""
    return _difference(results, "mixed_same", "mixed_rand", "confidence")


def mixed_rand_drop(results: InterventionResults) -> float:
    """Return the probability of the label that is lost on backgrounds of other classes."""
    return _drop(results, "mixed_rand")


def rfs(results: InterventionResults) -> float:
    """Return RFS, relative foreground sensitivity, by accuracy: see `foreground_sensitivity`."""
    return foreground_sensitivity(
        _mean(results, "noisy_object", "correct"), _mean(results, "noisy_background", "correct")
    )


def rfs_confidence(results: InterventionResults) -> float:
    """Return RFS of the label's probability in place of the accuracy."""
    return foreground_sensitivity(
        _mean(results, "noisy_object", "confidence"),
        _mean(results, "noisy_background", "confidence"),
    )


def foreground_sensitivity(noisy_object: float, noisy_background: float) -> float:
    """Return RFS, relative foreground sensitivity, -1 to 1. Moayeri et al. 2022, eq. 1.

    With a_fg and a_bg the accuracy under noise on the object and on the background, and ā their
    mean: (a_bg - a_fg) / (2 min(ā, 1 - ā)). 1 for a model that only noise on the object hurts, -1
    for one that only noise on the background hurts. NaN where both fail entirely or not at all,
    because no difference is possible then.
    """
    mean = (noisy_object + noisy_background) / 2
    room = min(mean, 1 - mean)
    if not room > 0:
        return math.nan
    return (noisy_background - noisy_object) / (2 * room)


def background_accuracy(results: InterventionResults) -> float:
    """Return the accuracy on images whose object is inpainted."""
    return _mean(results, "background", "correct")


def background_confidence(results: InterventionResults) -> float:
    """Return the probability of the label on images whose object is inpainted."""
    return _mean(results, "background", "confidence")


def background_skill(results: InterventionResults) -> float:
    """Return how much more probable its own background makes a label than other backgrounds do."""
    return _mean(results, "background", "skill")


# --- without masks: the middle of the image stands for the object --------------------------------


def rim_reliance(results: InterventionResults) -> float:
    """Return `background_reliance` with the image's rim in place of the background."""
    return _mean_of_known(rim_gap_confidence(results), rim_skill(results)) / _skill(results)


def rim_gap_confidence(results: InterventionResults) -> float:
    """Return `bg_gap_confidence` with the image's rim in place of the background."""
    return _difference(results, "rim_same", "rim_rand", "confidence")


def rim_confidence(results: InterventionResults) -> float:
    """Return the probability of the label on images whose middle is inpainted."""
    return _mean(results, "rim", "confidence")


def rim_skill(results: InterventionResults) -> float:
    """Return how much more probable its own rim makes a label than other rims do."""
    return _mean(results, "rim", "skill")


def top_drop(results: InterventionResults) -> float:
    """Return the probability lost without the map's highest region. After Samek et al. 2017."""
    return _drop(results, "without_top")


def random_drop(results: InterventionResults) -> float:
    """Return the probability lost without another region of the same shape."""
    return _drop(results, "without_random")


def faithfulness(results: InterventionResults) -> float:
    """Return `top_drop` minus `random_drop`: above 0 the score depends on where the map points."""
    return top_drop(results) - random_drop(results)


# --- helpers -------------------------------------------------------------------------------------


def _only(outcome: Outcome, rows: list[int]) -> Outcome:
    """Return the part of an outcome that is about `rows`."""
    position = {row: i for i, row in enumerate(outcome.rows.tolist())}
    index = torch.tensor([position[row] for row in rows], dtype=torch.long)
    return Outcome(*(getattr(outcome, name)[index] for name in Outcome.__dataclass_fields__))


def _mean(results: InterventionResults, name: str, field: str) -> float:
    found = results.altered.get(name)
    return math.nan if found is None else _average(getattr(found, field))


def _difference(results: InterventionResults, first: str, second: str, field: str) -> float:
    """Return the difference of two interventions' means, over the images that both altered."""
    pair = results.pair(first, second)
    if pair is None:
        return math.nan
    return _average(getattr(pair[0], field)) - _average(getattr(pair[1], field))


def _drop(results: InterventionResults, name: str) -> float:
    """Return the mean probability of the label that an intervention takes away."""
    found = results.altered.get(name)
    if found is None:
        return math.nan
    return _average(results.clean.confidence[found.rows] - found.confidence)


def _skill(results: InterventionResults) -> float:
    """Return how well the model tells the probe's classes apart, 0.3 to 1; 1 where unknown."""
    skill = _average(results.clean.skill)
    return max(skill, _MIN_SKILL) if math.isfinite(skill) else 1.0


def _mean_of_known(*values: float) -> float:
    known = [value for value in values if math.isfinite(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _average(values: Tensor) -> float:
    return float(values.double().mean()) if len(values) else math.nan
