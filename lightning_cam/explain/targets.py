"""What is explained: which scalars of the model's output the maps speak about."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from lightning_cam._messages import shape_of
from lightning_cam.explain.outputs import (
    find_dense_logits,
    find_detections,
    find_logits,
    logits_of,
    no_logits,
    predictions,
)
from lightning_cam.explain.structure import normal, tensors_in


@dataclass(frozen=True)
class Scores:
    """The scalars to explain, N of them over a batch of B images.

    Attributes:
        values: (N,) float, differentiable.
        rows: (N,) long, the image that each score belongs to.
        classes: (N,) long, the class that each score speaks for, -1 where there is none.
    """

    values: Tensor
    rows: Tensor
    classes: Tensor


class Target(ABC):
    """Turns a model's output into the scores to explain."""

    @abstractmethod
    def scores(self, output: Any, rows: slice) -> Scores:
        """Return the scores of the images `rows` of the whole batch, since batches run in chunks.

        `Scores.rows` counts from the chunk's first image.
        """

    def pinned(self, scores: Scores) -> Target:
        """Return the target that asks the same of altered copies of the images `scores` are of.

        Where the question depends on the output (the predicted class), it must not change with it.
        """
        del scores
        return self

    def mirrored(self, width: int) -> Target:
        """Return the target that asks the same of the images mirrored left to right.

        Args:
            width: of the images in pixels.
        """
        del width
        return self


TargetLike: TypeAlias = (
    "str | int | Tensor | Sequence[int] | Target | Callable[[Any], Tensor] | None"
)


class NoTarget(Target):
    """Asks nothing of the output: for methods that know no class, on models of any kind."""

    def scores(self, output: Any, rows: slice) -> Scores:
        """Return a zero for each image."""
        found = tensors_in(output)
        device = found[0][1].device if found else None
        index = torch.arange(rows.stop - rows.start, device=device)
        return Scores(torch.zeros(len(index), device=device), index, torch.full_like(index, -1))


@dataclass(frozen=True)
class ClassTarget(Target):
    """The score of one class per image.

    Of a classifier its logit (of a single binary logit its negative for class 0); of a
    segmentation the sum of the class's logits over the pixels that the model gives to it (over all
    pixels where it gives none); of a detector the score of the class's best detection (0 where
    there is none).

    Attributes:
        classes: (B,) long, or None for what the model predicts.
    """

    classes: Tensor | None = None

    def scores(self, output: Any, rows: slice) -> Scores:
        """Return the scores of the chosen classes."""
        batch = rows.stop - rows.start
        wanted = None if self.classes is None else normal(self.classes[rows])
        if (logits_BK := find_logits(output, batch)) is not None:
            chosen = predictions(logits_BK) if wanted is None else wanted.to(logits_BK.device)
            check_range(chosen, logits_BK.shape[1])
            return one_each(class_scores(logits_BK, chosen), chosen)
        if (dense := find_dense_logits(output, batch)) is not None:
            return _dense_scores(dense, wanted)
        if (found := find_detections(output, batch)) is not None:
            return _detection_scores(found, wanted)
        raise ValueError(no_logits(output, batch))

    def pinned(self, scores: Scores) -> Target:
        """Return the target of the classes that were chosen."""
        # A detector without detections has no class to ask for: it is asked anew.
        known = scores.classes if bool((scores.classes >= 0).all()) else None
        return _OfChunk(ClassTarget(known))


@dataclass(frozen=True)
class _OfChunk(Target):
    """A target made for one chunk, whichever rows of the whole batch that chunk is."""

    target: Target

    def scores(self, output: Any, rows: slice) -> Scores:
        return self.target.scores(output, slice(0, rows.stop - rows.start))

    def mirrored(self, width: int) -> Target:
        return _OfChunk(self.target.mirrored(width))


