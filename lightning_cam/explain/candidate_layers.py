"""`candidate_layers`: run a network once and list where a map can be taken."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_cam.explain.layer_trace import LayerTrace, TracedTensor
from lightning_cam.explain.layout import Layout
from lightning_cam.explain.model_call import adapt
from lightning_cam.explain.modules import adapted, module_of, named_modules
from lightning_cam.explain.outputs import find_dense_logits, find_detections, find_logits
from lightning_cam.explain.targets import Target
from lightning_cam.runtime.containers import normal
from lightning_cam.runtime.model_state import preserve_model_state

_POOLING = (
    nn.AvgPool2d,
    nn.MaxPool2d,
    nn.LPPool2d,
    nn.FractionalMaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
)
_POOLED = "after a pooling"
_SCORES = "the class scores themselves"
_ATTENTION = "inside an attention block"
_LAST_RESORTS = (_POOLED, _SCORES, _ATTENTION)
_MAX_LISTED = 12


@dataclass(frozen=True)
class Candidate:
    """A place in the network where a map can be taken.

    Attributes:
        name: the name to write for it.
        kind: the module's class.
        layout: where its height, width and channels are.
        drawback: why `"auto"` does not choose it; empty where it may.
        aliases: other modules that return the same tensor.
    """

    name: str
    kind: str
    layout: Layout
    drawback: str = ""
    aliases: tuple[str, ...] = ()

    def __str__(self) -> str:
        notes = f"  ({self.drawback})" if self.drawback else ""
        return f"{self.name}  {self.kind}  {self.layout}{notes}"


def candidate_layers(model: nn.Module, images: Tensor, target: Target) -> list[Candidate]:
    """Run the first image and return the layers with a spatial output, in order of execution.

    Args:
        model: the network, without wrappers.
        images: (B, C, H, W) floating point; only the first image is run, or the first two where the
            model cannot run one alone, as with a normalisation over the batch.
        target: the score whose dependence on each layer is tested.
    """
    found = _candidates_of_few(model, images, target)
    if _none_is_acceptable(found) and images.shape[2] != images.shape[3]:
        # The model may resize its input and change its proportions.
        return _candidates_of_few(model, images, target, distorted=True) or found
    return found


def _none_is_acceptable(candidates: Sequence[Candidate]) -> bool:
    return all(each.drawback not in ("", *_LAST_RESORTS) for each in candidates)


def _candidates_of_few(
    model: nn.Module, images: Tensor, target: Target, *, distorted: bool = False
) -> list[Candidate]:
    try:
        return _candidates(model, images[:1], target, distorted=distorted)
    except Exception:
        if len(images) == 1:
            raise
        return _candidates(model, images[:2], target, distorted=distorted)


def _candidates(
    model: nn.Module, image: Tensor, target: Target, *, distorted: bool
) -> list[Candidate]:
    """Run a batch of one or two images."""
    model, rows = adapt(model), slice(0, len(image))
    modules = named_modules(model)
    attention = {name for name, module in modules.items() if _is_attention(module)}
    torn = model.call.integer_images is not None
    trace = LayerTrace(image, attention, torn=torn, distorted=distorted)
    handles = [h for name, module in modules.items() for h in trace.attach(name, module)]
    with preserve_model_state(model, image.device), torch.enable_grad():
        try:
            with trace.start:
                leaf = normal(image).clone().requires_grad_()
                output = model(leaf.clone())
                if target.reads_class_scores:
                    output = model.logits(output, len(image))
        finally:
            for handle in handles:
                handle.remove()
        trace.finish(target.scores(output, rows).values.sum(), leaf)
    assessment = _Assessment(modules, output, trace)
    return [assessment.candidate(traced) for traced in trace.tensors.values()]


def choose_layer(candidates: Sequence[Candidate]) -> Candidate:
    """Return the last candidate without a drawback, else the last with an acceptable one.

    Raises:
        ValueError: there is none.
    """
    for accepted in ("", *_LAST_RESORTS):
        for candidate in reversed(candidates):
            if candidate.drawback == accepted:
                return candidate
    raise ValueError(
        "found no layer with a spatial output that the score depends on. Name one with "
        "layers=..., or check that the model keeps height and width until a pooling. Layers inside "
        "a module under torch.jit.script cannot be seen."
        + (f" {format_candidates(candidates)}" if candidates else "")
    )


def format_candidates(candidates: Sequence[Candidate]) -> str:
    """Return the last candidates as lines for a message."""
    lines = "\n  ".join(str(candidate) for candidate in candidates[-_MAX_LISTED:])
    return f"Layers with a spatial output (the last ones):\n  {lines}"


_cache: weakref.WeakKeyDictionary[nn.Module, dict[Any, list[Candidate]]] = (
    weakref.WeakKeyDictionary()
)


def cached_candidate_layers(model: nn.Module, images: Tensor, target: Target) -> list[Candidate]:
    """Return `candidate_layers`, cached while the model keeps its modules and images their shape.

    It costs a forward and a backward pass of one image, which repeated calls should not pay.
    """
    asked = getattr(target, "function", type(target))  # other functions may read other heads
    called = getattr(model, "call", None)
    key = (tuple(map(id, adapted(model).modules())), tuple(images.shape[1:]), asked, called)
    cached = _cache.setdefault(adapted(model), {})
    if key not in cached:
        cached.clear()
        cached[key] = candidate_layers(model, images, target)
    return cached[key]


def _is_attention(module: nn.Module) -> bool:
    kind = type(module).__name__.lower()
    # An "attention block" or "attention layer" is a whole transformer block in many code bases.
    return ("attention" in kind or "attn" in kind) and not kind.endswith(("block", "layer"))


class _Assessment:
    """Names traced tensors, and says why one is not suited for a map."""

    def __init__(self, modules: dict[str, nn.Module], output: Any, trace: LayerTrace) -> None:
        traced = list(trace.tensors.values())
        self._modules = modules
        self._logits = find_logits(output, 1)
        self._dense = None if self._logits is not None else find_dense_logits(output, 1)
        # A detector reads a pyramid of features; its heads return pyramids of a few channels too.
        pyramids = traced if find_detections(output, 1) is not None else []
        self._pyramid = max(pyramids, key=lambda t: (t.levels, t.narrowest), default=None)
        self._token_counts = {each.tokens for each in traced} - {None}
        planes = {each.layout.grid for each in traced if each.tokens is None} | {trace.image_hw}
        self._latent_counts = {
            each.tokens
            for each in traced
            if each.tokens in trace.latent_lengths and each.layout.grid not in planes
        }
        self._stream_widths = _stream_widths(traced)

    def candidate(self, traced: TracedTensor) -> Candidate:
        """Return the tensor under the name that users know, with its drawback.

        The shortest path (`layer4`, not `layer4.2.relu`), unless that module returns a container
        other than a detector's pyramid; among equals a module with weights says more than the
        permutation after it.
        """
        sites = list(traced.returned)

        def rank(site: str) -> tuple[bool, int, bool, int]:
            boxed = traced.returned[site].in_container and traced is not self._pyramid
            bare = next(self._modules[module_of(site)].parameters(), None) is None
            return boxed, site.count("."), bare, sites.index(site)

        name, *others = sorted(sites, key=rank)
        kind = type(self._modules[module_of(name)]).__name__
        return Candidate(name, kind, traced.layout, self.drawback(traced), tuple(others))

    def drawback(self, traced: TracedTensor) -> str:
        """Return the first reason against a tensor, or an empty string."""
        if self._pyramid is not None:
            # Which level a detection uses changes with the image; the pyramid serves all.
            return "" if traced is self._pyramid else "not the pyramid that the detector reads"
        reasons = (
            (not traced.from_image, "the image has no influence on it"),
            (not traced.reached, "the score does not depend on it"),
            (traced.tokens is not None and traced.layout.channels == 1, "a single channel"),
            (
                traced.tokens in self._latent_counts,
                "tokens that start from parameters, not the image",
            ),
            (self._is_attention_matrix(traced), "an attention matrix"),
            (traced.inside_attention, _ATTENTION),
            (self._is_beside_the_stream(traced), "not the stream of tokens"),
            (self._is_pooled(traced), _POOLED),
            (self._is_score_map(traced), _SCORES),
        )
        return next((reason for holds, reason in reasons if holds), "")

    def _is_attention_matrix(self, traced: TracedTensor) -> bool:
        _, _, *sides = traced.tensor.shape
        return len(sides) == 2 and sides[0] == sides[1] and sides[0] in self._token_counts  # noqa: PLR2004

    def _is_beside_the_stream(self, traced: TracedTensor) -> bool:
        """Return whether it is a hidden layer of a transformer's MLPs, or its queries and keys."""
        width = self._stream_widths.get(traced.layout.grid)
        return traced.tokens is not None and traced.layout.channels != width

    def _is_pooled(self, traced: TracedTensor) -> bool:
        return any(isinstance(self._modules[module_of(s)], _POOLING) for s in traced.returned)

    def _is_score_map(self, traced: TracedTensor) -> bool:
        """Return whether it is a map of class scores that is averaged or enlarged to the output."""
        if self._dense is not None:
            return traced.layout.channels == self._dense.shape[1]
        if self._logits is None or traced.layout.channels != self._logits.shape[1]:
            return False
        mean = traced.layout.to_bchw(traced.tensor.detach()).mean(dim=(2, 3))
        return torch.allclose(mean, self._logits.detach(), atol=1e-4)


def _stream_widths(traced: Sequence[TracedTensor]) -> dict[tuple[int, int], int]:
    """Return the number of channels of the stream of tokens on each grid.

    Blocks write their stream more often than their MLPs, queries or class scores.
    """
    counts = Counter(
        (each.layout.grid, each.layout.channels)
        for each in traced
        if each.tokens is not None and each.reached and not each.inside_attention
    )
    widths: dict[tuple[int, int], int] = {}
    for (grid, channels), _ in counts.most_common():
        widths.setdefault(grid, channels)
    return widths
