"""`fit_labels`: a probe's labels as they fit the model's classes, and what seems not to fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lightning_cam.probe import Probe

_DENSE_NDIM = 4
_MOST_TASKS = 3  # labels per image that are taken for tasks
_SEVERAL = 3  # classes, from which a missing class 0 is noticed
_FEW_CLASSES = 32  # of which a probe shows all, usually


def fit_labels(probe: Probe, scores: Tensor) -> tuple[Probe, list[str]]:
    """Return the probe with labels that fit the class scores, and notes.

    Args:
        probe: the probe.
        scores: (B, K) or (B, K, H, W) class scores of the model.
    """
    classes, dense = scores.shape[1], scores.ndim == _DENSE_NDIM
    if probe.targets is None:
        return _fit_unlabelled(probe, classes) if dense else (probe, [])
    if probe.targets.ndim > 1:
        return _fit_several(probe, probe.targets, classes)
    return _fit_single(probe, probe.targets, classes, dense=dense)


def _fit_unlabelled(probe: Probe, classes: int) -> tuple[Probe, list[str]]:
    """Explain the object of binary masks; without masks doubt that these are classes of pixels."""
    if probe.masks is None:
        note = (
            f"the output is taken for {classes} classes per pixel: for images or heatmaps give "
            "target=, a function of the output"
        )
        return probe, [note]
    if classes > 2:  # noqa: PLR2004
        return probe, []
    ones = torch.ones(len(probe), dtype=torch.long)
    return probe.replaced(targets=ones), ["class 1, the object of the masks, is explained"]


def _fit_single(
    probe: Probe, targets: Tensor, classes: int, *, dense: bool
) -> tuple[Probe, list[str]]:
    """Drop labels that are no classes of the output."""
    highest = int(targets.max())
    if dense and highest >= max(2, classes):
        note = f"labels up to {highest} are no classes of the pixels: they are not used"
        return probe.replaced(targets=None), [note]
    if classes == 1 and highest > 1:
        note = (
            f"labels up to {highest} are no classes of a single output: taken for a regression, "
            "which target=lambda output: output[:, 0] explains"
        )
        return probe.replaced(targets=None), [note]
    return probe, [] if dense else _doubts(probe, targets, classes)


def _fit_several(probe: Probe, targets: Tensor, classes: int) -> tuple[Probe, list[str]]:
    """Take several integers per image for several tasks, if there are as many classes as not."""
    if targets.shape[1] == classes or targets.shape[1] > _MOST_TASKS or classes > 2:  # noqa: PLR2004
        return probe, []
    note = (
        f"each image has {targets.shape[1]} labels and the model {classes} classes: the first "
        "label is taken. For another one give probe=Probe(images, targets) and output="
    )
    return probe.replaced(targets=targets[:, 0]), [note]


def _doubts(probe: Probe, targets: Tensor, classes: int) -> list[str]:
    """Return what seems not to fit, though it may be right."""
    lowest, highest = int(targets.min()), int(targets.max())
    present = len(torch.unique(targets))
    names = 0 if probe.class_names is None else len(probe.class_names)
    notes = []
    all_shown = present == highest + 1 and present <= _FEW_CLASSES
    too_many = classes > names + 1 if names else all_shown and classes >= 2 * present
    if classes > 1 and highest < classes and (names > classes or too_many):
        known = f"labels 0 to {highest}" + (f" and {names} class names" if names else "")
        notes.append(
            f"{known}, but {classes} outputs: where these are features rather than class scores, "
            "give output=, or forward=lambda module, images: module.classifier(module(images))"
        )
    from_one_up = lowest == 1 and present == highest >= _SEVERAL
    if from_one_up and highest < classes <= present + 2:
        notes.append(
            f"no image has label 0, of labels {lowest} to {highest} and {classes} outputs: where "
            "labels start at 1 give Probe(images, targets - 1)"
        )
    return notes
