"""Find class logits, a map of logits, or detections in a model's output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_cam.runtime.containers import tensors_in
from lightning_cam.runtime.messages import describe

LOGIT_KEYS = ("[logits]", "[out]", "[output]", "[y]", "[0]")
_DENSE_NDIM = 4


def find_logits(output: Any, batch: int) -> Tensor | None:
    """Return the (B, K) logits inside a model's output, or None.

    A (B, K) tensor is taken as it is, else the entry named `logits`, `out`, `output` or `y`, else
    the first (B, K) tensor of a tuple, list, dict, dataclass or Hugging Face output. A (B,) tensor
    counts as (B, 1): one binary logit, a (B, K, 1, 1) tensor as (B, K).
    """
    found = _best(output, lambda t: (t.ndim in (1, 2) or is_flat(t)) and len(t) == batch)
    if found is None:
        return None
    return found[:, None] if found.ndim == 1 else found.flatten(1)


def find_dense_logits(output: Any, batch: int) -> Tensor | None:
    """Return the (B, K, H, W) map of class logits inside a segmentation's output, or None."""
    return _best(output, lambda t: t.ndim == _DENSE_NDIM and not is_flat(t) and len(t) == batch)


def is_flat(tensor: Tensor) -> bool:
    """Return whether a tensor is (B, K, 1, 1): scores of whole images, as a convolution's head."""
    return tensor.ndim == _DENSE_NDIM and tensor.shape[2] == tensor.shape[3] == 1


def find_detections(output: Any, batch: int) -> Sequence[Mapping[str, Tensor]] | None:
    """Return a detector's output, B dicts with `boxes`, `labels` and `scores`, or None."""
    if not isinstance(output, Sequence) or len(output) != batch:
        return None
    wanted = {"boxes", "labels", "scores"}
    fits = all(isinstance(each, Mapping) and wanted <= set(each) for each in output)
    return output if fits else None


def logits_of(output: Any, batch: int) -> Tensor:
    """Return `find_logits`, or raise ValueError that says what the output holds."""
    logits = find_logits(output, batch)
    if logits is None:
        raise ValueError(no_logits(output, batch))
    return logits


def no_logits(output: Any, batch: int) -> str:
    """Return the message for an output without anything that can be explained."""
    found = ", ".join(f"{path or 'tensor'}: {describe(t)}" for path, t in tensors_in(output))
    return (
        f"expected the model's output to hold class logits of shape ({batch}, classes), got "
        f"{found or f'a {type(output).__name__} without tensors'}. For another kind of model give "
        "a target: a function of the output that returns one score per image."
    )


def _best(output: Any, fits: Any) -> Tensor | None:
    found = [(p, t) for p, t in tensors_in(output) if t.is_floating_point() and fits(t)]
    found.sort(key=lambda item: LOGIT_KEYS.index(item[0]) if item[0] in LOGIT_KEYS else 99)
    return found[0][1] if found else None


def predictions(logits_BK: Tensor) -> Tensor:
    """Return the predicted class of each image, (B,) long; a single logit predicts by its sign."""
    if logits_BK.shape[1] == 1:
        return (logits_BK[:, 0] > 0).long()
    return logits_BK.detach().argmax(dim=1)


def probabilities(logits_BK: Tensor, *, multi_label: bool = False) -> Tensor:
    """Return probabilities (B, K): softmax, or a sigmoid per label where `multi_label`.

    A single logit gives the probabilities (B, 2) of classes 0 and 1.
    """
    if multi_label:
        return logits_BK.float().sigmoid()
    if logits_BK.shape[1] == 1:
        positive_B1 = logits_BK.float().sigmoid()
        return torch.cat([1 - positive_B1, positive_B1], dim=1)
    return logits_BK.float().softmax(dim=1)
