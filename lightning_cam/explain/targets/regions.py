"""Targets of segmentation models and detectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_cam.explain.outputs import find_dense_logits, find_detections
from lightning_cam.explain.targets.base import Scores, Target, one_each
from lightning_cam.runtime.checks import check_class_range
from lightning_cam.runtime.containers import normal, tensors_in
from lightning_cam.runtime.messages import describe


@dataclass(frozen=True)
class SegmentationTarget(Target):
    """The sum of class logits over a region of a segmentation's output, one map per class.

    Attributes:
        classes: the classes to explain, each for every image.
        masks: (B, H, W) bool, the region in the output's resolution; None for the pixels predicted
            as the class, or all pixels where there are none.
    """

    reads_class_scores: ClassVar[bool] = True
    classes: tuple[int, ...]
    masks: Tensor | None = None

    def scores(self, output: Any, rows: slice) -> Scores:
        """Return B × len(classes) scores, image by image."""
        batch = rows.stop - rows.start
        dense = find_dense_logits(output, batch)
        if dense is None:
            raise ValueError(
                "expected a segmentation's logits (B, classes, H, W), got "
                + ", ".join(describe(tensor) for _, tensor in tensors_in(output))
            )
        region = None if self.masks is None else normal(self.masks[rows]).to(dense.device)
        if region is not None and region.shape[1:] != dense.shape[2:]:
            raise ValueError(
                f"expected masks of the output's size {tuple(dense.shape[2:])}, got "
                f"{describe(self.masks)}"
            )
        each = []
        for label in self.classes:
            wanted = torch.full((batch,), label, device=dense.device)
            check_class_range(wanted, dense.shape[1])
            each.append(region_scores(dense, wanted, region).values)
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
        min_iou: overlap from which a detection counts as this box's; a box without any scores 0.
    """

    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    min_iou: float = 0.5

    def scores(self, output: Any, rows: slice) -> Scores:
        """Return a score per box."""
        from torchvision.ops import box_iou  # heavy, and for detectors only

        batch = rows.stop - rows.start
        found = find_detections(output, batch)
        if found is None:
            raise ValueError(
                f"expected a detector's output, {batch} dicts with boxes, labels and scores, got "
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


def region_scores(dense: Tensor, wanted: Tensor | None, region: Tensor | None = None) -> Scores:
    """Return each image's sum of one class's logits over a region.

    One logit per pixel is that of the object, class 1, against the background, class 0.
    """
    if dense.shape[1] == 1:
        dense = torch.cat([-dense, dense], dim=1) / 2
        wanted = torch.ones(len(dense), dtype=torch.long) if wanted is None else wanted
    given = dense.detach().argmax(dim=1)
    if wanted is None:  # the class with the most pixels
        wanted = given.flatten(1).mode(dim=1).values
    wanted = wanted.to(dense.device)
    check_class_range(wanted, dense.shape[1])
    if region is None:
        region = given == wanted[:, None, None]
        region = region | ~region.flatten(1).any(dim=1)[:, None, None]
    of_class = dense[torch.arange(len(dense), device=dense.device), wanted]
    return one_each((of_class * region).sum(dim=(1, 2)), wanted)


def best_detection_scores(found: Sequence[Any], wanted: Tensor | None) -> Scores:
    """Return the score of each image's best detection, of a class or of any."""
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
