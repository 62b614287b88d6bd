"""Methods that use the attention matrices of a vision transformer.

Notation: A is the attention matrix of one block, (heads, N, N) over N tokens; I the identity; S the
score.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lightning_cam.explain.attribution import AttributionBatch, ForwardResult
from lightning_cam.explain.capture import Site
from lightning_cam.explain.layout import infer_layout
from lightning_cam.explain.methods.registry import register

_MATRIX_NDIM = 4  # (B, heads, N, N)
_SOFTMAXES = {torch.softmax, Tensor.softmax, F.softmax}


@register("rollout", "Attention rollout", place="attention", class_free=True)
def rollout(batch: AttributionBatch, site: Site) -> Tensor:
    """Return the product over blocks of (A + I) / 2, with A averaged over heads.

    How much the class token, or without one the average token, receives from each patch through all
    blocks and their residual connections. Does not depend on the class. Abnar and Zuidema 2020
    (attention rollout).
    """
    del site
    with torch.no_grad():
        steps = [weights.matrix().float().mean(dim=1) for weights in _attention(batch)[1]]
        joint = _identity(steps[0])
        for step in steps:
            mixed = (step + _identity(step)) / 2
            joint = mixed / mixed.sum(dim=-1, keepdim=True) @ joint
    return batch.per_score(_patches(batch, joint))


@register("gradient_attention", "Gradient-weighted attention", place="attention")
def gradient_attention(batch: AttributionBatch, site: Site) -> Tensor:
    """Return R after R ← R + mean_heads(ReLU(dS/dA ⊙ A)) R over all blocks, from R = I.

    Attention rollout that counts an attention weight as much as the score depends on it. Chefer et
    al. 2021 (ICCV).
    """
    del site
    with torch.enable_grad():
        output, found = _attention(batch)
        scores = batch.pinned.scores(output, batch.rows)
        sites = {Site("attention", k): weights.source for k, weights in enumerate(found)}
        grads = ForwardResult(output, scores, sites, len(batch.images)).gradients()
    relevance = _identity(found[0].matrix().detach()[scores.rows, 0].float())
    for weights, grad in zip(found, grads.values(), strict=True):
        matrix = weights.matrix().detach()[scores.rows].float()
        weighted = (grad.float().view_as(matrix) * matrix).relu().mean(dim=1)
        relevance = relevance + weighted @ relevance
    return _patches(batch, relevance - _identity(relevance))


def _identity(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device).expand_as(like)


def _patches(batch: AttributionBatch, relevance_BNN: Tensor) -> Tensor:
    """Return what the token that the head reads receives from each patch, (B, h, w)."""
    count = relevance_BNN.shape[-1]
    size = (batch.images.shape[2], batch.images.shape[3])
    layout = infer_layout((1, count, 1), size)
    if layout is None:
        raise ValueError(f"cannot lay {count} tokens out as a grid of the image's proportions")
    drawn = relevance_BNN[:, 0] if layout.prefix else relevance_BNN.mean(dim=1)
    return drawn[:, layout.prefix :].reshape(-1, *layout.grid)


@dataclass(frozen=True)
class _Weights:
    """The attention of one block.

    Attributes:
        source: the tensor that the block's output is computed from, so that gradients reach it.
        shape: (B, heads, N, N); the source may have heads folded into the batch.
    """

    source: Tensor
    shape: tuple[int, ...]

    def matrix(self) -> Tensor:
        return self.source.view(self.shape)


def _attention(batch: AttributionBatch) -> tuple[Any, list[_Weights]]:
    """Run the images and return the output and the attention of each block.

    Raises:
        ValueError: the network has no attention over all tokens.
    """
    images = batch.images.detach().clone().requires_grad_(torch.is_grad_enabled())
    with _fast_path_off(), _Recorder(len(images)) as recorder:
        output = batch.run_model(images)
    sizes = {weights.shape[-1] for weights in recorder.found}
    if len(sizes) != 1:
        got = "none" if not sizes else f"matrices over {sorted(sizes)} tokens"
        raise ValueError(
            "attention methods need a plain vision transformer, whose blocks all attend over the "
            f"same tokens; got {got}. Use 'gradcam' for windowed and hierarchical transformers."
        )
    return output, recorder.found


@contextlib.contextmanager
def _fast_path_off() -> Iterator[None]:
    """Make `nn.MultiheadAttention` compute in Python, where its weights are accessible."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class _Recorder(TorchFunctionMode):
    """Records attention matrices, however they are computed.

    Fused attention never forms the matrix, so it is replaced by its definition;
    `nn.MultiheadAttention` returns its weights on request; elsewhere the matrix is the result of a
    softmax.
    """

    def __init__(self, batch: int) -> None:
        super().__init__()
        self._batch = batch
        self.found: list[_Weights] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._explicit(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            wanted = kwargs.get("need_weights", True)
            averaged = kwargs.get("average_attn_weights", True)
            asked = {**kwargs, "need_weights": True, "average_attn_weights": False}
            call: Any = func
            output, weights = call(*args, **asked)
            # A view of what the output is computed from; only its base has gradients.
            source = weights._base if weights._base is not None else weights  # noqa: SLF001
            self._record(source, weights.shape)
            if not wanted:
                return output, None
            return output, weights.mean(dim=1) if averaged else weights
        result = func(*args, **kwargs)
        if func in _SOFTMAXES:
            self._record(result, result.shape)
        return result

    def _record(self, source: Tensor, shape: torch.Size) -> None:
        if len(shape) == _MATRIX_NDIM and shape[0] == self._batch and shape[-1] == shape[-2]:
            self.found.append(_Weights(source, tuple(shape)))

    def _explicit(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        del dropout_p  # evaluation mode
        if is_causal or enable_gqa:
            raise ValueError("attention methods do not handle causal or grouped attention")
        factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
        logits = query @ key.transpose(-2, -1) * factor
        if attn_mask is not None:
            bias = attn_mask
            if bias.dtype == torch.bool:
                bias = torch.zeros_like(logits).masked_fill(~attn_mask, -math.inf)
            logits = logits + bias
        weights = logits.softmax(dim=-1)
        self._record(weights, weights.shape)
        return weights @ value
