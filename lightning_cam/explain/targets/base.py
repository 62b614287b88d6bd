"""`Target`: turns a model's output into the scores that are explained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_cam.runtime.containers import tensors_in


@dataclass(frozen=True)
class Scores:
    """The scalars to explain, N of them over a batch of B images.

    Attributes:
        values: (N,) float, differentiable.
        rows: (N,) int64, the image that each score belongs to.
        classes: (N,) int64, the class that each score is of, -1 where there is none.
    """

    values: Tensor
    rows: Tensor
    classes: Tensor


class Target(ABC):
    """Turns a model's output into the scores to explain.

    Attributes:
        reads_class_scores: whether it explains class scores. Then its output is as
            `ModelAdapter.logits` returns it, else as the model does.
    """

    reads_class_scores: ClassVar[bool] = False

    @abstractmethod
    def scores(self, output: Any, rows: slice) -> Scores:
        """Return the scores of some images.

        Args:
            output: of the model for these images.
            rows: which images of the whole batch they are, since batches run in chunks.

        Returns:
            Scores whose `rows` count from the first of these images.
        """

    def pinned(self, scores: Scores) -> Target:
        """Return the target that explains the same classes of altered copies of the images.

        Where the class depends on the output (the predicted one), it must not change with it.

        Args:
            scores: of the unaltered images.
        """
        del scores
        return self

    def mirrored(self, width: int) -> Target:
        """Return the target that explains the same of the images mirrored left to right.

        Args:
            width: of the images in pixels.
        """
        del width
        return self


class NoTarget(Target):
    """No class: for methods that do not depend on one, on any model."""

    def scores(self, output: Any, rows: slice) -> Scores:
        """Return the mean square of all outputs, the same for each image.

        It depends on every layer that any output depends on, so that layers can be chosen by it.
        """
        found = [each for _, each in tensors_in(output)]
        device = found[0].device if found else None
        index = torch.arange(rows.stop - rows.start, device=device)
        values = torch.zeros(len(index), device=device)
        for each in found:
            if each.is_floating_point() and each.numel():
                values = values + each.float().square().mean().to(values)
        return Scores(values, index, torch.full_like(index, -1))


def one_each(values: Tensor, classes: Tensor) -> Scores:
    """Return the scores of one class per image."""
    return Scores(values, torch.arange(len(values), device=values.device), classes)
