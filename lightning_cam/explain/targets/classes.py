"""Targets of classifiers: one class, a class against its closest rival, several labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lightning_cam.explain.outputs import (
    find_dense_logits,
    find_detections,
    find_logits,
    logits_of,
    no_logits,
    predictions,
)
from lightning_cam.explain.targets.base import Scores, Target, one_each
from lightning_cam.explain.targets.regions import best_detection_scores, region_scores
from lightning_cam.runtime.checks import check_class_range
from lightning_cam.runtime.containers import normal
from lightning_cam.runtime.messages import describe


@dataclass(frozen=True)
class ClassTarget(Target):
    """The score of one class per image.

    For a classifier its logit (for a single binary logit its negative for class 0). For a
    segmentation model the sum of the class's logits over the pixels predicted as that class (over
    all pixels where there are none). For a detector the score of the class's best detection (0
    where there is none).

    Attributes:
        classes: (B,) int64, or None for the predicted class.
    """

    reads_class_scores: ClassVar[bool] = True
    classes: Tensor | None = None

    def scores(self, output: Any, rows: slice) -> Scores:
        """Return the scores of the chosen classes."""
        batch = rows.stop - rows.start
        wanted = None if self.classes is None else normal(self.classes[rows])
        if (logits_BK := find_logits(output, batch)) is not None:
            chosen = predictions(logits_BK) if wanted is None else wanted.to(logits_BK.device)
            check_class_range(chosen, logits_BK.shape[1])
            return one_each(class_scores(logits_BK, chosen), chosen)
        if (dense := find_dense_logits(output, batch)) is not None:
            return region_scores(dense, wanted)
        if (found := find_detections(output, batch)) is not None:
            return best_detection_scores(found, wanted)
        raise ValueError(no_logits(output, batch))

    def pinned(self, scores: Scores) -> Target:
        """Return the target of the classes that were chosen."""
        # A detector without detections has no class to keep.
        known = scores.classes if bool((scores.classes >= 0).all()) else None
        return _OfChunk(ClassTarget(known))


@dataclass(frozen=True)
class _OfChunk(Target):
    """A target made for one chunk of images, whichever rows of the whole batch they are."""

    target: Target

    @property
    def reads_class_scores(self) -> bool:  # type: ignore[override]
        return self.target.reads_class_scores

    def scores(self, output: Any, rows: slice) -> Scores:
        return self.target.scores(output, slice(0, rows.stop - rows.start))

    def mirrored(self, width: int) -> Target:
        return _OfChunk(self.target.mirrored(width))


@dataclass(frozen=True)
class DifferenceTarget(Target):
    """How far a class's logit is above the closest other logit: what distinguishes the two.

    Attributes:
        classes: (B,) int64, or None for the predicted class.
    """

    reads_class_scores: ClassVar[bool] = True
    classes: Tensor | None = None

    def scores(self, output: Any, rows: slice) -> Scores:
        """Return the differences."""
        logits_BK = logits_of(output, rows.stop - rows.start)
        own = ClassTarget(self.classes).scores(output, rows)
        if logits_BK.shape[1] == 1:
            return own  # a single logit is the difference of two already
        distance = (logits_BK - own.values[:, None]).detach().abs()
        distance = distance.scatter(1, own.classes[:, None], torch.inf)
        closest = logits_BK.gather(1, distance.argmin(dim=1, keepdim=True))[:, 0]
        return one_each(own.values - closest, own.classes)

    def pinned(self, scores: Scores) -> Target:
        """Return the target of the classes that were chosen; the closest other one may change."""
        return _OfChunk(DifferenceTarget(scores.classes))


@dataclass(frozen=True)
class MultiLabelTarget(Target):
    """The logits of all positive labels of each image.

    Attributes:
        labels: (B, K), 0 or 1.
        reduce: `"each"` for one map per positive label, `"mean"` for one map of their mean.
    """

    reads_class_scores: ClassVar[bool] = True
    labels: Tensor
    reduce: Literal["each", "mean"] = "each"

    def scores(self, output: Any, rows: slice) -> Scores:
        """Return a score per positive label, or per image that has one."""
        logits_BK = logits_of(output, rows.stop - rows.start)
        labels = normal(self.labels[rows]).to(logits_BK.device) > 0
        if labels.shape != logits_BK.shape:
            raise ValueError(
                f"expected labels of the logits' shape {tuple(logits_BK.shape)}, got "
                f"{describe(labels)}"
            )
        if self.reduce == "mean":
            images = labels.any(dim=1).nonzero()[:, 0]
            mean = (logits_BK * labels).sum(dim=1)[images] / labels.sum(dim=1)[images]
            return Scores(mean, images, torch.full_like(images, -1))
        images, classes = labels.nonzero(as_tuple=True)
        return Scores(logits_BK[images, classes], images, classes)


def class_scores(logits_BK: Tensor, classes: Tensor) -> Tensor:
    """Return each image's logit of its class, (B,)."""
    if logits_BK.shape[1] == 1:
        return logits_BK[:, 0] * (2 * classes - 1)
    return logits_BK.gather(1, classes[:, None])[:, 0]
