"""`score_kind_of`: whether a model returns logits or probabilities, and logits of the latter."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from lightning_cam.explain.outputs import find_dense_logits, find_detections, find_logits
from lightning_cam.runtime.containers import map_tensors

ScoreKind: TypeAlias = Literal["logits", "softmax", "sigmoid"]

# Operations of the graph that keep what a tensor means.
_RESHAPING = (
    "Alias", "AsStrided", "Cat", "Clamp", "ClampMax", "ClampMin", "Clone", "Contiguous", "Expand",
    "Index", "IndexSelect", "Movedim", "Permute", "ReshapeAlias", "Rsub", "Select", "Slice",
    "Split", "Squeeze", "Stack", "T", "ToCopy", "Transpose", "Unbind", "UnsafeSplit", "UnsafeView",
    "Unsqueeze", "View",
)  # fmt: skip
_MAX_STEPS = 32
_SUM_TOLERANCE = 1e-3  # of probabilities in half precision


def score_kind_of(output: Any, batch: int, given: str = "auto") -> ScoreKind:
    """Return what the class scores in a model's output are.

    The operation that computed them decides where autograd recorded it: a softmax or a sigmoid,
    possibly reshaped. Else their values do: rows of one image that sum to 1 are probabilities of a
    softmax; values that all lie within 0 and 1 are those of a sigmoid, unless the graph shows
    another operation.

    Args:
        output: of the model for `batch` images.
        batch: number of images.
        given: `"probabilities"` where the user says so: then only their kind is found out.
    """
    scores = class_scores_in(output, batch)
    if scores is None or not scores.numel():
        return "logits"
    operation = _operation_of(scores)
    if operation in ("softmax", "sigmoid"):
        return operation  # type: ignore[return-value]
    if operation == "log_softmax" and given == "auto":
        return "logits"  # the softmax of log probabilities are the probabilities
    values = scores.detach().float()
    within = bool(((values >= 0) & (values <= 1)).all())
    if within and _sum_to_one(values):
        return "softmax"
    if given == "probabilities" and not within:
        raise ValueError(
            "expected values within 0 and 1 as scores='probabilities' says, got "
            f"{float(values.min()):.3g} to {float(values.max()):.3g}. Give scores='logits'."
        )
    if given == "probabilities":
        return "sigmoid"
    return "sigmoid" if within and operation is None else "logits"


def class_scores_in(output: Any, batch: int) -> Tensor | None:
    """Return the (B, K) or (B, K, H, W) class scores in an output, None for other outputs."""
    if find_detections(output, batch) is not None:
        return None
    scores = find_logits(output, batch)
    return scores if scores is not None else find_dense_logits(output, batch)


def as_logits(output: Any, kind: ScoreKind, batch: int) -> Any:
    """Return an output with its class probabilities replaced by logits that have them.

    The logarithm of softmax probabilities, whose softmax they are, and log(p / (1 - p)) of those of
    a sigmoid.

    Args:
        output: of the model for `batch` images.
        kind: what the class scores are.
        batch: number of images.
    """
    scores = class_scores_in(output, batch)
    if scores is None or kind == "logits":
        return output

    def convert(_path: str, tensor: Tensor) -> Tensor:
        reshaped = tensor.numel() == scores.numel() and tensor.data_ptr() == scores.data_ptr()
        same = tensor is scores or reshaped
        return _logits(tensor, kind) if same else tensor

    return map_tensors(output, convert)


def _logits(probabilities: Tensor, kind: ScoreKind) -> Tensor:
    exact = probabilities.float()
    tiny = torch.finfo(torch.float32).tiny
    log = exact.clamp(min=tiny).log()
    return log if kind == "softmax" else log - (1 - exact).clamp(min=2**-24).log()


def _sum_to_one(values: Tensor) -> bool:
    if values.ndim < 2 or values.shape[1] < 2:  # noqa: PLR2004
        return False
    return bool(((values.sum(dim=1) - 1).abs() <= _SUM_TOLERANCE).all())


def _operation_of(scores: Tensor) -> str | None:
    """Return the operation that computed the scores, None where autograd did not record it."""
    node: Any = scores.grad_fn
    for _ in range(_MAX_STEPS):
        if node is None:
            return None
        name = type(node).__name__.partition("Backward")[0]
        if name in ("Softmax", "SafeSoftmax"):
            return "softmax"
        if name == "LogSoftmax":
            return "log_softmax"
        if name == "Sigmoid":
            return "sigmoid"
        if name not in _RESHAPING:
            return "other"
        inputs = [each for each, _ in node.next_functions if each is not None]
        node = inputs[0] if inputs else None
    return "other"
