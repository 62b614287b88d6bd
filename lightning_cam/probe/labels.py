"""`targets_of`: the labels in a column as a probe's targets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_cam.probe.columns import Column
from lightning_cam.probe.roles import UNKNOWN, is_distribution, known


@dataclass(frozen=True)
class Targets:
    """A probe's targets and what they were taken for.

    Attributes:
        values: (B,) class indices, -1 where one is unknown, or (B, K) of 0 and 1.
        kind: how they were read, for people.
        note: what should be known about it, or empty.
    """

    values: Tensor
    kind: str
    note: str = ""


def targets_of(column: Column, *, one_hot: bool | None = None) -> Targets | None:
    """Return the labels in a column as class indices or as several labels per image.

    A number per sample is a class index, also as a float (0.0 and 1.0 of a binary loss). A vector
    of 0 and 1 is several labels, or one hot where each has exactly one 1. A vector of probabilities
    counts as its largest. Of any other vector of integers (several tasks) the first is taken.

    Args:
        column: of labels.
        one_hot: whether vectors with one 1 each are one hot; by default where all are.
    """
    if column.numbers is not None:
        floats = column.tensors is not None and any(t.is_floating_point() for t in column.tensors)
        numbers = [-1 if math.isnan(number) else int(number) for number in column.numbers]
        if set(numbers) == {-1, 1}:  # of a hinge loss
            return Targets(
                (torch.tensor(numbers) + 1) // 2, "labels -1 and 1, taken for classes 0 and 1"
            )
        values = torch.tensor(numbers).clamp(min=-1)
        return Targets(values, "class indices, given as floats" if floats else "class indices")
    vectors = column.vectors
    return None if vectors is None else _of_vectors(vectors, one_hot)


def _of_vectors(vectors: Tensor, one_hot: bool | None) -> Targets:
    unknown = vectors.isnan() | torch.isin(vectors, torch.tensor(UNKNOWN).to(vectors.dtype))
    unclear = bool(unknown.any()) and bool(((vectors == 0) | (vectors == 1) | unknown).all())
    if unclear:
        note = "labels that are -1, -100 or NaN are taken for not known and count as negative"
        return Targets((vectors == 1).long(), f"{vectors.shape[1]} labels per image", note)
    binary = bool(((vectors == 0) | (vectors == 1)).all())
    if binary:
        single = bool((vectors.sum(dim=1) == 1).all()) if one_hot is None else one_hot
        if single:
            return Targets(vectors.argmax(dim=1), "one-hot vectors")
        return Targets(vectors.long(), f"{vectors.shape[1]} labels per image")
    if is_distribution(vectors):
        note = "labels are probabilities: the class of the largest is taken"
        return Targets(vectors.argmax(dim=1), "class probabilities", note)
    note = (
        f"each image has {vectors.shape[1]} integer labels: the first is taken. For another one "
        "give probe=Probe(images, targets)"
    )
    return Targets(vectors[:, 0].long(), "the first of several class indices", note)


def regression_note(columns: Mapping[str, Column]) -> str:
    """Return what to say of the first column of numbers that are no classes; empty without any."""
    paths = (path for path, c in columns.items() if any(n != round(n) for n in known(c)))
    path = next(paths, None)
    if path is None:
        return ""
    return (
        f"batch{path} holds numbers that are no classes: the output of a regression is explained "
        "by target=lambda output: output[:, 0]"
    )


def class_of(label: Tensor | int | None) -> int:
    """Return the class that a sample is balanced by: the first of several, -1 without a label."""
    if label is None:
        return -1
    if isinstance(label, Tensor) and label.ndim:
        positive = label.nonzero()
        return int(positive[0, 0]) if len(positive) else -1
    return max(-1, int(label))


def listed_labels(dataset: object) -> Sequence[int] | None:
    """Return the labels that a data set holds apart from its images, None where it lists none.

    Found on torchvision's and torch's data sets, in `Subset` and `ConcatDataset`, and as a sequence
    called `targets`, `labels`, `_labels` or `y` of as many integers as there are samples.
    """
    if hasattr(dataset, "indices") and hasattr(dataset, "dataset"):  # torch's Subset
        inner = listed_labels(dataset.dataset)
        return None if inner is None else [inner[int(i)] for i in dataset.indices]
    if isinstance(dataset, torch.utils.data.ConcatDataset):
        parts = [listed_labels(part) for part in dataset.datasets]
        known = [part for part in parts if part is not None]
        return [v for part in known for v in part] if len(known) == len(parts) else None
    held = [getattr(dataset, name, None) for name in ("targets", "labels", "_labels", "y")]
    held += list(getattr(dataset, "tensors", ())[1:])  # torch's TensorDataset
    pairs = getattr(dataset, "samples", None)  # torchvision's ImageFolder
    if isinstance(pairs, Sequence) and pairs and isinstance(pairs[0], tuple):
        held.append([pair[-1] for pair in pairs])
    count = len(dataset) if hasattr(dataset, "__len__") else -1
    labels = (_as_labels(values, count) for values in held if values is not None)
    return next((each for each in labels if each is not None), None)


def _as_labels(values: object, count: int) -> list[int] | None:
    try:
        labels = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        return None
    if labels.shape != (count,) or labels.is_floating_point():
        return None
    numbers = [int(label) for label in labels.tolist()]
    return [(number + 1) // 2 for number in numbers] if set(numbers) == {-1, 1} else numbers
