"""What is explained: which scalar of the model's output each map speaks about."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lightning_cam._messages import shape_of
from lightning_cam.explain.structure import tensors_in

_LOGIT_KEYS = ("[logits]", "[out]", "[output]", "[y]", "[0]")


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


TargetLike: TypeAlias = (
    "str | int | Tensor | Sequence[int] | Target | Callable[[Any], Tensor] | None"
)


def logits_of(output: Any, batch: int) -> Tensor:
    """Return the (B, K) logits inside a model's output.

    Takes a (B, K) tensor as it is, else the entry named `logits`, `out`, `output` or `y`, else the
    first (B, K) tensor of a tuple, list, dict, dataclass or Hugging Face output. A (B,) or (B, 1)
    tensor counts as one binary logit.

    Raises:
        ValueError: the output holds no such tensor.
    """
    found = [(path, t) for path, t in tensors_in(output) if _is_logits(t, batch)]
    if not found:
        came = ", ".join(f"{path or 'tensor'}: {shape_of(t)}" for path, t in tensors_in(output))
        raise ValueError(
            f"expected the model's output to hold class logits of shape ({batch}, classes), came "
            f"{came or f'a {type(output).__name__} without tensors'}. For another kind of "
            "model give a target: a function of the output that returns one score per image."
        )
    found.sort(key=lambda item: _LOGIT_KEYS.index(item[0]) if item[0] in _LOGIT_KEYS else 99)
    logits = found[0][1]
    return logits if logits.ndim == 2 else logits.unsqueeze(1)  # noqa: PLR2004


def _is_logits(tensor: Tensor, batch: int) -> bool:
    return tensor.is_floating_point() and tensor.ndim in (1, 2) and tensor.shape[0] == batch


@dataclass(frozen=True)
class ClassTarget(Target):
    """The logit of one class per image; of a single binary logit, its negative for class 0.

    Attributes:
        classes: (B,) long, or None for the class that the model predicts.
    """

    classes: Tensor | None = None

    def scores(self, output: Any, rows: slice) -> Scores:
        """Return the logits of the chosen classes."""
        logits_BK = logits_of(output, rows.stop - rows.start)
        if self.classes is None:
            classes = predictions(logits_BK)
        else:
            classes = self.classes[rows].to(logits_BK.device)
            check_range(classes, logits_BK.shape[1])
        index = torch.arange(len(classes), device=classes.device)
        return Scores(class_scores(logits_BK, classes), index, classes)


@dataclass(frozen=True)
class FunctionTarget(Target):
    """A user's function from the model's output to one score per image."""

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
        targets: None or `"prediction"` (the predicted class), a class index for all images, a (B,)
            tensor or sequence of class indices, a `Target`, or a function of the model's output
            that returns (B,) scores.
        batch: number of images.

    Raises:
        ValueError: wrong length, negative class, or unknown word.
        TypeError: of none of these types.
    """
    if targets is None or (isinstance(targets, str) and targets == "prediction"):
        return ClassTarget()
    if isinstance(targets, str):
        raise ValueError(f"unknown target {targets!r}. Known words: 'prediction'.")
    if isinstance(targets, int) and not isinstance(targets, bool):
        return ClassTarget(checked_classes(torch.full((batch,), targets), batch))
    if isinstance(targets, Tensor):
        return ClassTarget(checked_classes(targets, batch))
    if isinstance(targets, Sequence):
        return ClassTarget(checked_classes(torch.as_tensor(targets), batch))
    if isinstance(targets, Target):
        return targets
    if callable(targets):
        return FunctionTarget(targets)
    raise TypeError(
        "expected targets to be None, 'prediction', a class index, class indices of shape "
        f"({batch},), or a function of the model's output, came {shape_of(targets)}"
    )


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


def predictions(logits_BK: Tensor) -> Tensor:
    """Return the predicted class of each image, (B,) long; a single logit predicts by its sign."""
    if logits_BK.shape[1] == 1:
        return (logits_BK[:, 0] > 0).long()
    return logits_BK.detach().argmax(dim=1)


def probabilities(logits_BK: Tensor) -> Tensor:
    """Return softmax probabilities (B, K); a single logit becomes those of classes 0 and 1."""
    if logits_BK.shape[1] == 1:
        positive_B1 = logits_BK.float().sigmoid()
        return torch.cat([1 - positive_B1, positive_B1], dim=1)
    return logits_BK.float().softmax(dim=1)


def class_scores(logits_BK: Tensor, classes: Tensor) -> Tensor:
    """Return each image's logit of its class, (B,)."""
    if logits_BK.shape[1] == 1:
        return logits_BK[:, 0] * (2 * classes - 1)
    return logits_BK.gather(1, classes[:, None])[:, 0]


def check_range(classes: Tensor, num_logits: int) -> None:
    """Raise ValueError when a class index has no logit; a single logit stands for two classes."""
    num_classes = max(2, num_logits)
    if len(classes) and int(classes.max()) >= num_classes:
        raise ValueError(
            f"expected class indices below {num_classes}, the model's number of classes, came "
            f"{int(classes.max())}"
        )
