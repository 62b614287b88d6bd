"""`ModelAdapter`: a model as the engine needs it, from images to class logits."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from lightning_cam.explain.score_kind import ScoreKind, as_logits, score_kind_of
from lightning_cam.runtime.chunking import is_out_of_memory
from lightning_cam.runtime.containers import tensors_in
from lightning_cam.runtime.messages import describe

Forward: TypeAlias = Callable[[nn.Module, Tensor], Any]
Output: TypeAlias = str | int | Callable[[Any], Any] | None
ScoresOption: TypeAlias = Literal["auto", "logits", "probabilities"]
_SCORES = ("auto", "logits", "probabilities")
_UNCALLABLE = "expected a model that can be called as module(images)"


@dataclass(frozen=True)
class ModelCall:
    """How a model is called, and what in its output is explained.

    Attributes:
        forward: takes the module and images (B, C, H, W), returns the output; None calls the module
            itself.
        output: the part of the output that holds the class scores: a key, an index, a path such as
            `"head.logits"` or `"[1][logits]"`, or a function of the output. None searches it.
        scores: whether these are logits or probabilities. `"auto"` decides by the operation that
            computed them and by their values.
        class_scores: path of the class scores within this part, where a search could mistake them.
        integer_images: the model takes images of this integer dtype; they are rounded to it.
    """

    forward: Forward | None = None
    output: Output = None
    scores: ScoresOption = "auto"
    class_scores: str | None = None
    integer_images: torch.dtype | None = None

    def __post_init__(self) -> None:
        if self.forward is not None and not callable(self.forward):
            raise TypeError(
                f"expected forward as a function of module and images, got {self.forward!r}"
            )
        known = self.output is None or callable(self.output) or isinstance(self.output, (str, int))
        if not known or isinstance(self.output, bool):
            raise TypeError(
                "expected output as a key, an index, a path or a function of the model's output, "
                f"got {self.output!r}"
            )
        if self.scores not in _SCORES:
            raise ValueError(
                f"expected scores 'auto', 'logits' or 'probabilities', got {self.scores!r}"
            )


class ModelAdapter(nn.Module):
    """Runs a model as a `ModelCall` says, and finds the class logits in its output.

    Layers keep the names that they have in the model: see `named_modules`.

    Args:
        module: the model, without wrappers.
        call: how it is called and read.
        kind: what the class scores are, where that is known already.

    Attributes:
        kind: what the class scores are; None before the first of them where `scores` does not say.
    """

    def __init__(
        self, module: nn.Module, call: ModelCall, *, kind: ScoreKind | None = None
    ) -> None:
        super().__init__()
        self.adapted_module = module
        self.call = call
        self.kind: ScoreKind | None = "logits" if call.scores == "logits" else kind

    def around(self, module: nn.Module) -> ModelAdapter:
        """Return an adapter of a module that runs this one, for example with other weights."""
        call = ModelCall(scores=self.call.scores, class_scores=self.call.class_scores)
        return ModelAdapter(module, call, kind=self.kind)

    def forward(self, images: Tensor) -> Any:
        """Return the chosen part of the output.

        Raises:
            ValueError: the model cannot be called with images alone, or has no such output.
        """
        return select(self.run(images), self.call.output)

    def run(self, images: Tensor) -> Any:
        """Return the whole output."""
        images = self._as_fed(images)
        if self.call.forward is not None:
            return self.call.forward(self.adapted_module, images)
        try:
            return self.adapted_module(images)
        except (TypeError, NotImplementedError, AttributeError, KeyError, IndexError) as error:
            raise ValueError(uncallable(self.adapted_module, images, error)) from error

    def run_first(self, images: Tensor) -> Any:
        """Return the chosen part of the output of the first call.

        Whatever a module raises then is taken for its not being called as it expects.

        Raises:
            ValueError: as `forward`; memory errors are raised as they are.
        """
        try:
            found = self.run(images)
        except Exception as error:
            if is_out_of_memory(error) or str(error).startswith(_UNCALLABLE):
                raise
            fed = self._as_fed(images)
            if self.call.forward is not None:
                raise ValueError(
                    _failed("forward", f"the module and images {describe(fed)}", error)
                ) from error
            raise ValueError(uncallable(self.adapted_module, fed, error)) from error
        try:
            return select(found, self.call.output)
        except Exception as error:
            if not callable(self.call.output):
                raise
            given = ", ".join(f"{p or 'tensor'}: {describe(t)}" for p, t in tensors_in(found))
            raise ValueError(_failed("output", f"the model's output ({given})", error)) from error

    def _as_fed(self, images: Tensor) -> Tensor:
        """Return images in the dtype that the model takes."""
        if self.call.integer_images is None:
            return images
        limits = torch.iinfo(self.call.integer_images)
        return images.round().clamp(limits.min, limits.max).to(self.call.integer_images)

    def logits(self, output: Any, batch: int) -> Any:
        """Return an output of `batch` images with its class scores as logits.

        Only them, where `ModelCall.class_scores` says where they are.
        """
        found = select(output, self.call.class_scores)
        if self.kind is None:
            self.kind = score_kind_of(found, batch, given=self.call.scores)
        return as_logits(found, self.kind, batch)


def adapt(model: nn.Module, call: ModelCall | None = None) -> ModelAdapter:
    """Return a model as the engine needs it; one that was adapted before as it is."""
    if isinstance(model, ModelAdapter):
        return model
    return ModelAdapter(model, call or ModelCall())


def uncallable(module: nn.Module, images: Tensor, error: Exception) -> str:
    """Return the message for a model that cannot be called with images alone."""
    inner = _largest_child(module)
    example = f"module.{inner}(images)" if inner else "module.backbone(images)"
    if not images.is_floating_point():
        example = "module(images / 255)"
    elif "required positional argument" in str(error):
        example = "module(images, ...)"
    return (
        f"{_UNCALLABLE} with images {describe(images)}, "
        f"but {type(module).__name__} raised {type(error).__name__}: {error}. Give forward=, a "
        f"function that calls it, for example forward=lambda module, images: {example}."
    )


def _failed(argument: str, given: str, error: Exception) -> str:
    """Return the message for a function of the user's that raised."""
    return (
        f"expected {argument}= as a function of {given}, but calling it raised "
        f"{type(error).__name__}: {error}"
    )


