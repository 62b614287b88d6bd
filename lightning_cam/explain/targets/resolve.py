"""From what users write to a `Target`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from lightning_cam.explain.targets.base import Scores, Target
from lightning_cam.explain.targets.classes import ClassTarget, DifferenceTarget, MultiLabelTarget
from lightning_cam.runtime.checks import as_class_indices, as_multi_label
from lightning_cam.runtime.messages import describe, unknown_name

TargetLike: TypeAlias = (
    "str | int | Tensor | Sequence[int] | Sequence[str] | Target | Callable[[Any], Tensor] | None"
)

_WORDS: dict[str, Target] = {"prediction": ClassTarget(), "difference": DifferenceTarget()}


@dataclass(frozen=True)
class FunctionTarget(Target):
    """A user's function from the model's output to one score per image.

    The output is that of a chunk of the images, or of a single image while layers are resolved.
    """

    function: Callable[[Any], Tensor]

    def scores(self, output: Any, rows: slice) -> Scores:
        """Return the function's values, checked."""
        batch = rows.stop - rows.start
        values = self.function(output)
        if not isinstance(values, Tensor) or values.shape != (batch,):
            raise ValueError(
                f"expected the target function to return one score per image, shape ({batch},), "
                f"got {describe(values)}"
            )
        index = torch.arange(batch, device=values.device)
        return Scores(values, index, torch.full_like(index, -1))


def resolve_target(
    targets: TargetLike, batch: int, class_names: Sequence[str] | None = None
) -> Target:
    """Return the target that `targets` stands for, checked against the number of images.

    Args:
        targets: None or `"prediction"` (what the model predicts), `"difference"` (the predicted
            class against the closest other), a class index or name for all images, a (B,) tensor
            or sequence of class indices or names, a (B, K) tensor of 0 and 1 (every positive
            label), a `Target`, or a function of the model's output that returns (B,) scores.
        batch: number of images.
        class_names: of the classes by index; None where unknown.

    Raises:
        ValueError: wrong length, negative class, or unknown word or name.
        TypeError: of none of these types.
    """
    if are_names(targets):
        targets = _indices_of(targets, class_names)
    if isinstance(targets, str):
        return _WORDS[targets]
    if targets is None or isinstance(targets, Target):
        return ClassTarget() if targets is None else targets
    if isinstance(targets, (Tensor, Sequence)) or hasattr(targets, "__array__"):
        values = torch.as_tensor(targets)
        if values.ndim == 0 and not isinstance(targets, Tensor):  # a NumPy integer
            values = values.expand(batch)
        if values.ndim == 2:  # noqa: PLR2004
            return MultiLabelTarget(as_multi_label(values, batch))
        return ClassTarget(as_class_indices(values, batch))
    if isinstance(targets, int) and not isinstance(targets, bool):
        return ClassTarget(as_class_indices(torch.full((batch,), targets), batch))
    if callable(targets):
        return FunctionTarget(targets)
    raise TypeError(
        "expected targets to be None, a word, a class index, class indices of shape "
        f"({batch},), or a function of the model's output, got {describe(targets)}"
    )


def _indices_of(names: Any, class_names: Sequence[str] | None) -> int | list[int]:
    """Return the indices of the classes of these names, of a single one its index."""
    if class_names is None:
        raise ValueError(
            f"unknown target {names!r}. Known words: {', '.join(_WORDS)}; with class_names= also "
            "the names of the classes."
        )
    if isinstance(names, str):
        return class_index(names, class_names)
    return [class_index(each, class_names) for each in names]


def class_index(name: str, class_names: Sequence[str]) -> int:
    """Return the index of the class of this name.

    Raises:
        ValueError: no class, or several of this name; the message names near misses.
    """
    found = [index for index, each in enumerate(class_names) if each == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{name!r} is the name of classes {found}: give an index")
    raise ValueError(unknown_name("class", name, class_names, list_all=False))


def are_names(targets: object) -> bool:
    """Return whether `targets` are names of classes: text that is no word of its own."""
    if isinstance(targets, str):
        return targets not in _WORDS
    several = isinstance(targets, Sequence) and bool(targets)
    return several and all(isinstance(each, str) for each in cast("Sequence[Any]", targets))
