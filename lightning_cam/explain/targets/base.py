"""`Target`: turns a model's output into the scores that are explained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_cam.runtime.containers import tensors_in


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


class NoTarget(Target):
    """Asks nothing of the output: for methods that know no class, on models of any kind."""

    def scores(self, output: Any, rows: slice) -> Scores:
        """Return a zero for each image."""
        found = tensors_in(output)
        device = found[0][1].device if found else None
        index = torch.arange(rows.stop - rows.start, device=device)
        return Scores(torch.zeros(len(index), device=device), index, torch.full_like(index, -1))


def one_each(values: Tensor, classes: Tensor) -> Scores:
    """Return the scores of one class per image."""
    return Scores(values, torch.arange(len(values), device=values.device), classes)