def _largest_child(module: nn.Module) -> str:
    """Return the name of the child with the most parameters, empty where there is none."""
    sizes = {
        name: sum(p.numel() for p in child.parameters()) for name, child in module.named_children()
    }
    return max(sizes, key=lambda name: sizes[name]) if sizes and max(sizes.values()) else ""


# --- the part of the output ----------------------------------------------------------------------


def select(output: Any, part: Output) -> Any:
    """Return a part of a model's output.

    Raises:
        ValueError: there is no such part; the message lists those that there are.
    """
    if part is None:
        return output
    if callable(part):
        return part(output)
    value = output
    for step in [part] if isinstance(part, int) or _has(output, part) else _steps(part):
        if not _has(value, step):
            raise ValueError(_no_such_part(output, part))
        value = _entry(value, step)
    return value


def _steps(path: str) -> list[str | int]:
    """Return the steps of a path such as `head.logits`, `[1][logits]` or `heads[0].logits`."""
    steps: list[str | int] = []
    for step in path.replace("[", ".[").split("."):
        name = step.removeprefix("[").removesuffix("]").strip("'\"")
        if not name:
            continue
        number: Any = name
        with contextlib.suppress(ValueError, SyntaxError):
            number = ast.literal_eval(name)
        steps.append(number if isinstance(number, int) else name)
    return steps


def _has(value: Any, step: str | int) -> bool:
    if isinstance(value, Mapping):
        return step in value
    if isinstance(step, int):
        return isinstance(value, (Sequence, Tensor)) and -len(value) <= step < len(value)
    return hasattr(value, step)


def _entry(value: Any, step: str | int) -> Any:
    if isinstance(value, Mapping) or isinstance(step, int):
        return value[step]
    return getattr(value, step)


def _no_such_part(output: Any, part: str | int) -> str:
    found = ", ".join(f"{path or 'tensor'}: {describe(t)}" for path, t in tensors_in(output))
    return (
        f"expected the model's output to have the part output={part!r}, got "
        f"{found or f'a {type(output).__name__} without tensors'}"
    )