@dataclass(frozen=True)
class DifferenceTarget(Target):
    """How far a class's logit is above the closest other one: what tells the two apart.

    Attributes:
        classes: (B,) long, or None for the predicted class.
    """

    classes: Tensor | None = None

    def scores(self, output: Any, rows: slice) -> Scores:
        """Return the differences."""
        logits_BK = logits_of(output, rows.stop - rows.start)
        own = ClassTarget(self.classes).scores(output, rows)
        if logits_BK.shape[1] == 1:
            return own  # a single logit is the difference of two already
        distance = (logits_BK - own.values[:, None]).detach().abs()
        distance = distance.scatter(1, own.classes[:, None], torch.inf)
        rival = logits_BK.gather(1, distance.argmin(dim=1, keepdim=True))[:, 0]
        return one_each(own.values - rival, own.classes)

    def pinned(self, scores: Scores) -> Target:
        """Return the target of the classes that were chosen; the rival may change."""
        return _OfChunk(DifferenceTarget(scores.classes))


@dataclass(frozen=True)
class MultiLabelTarget(Target):
    """The logits of all positive labels of each image.

    Attributes:
        labels: (B, K), 0 or 1.
        reduce: `"each"` explains every positive label by a map of its own, `"mean"` their mean.
    """

    labels: Tensor
    reduce: Literal["each", "mean"] = "each"

    def scores(self, output: Any, rows: slice) -> Scores:
        """Return a score for each positive label, or for each image that has one."""
        logits_BK = logits_of(output, rows.stop - rows.start)
        labels = normal(self.labels[rows]).to(logits_BK.device) > 0
        if labels.shape != logits_BK.shape:
            raise ValueError(
                f"expected labels of the logits' shape {tuple(logits_BK.shape)}, came "
                f"{shape_of(labels)}"
            )
        if self.reduce == "mean":
            images = labels.any(dim=1).nonzero()[:, 0]
            mean = (logits_BK * labels).sum(dim=1)[images] / labels.sum(dim=1)[images]
            return Scores(mean, images, torch.full_like(images, -1))
        images, classes = labels.nonzero(as_tuple=True)
        return Scores(logits_BK[images, classes], images, classes)


@dataclass(frozen=True)
class SegmentationTarget(Target):
    """The sum of class logits over a region of a segmentation's output, a map for each class.

    Attributes:
        classes: the classes to explain, each for every image.
        masks: (B, H, W) boolean, the region in the output's resolution; None for the pixels that
            the model gives to the class, and all pixels where it gives none.
    """

    classes: tuple[int, ...]
    masks: Tensor | None = None

    def scores(self, output: Any, rows: slice) -> Scores:
        """Return B × len(classes) scores, image by image."""
        batch = rows.stop - rows.start
        dense = find_dense_logits(output, batch)
        if dense is None:
            raise ValueError(
                "expected a segmentation's logits (B, classes, H, W), came "
                + ", ".join(shape_of(tensor) for _, tensor in tensors_in(output))
            )
        region = None if self.masks is None else normal(self.masks[rows]).to(dense.device)
        if region is not None and region.shape[1:] != dense.shape[2:]:
            raise ValueError(
                f"expected masks of the output's size {tuple(dense.shape[2:])}, came "
                f"{shape_of(self.masks)}"
            )
        each = []
        for label in self.classes:
            wanted = torch.full((batch,), label, device=dense.device)
            check_range(wanted, dense.shape[1])
            each.append(_dense_scores(dense, wanted, region).values)
        values = torch.stack(each, dim=1).flatten()
        images = torch.arange(batch, device=dense.device).repeat_interleave(len(self.classes))
        classes = torch.tensor(self.classes, device=dense.device).repeat(batch)
        return Scores(values, images, classes)

    def mirrored(self, width: int) -> Target:
        """Return the target with its masks mirrored."""
        del width
        return self if self.masks is None else replace(self, masks=self.masks.flip(-1))


@dataclass(frozen=True)
class DetectionTarget(Target):
    """A detector's scores for given boxes: the best detection of the same class on each box.

    Attributes:
        boxes: for each image (n, 4) `x1, y1, x2, y2` in the images' pixels.
        labels: for each image (n,) classes.
        min_iou: overlap from which a detection counts as this box's; a box without one scores 0.
    """

    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    min_iou: float = 0.5

    def scores(self, output: Any, rows: slice) -> Scores:
        """Return a score for each box."""
        from torchvision.ops import box_iou  # heavy, and for detectors only

        batch = rows.stop - rows.start
        found = find_detections(output, batch)
        if found is None:
            raise ValueError(
                f"expected a detector's output, {batch} dicts with boxes, labels and scores, came "
                f"a {type(output).__name__}"
            )
        values, images, classes = [], [], []
        for i, detections in enumerate(found):
            place = rows.start + i
            boxes = normal(self.boxes[place]).to(detections["boxes"])
            labels = normal(self.labels[place]).to(detections["labels"].device)
            overlap = box_iou(boxes, detections["boxes"].detach())
            same = labels[:, None] == detections["labels"][None, :]
            matches = (overlap >= self.min_iou) & same
            scores = detections["scores"]
            values += [_largest_or_zero(scores, match) for match in matches]
            images += [i] * len(boxes)
            classes += labels.tolist()
        device = found[0]["scores"].device
        return Scores(
            torch.stack(values) if values else torch.zeros(0, device=device),
            torch.tensor(images, device=device, dtype=torch.long),
            torch.tensor(classes, device=device, dtype=torch.long),
        )

    def mirrored(self, width: int) -> Target:
        """Return the target with its boxes mirrored."""
        boxes = [
            torch.stack([width - b[:, 2], b[:, 1], width - b[:, 0], b[:, 3]], 1) for b in self.boxes
        ]
        return replace(self, boxes=tuple(boxes))


@dataclass(frozen=True)
class FunctionTarget(Target):
    """A user's function from the model's output to one score for each image that the output is of.

    The output is of a chunk of the images, or of one while the layers are looked up.
    """

    function: Callable[[Any], Tensor]

    def scores(self, output: Any, rows: slice) -> Scores:
        """Return the function's values, checked."""
        batch = rows.stop - rows.start
        values = self.function(output)
        if not isinstance(values, Tensor) or values.shape != (batch,):
            raise ValueError(
                f"expected the target function to return one score per image, shape ({batch},), "
                f"came {shape_of(values)}"
            )
        index = torch.arange(batch, device=values.device)
        return Scores(values, index, torch.full_like(index, -1))


def resolve_target(targets: TargetLike, batch: int) -> Target:
    """Return the target that `targets` stands for, checked against the number of images.

    Args:
        targets: None or `"prediction"` (what the model predicts), `"difference"` (the predicted
            class against the closest other), a class index for all images, a (B,) tensor or
            sequence of class indices, a (B, K) tensor of 0 and 1 (every positive label), a
            `Target`, or a function of the model's output that returns (B,) scores.
        batch: number of images.

    Raises:
        ValueError: wrong length, negative class, or unknown word.
        TypeError: of none of these types.
    """
    if isinstance(targets, str):
        words: dict[str, Target] = {"prediction": ClassTarget(), "difference": DifferenceTarget()}
        if targets not in words:
            raise ValueError(f"unknown target {targets!r}. Known words: {', '.join(words)}.")
        return words[targets]
    if targets is None or isinstance(targets, Target):
        return ClassTarget() if targets is None else targets
    if isinstance(targets, (Tensor, Sequence)) or hasattr(targets, "__array__"):
        values = torch.as_tensor(targets)
        if values.ndim == 0 and not isinstance(targets, Tensor):  # a NumPy integer
            values = values.expand(batch)
        if values.ndim == 2:  # noqa: PLR2004
            return MultiLabelTarget(checked_labels(values, batch))
        return ClassTarget(checked_classes(values, batch))
    if isinstance(targets, int) and not isinstance(targets, bool):
        return ClassTarget(checked_classes(torch.full((batch,), targets), batch))
    if callable(targets):
        return FunctionTarget(targets)
    raise TypeError(
        "expected targets to be None, a word, a class index, class indices of shape "
        f"({batch},), or a function of the model's output, came {shape_of(targets)}"
    )


def one_each(values: Tensor, classes: Tensor) -> Scores:
    """Return the scores of one class per image."""
    return Scores(values, torch.arange(len(values), device=values.device), classes)


def class_scores(logits_BK: Tensor, classes: Tensor) -> Tensor:
    """Return each image's logit of its class, (B,)."""
    if logits_BK.shape[1] == 1:
        return logits_BK[:, 0] * (2 * classes - 1)
    return logits_BK.gather(1, classes[:, None])[:, 0]


def checked_classes(classes: Tensor, batch: int) -> Tensor:
    """Return (B,) integer class indices as long, or raise ValueError that says what came."""
    if classes.dtype == torch.bool or classes.is_floating_point() or classes.is_complex():
        raise ValueError(f"expected targets to be integer class indices, came {shape_of(classes)}")
    if classes.shape != (batch,):
        raise ValueError(
            f"expected one target per image, shape ({batch},), came {shape_of(classes)}"
        )
    if batch and int(classes.min()) < 0:
        raise ValueError(f"expected class indices of 0 and above, came {int(classes.min())}")
    return classes.long()


def checked_labels(labels: Tensor, batch: int) -> Tensor:
    """Return (B, K) labels of 0 and 1 as boolean, or raise ValueError that says what came."""
    if labels.ndim != 2 or len(labels) != batch:  # noqa: PLR2004
        raise ValueError(f"expected labels of shape ({batch}, labels), came {shape_of(labels)}")
    if not bool(((labels == 0) | (labels == 1)).all()):
        raise ValueError(f"expected labels of 0 and 1, came {shape_of(labels)} with other values")
    return labels > 0


def check_range(classes: Tensor, num_logits: int) -> None:
    """Raise ValueError when a class index has no logit; a single logit stands for two classes."""
    num_classes = max(2, num_logits)
    if len(classes) and int(classes.max()) >= num_classes:
        raise ValueError(
            f"expected class indices below {num_classes}, the model's number of classes, came "
            f"{int(classes.max())}"
        )


def _dense_scores(dense: Tensor, wanted: Tensor | None, region: Tensor | None = None) -> Scores:
    """Return each image's sum of one class's logits over a region."""
    given = dense.detach().argmax(dim=1)
    if wanted is None:  # the class that the model gives the most pixels to
        wanted = given.flatten(1).mode(dim=1).values
    wanted = wanted.to(dense.device)
    check_range(wanted, dense.shape[1])
    if region is None:
        region = given == wanted[:, None, None]
        region = region | ~region.flatten(1).any(dim=1)[:, None, None]
    of_class = dense[torch.arange(len(dense), device=dense.device), wanted]
    return one_each((of_class * region).sum(dim=(1, 2)), wanted)


def _detection_scores(found: Sequence[Any], wanted: Tensor | None) -> Scores:
    """Return each image's best detection's score, of a class or of any."""
    values, classes = [], []
    for i, detections in enumerate(found):
        scores, labels = detections["scores"], detections["labels"]
        match = torch.ones_like(labels, dtype=torch.bool)
        if wanted is not None:
            match = labels == int(wanted[i])
        values.append(_largest_or_zero(scores, match))
        best = labels[scores.detach().argmax()] if len(labels) else -1
        classes.append(int(best) if wanted is None else int(wanted[i]))
    stacked = torch.stack(values)
    return one_each(stacked, torch.tensor(classes, device=stacked.device))


def _largest_or_zero(scores: Tensor, match: Tensor) -> Tensor:
    """Return the largest matching score; where none matches, a zero that keeps the graph."""
    return scores[match].max() if bool(match.any()) else scores.sum() * 0
