"""`AttributionBatch`: what a method may ask about one batch of images.

The clean pass (activations, scores, gradients) runs once, when the first method asks for it, and
serves all methods. Methods that need more passes (noise, masks, ablations) run them here too, so
that all share the same target, the same memory bound and the same private randomness.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from lightning_cam.explain.capture import Capture, Site
from lightning_cam.explain.channel_axis import channels_last_at
from lightning_cam.explain.layout import Layout
from lightning_cam.explain.model_call import ModelAdapter
from lightning_cam.explain.outputs import find_detections
from lightning_cam.explain.site_layouts import site_layouts
from lightning_cam.explain.targets import NoTarget, Scores, Target
from lightning_cam.runtime.containers import map_tensors


@dataclass(frozen=True)
class ForwardResult:
    """What one forward pass gave: activations and scores, joined by a graph.

    Attributes:
        output: the model's output.
        scores: N scores over the B images.
        acts: activations by site, as the layers returned them.
        batch: number of images B.
    """

    output: Any
    scores: Scores
    acts: dict[Site, Tensor]
    batch: int

    def gradients(self, values: Tensor | None = None) -> dict[Site, Tensor]:
        """Return d score / d activation by site, one row per score, in the layers' own layout.

        Args:
            values: (N,) other scalars than the scores, computed from the output.

        Raises:
            ValueError: a site that the scores do not depend on.
        """
        values = self.scores.values if values is None else values
        sites, tensors = list(self.acts), list(self.acts.values())
        rounds = _rounds(self.scores.rows)
        parts: list[list[Tensor]] = [[] for _ in sites]
        for picked in rounds:
            with torch.enable_grad():
                total = values[picked].sum()
            grads = torch.autograd.grad(total, tensors, allow_unused=True, retain_graph=True)
            reached = _modules_reached(sites, grads)
            for part, site, act, found in zip(parts, sites, tensors, grads, strict=True):
                if site.module not in reached:
                    raise ValueError(unconnected(str(site)))
                # A level of a pyramid that this score does not use.
                grad = torch.zeros_like(act) if found is None else found
                if len(grad) != self.batch:  # attention heads folded into the batch dimension
                    grad = grad.reshape(self.batch, -1, *grad.shape[1:])
                part.append(select_rows(grad, self.scores.rows[picked]))
        if not rounds:  # no image has a score, for instance because none has a positive label
            return {site: t.new_zeros((0, *t.shape[1:])) for site, t in self.acts.items()}
        order = torch.cat(rounds).argsort()
        return {
            site: part[0] if len(part) == 1 else torch.cat(part)[order]
            for site, part in zip(sites, parts, strict=True)
        }


@dataclass
class AttributionBatch:
    """B images, the model, and the score that is explained.

    Args:
        model: in evaluation mode, inside `preserve_model_state`.
        images: (B, C, H, W).
        rows: which images of the whole batch these are.
        target: which scores are explained.
        modules: the target layers by name; may be empty for methods that use none.
        wanted: names of the modules, or of single sites of theirs, that maps are made for.
        limit: how many images may run in one pass.
        seed: of the private randomness.
        principal: keep only the first principal component of each map's contributions.
        autocast: makes the context that the model runs in.
    """

    model: ModelAdapter
    images: Tensor
    rows: slice
    target: Target
    modules: Mapping[str, nn.Module]
    wanted: frozenset[str]
    limit: int = 64
    seed: int = 0
    principal: bool = False
    autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    replaced: frozenset[str] = field(default=frozenset(), init=False)
    """Modules of whose output maps are made as a hook of the user's own returned it."""
    _channels_last: dict[Site, bool | None] = field(default_factory=dict)  # of all parts of a batch
    _layouts: dict[Site, Layout] = field(default_factory=dict, init=False)

    # --- the clean pass --------------------------------------------------------------------------

    @cached_property
    def clean(self) -> ForwardResult:
        """The pass over the images as they are."""
        return self.forward(self.images, self.target)

    @cached_property
    def gradients(self) -> dict[Site, Tensor]:
        """Gradients of the clean pass: see `ForwardResult.gradients`."""
        return self.clean.gradients()

    @cached_property
    def pinned(self) -> Target:
        """The target of the clean pass, for altered images: it explains the same classes."""
        return self.target.pinned(self.clean.scores)

    @property
    def sites(self) -> list[Site]:
        """The places that maps are made for, in order."""
        return list(self.clean.acts)

    def layout(self, site: Site) -> Layout:
        """Return where a site's output has its height and width."""
        _ = self.clean
        return self._layouts[site]

    def acts_of(self, site: Site) -> Tensor:
        """Return a site's activations as (N, C, h, w) float32, one row per score."""
        acts = self.layout(site).to_bchw(self.clean.acts[site].detach())
        return select_rows(acts, self.clean.scores.rows).float()

    def grads_of(self, site: Site, gradients: Mapping[Site, Tensor] | None = None) -> Tensor:
        """Return a site's gradients as (N, C, h, w) float32, one row per score."""
        grads = self.gradients if gradients is None else gradients
        return self.layout(site).to_bchw(grads[site]).float()

    def per_score(self, per_image: Tensor) -> Tensor:
        """Return a tensor that has one row per image with one row per score."""
        return select_rows(per_image, self.clean.scores.rows)

    def run_model(self, images: Tensor) -> Any:
        """Return the model's output, as the target reads it, under the caller's autocast.

        The model runs on a copy, since one that works in place on its input must not change the
        caller's images.
        """
        with self.autocast():
            output = self.model(images.clone())
        return self.model.logits(output, len(images)) if self._converts else output

    def class_scores(self, output: Any) -> Any:
        """Return what `run_model` returned for as many images as the batch, with logits."""
        return output if self._converts else self.model.logits(output, len(self.images))

    @property
    def _converts(self) -> bool:
        return self.target.reads_class_scores

    # --- further passes --------------------------------------------------------------------------

    def forward(self, images: Tensor, target: Target) -> ForwardResult:
        """Run a forward pass whose graph starts at the target layers."""
        for grad in (False, True):
            with Capture(self.modules, grad=grad) as capture:
                output = self.run_model(images)
            acts = capture.activations()
            _check_ran(self.modules, acts)
            with torch.enable_grad():
                scores = target.scores(output, self.rows)
            if capture.torn and not grad and not _all_reached(scores.values, acts):
                continue
            self.replaced = capture.replaced
            if capture.replaced and scores.values.requires_grad:
                # What a hook returned may be used by nothing, and what it stored by the head.
                lost = capture.replaced - _reached(scores.values, acts)
                acts, self.replaced = capture.activations(own=lost), capture.replaced - lost
            free = isinstance(target, NoTarget) or not self.modules
            if free or scores.values.requires_grad:
                self._layouts = {
                    site: layout
                    for site, layout in self._layouts_of(acts, images).items()
                    if site.module in self.wanted or str(site) in self.wanted
                }
                if self.modules and not self._layouts:
                    raise ValueError(_no_site(self.wanted, acts))
                kept = {site: acts[site] for site in self._layouts}
                return ForwardResult(output, scores, kept, len(images))
            # The model left a `no_grad` of its own behind a target layer: see `Capture`.
        raise ValueError(unconnected(", ".join(self.modules)))

    def _layouts_of(self, acts: Mapping[Site, Tensor], images: Tensor) -> dict[Site, Layout]:
        def channels_last(site: Site) -> bool | None:
            if site not in self._channels_last:
                asked = channels_last_at(self.modules, images[:1], self.run_model)
                self._channels_last.update({**dict.fromkeys(acts), **asked})
            return self._channels_last[site]

        return site_layouts(acts, images, channels_last)

    def forward_altered(self, images: Tensor) -> ForwardResult:
        """Run altered images, as many as the clean ones, with the same target."""
        return self.forward(images, self.pinned)

    def image_gradient(self, images: Tensor | None = None) -> Tensor:
        """Return d score / d image, (N, C, H, W)."""
        source = self.images if images is None else images
        with torch.enable_grad():
            leaf = source.detach().clone().requires_grad_()
            scores = self.pinned.scores(self.run_model(leaf), self.rows)
        if not scores.values.requires_grad:
            raise ValueError(unconnected("input"))
        result = ForwardResult(None, scores, {Site("input"): leaf}, len(leaf))
        return result.gradients()[Site("input")]

    def scores_of(
        self,
        variants: Iterable[Tensor],
        around: Callable[[int, int], contextlib.AbstractContextManager[Any]] | None = None,
    ) -> Tensor:
        """Return the scores of altered copies of the batch, (V, N), without gradients.

        Copies run together up to the memory bound and are made only then.

        Args:
            variants: V tensors (B, C, H, W).
            around: takes the index of the first variant and their number, returns a context to run
                them in.
        """
        batch = len(self.images)
        together = max(1, self.limit // batch)
        variants = iter(variants)
        found: list[Tensor] = []
        for group in iter(lambda: list(itertools.islice(variants, together)), []):
            context = around(len(found), len(group)) if around else contextlib.nullcontext()
            with torch.no_grad(), context:
                output = self.run_model(torch.cat(group))
            for j in range(len(group)):
                rows = slice(j * batch, (j + 1) * batch)
                part = _part_of_output(output, rows, len(group) * batch)
                found.append(self.pinned.scores(part, self.rows).values.float())
        return torch.stack(found)

    def noise(self, sample: int, like: Tensor) -> Tensor:
        """Return standard normal noise of one image's shape, the same for all images of a batch.

        Drawn from a private stream, so that it depends on neither the batch nor the training.
        """
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + sample)
        return torch.randn(like.shape[1:], generator=generator).to(like)


def select_rows(tensor: Tensor, rows: Tensor) -> Tensor:
    """Return `tensor[rows]`, without a copy in the usual case of one score per image."""
    if rows.tolist() == list(range(len(tensor))):
        return tensor
    return tensor[rows]


def unconnected(site: str) -> str:
    """Return the message for a layer that the score does not depend on."""
    return (
        f"the explained score does not depend on layer {site!r} through differentiable operations. "
        "Name a layer between the images and the logits, or use layers='auto'."
    )


def _all_reached(values: Tensor, acts: Mapping[Site, Tensor]) -> bool:
    """Return whether the scores depend on each target layer."""
    return values.requires_grad and {site.module for site in acts} == _reached(values, acts)


def _reached(values: Tensor, acts: Mapping[Site, Tensor]) -> set[str]:
    """Return the target layers that the scores, part of a graph, depend on."""
    with torch.enable_grad():
        total = values.sum()
    grads = torch.autograd.grad(total, list(acts.values()), allow_unused=True, retain_graph=True)
    return _modules_reached(acts, grads)


def _modules_reached(sites: Iterable[Site], grads: Iterable[Tensor | None]) -> set[str]:
    """Return the modules of which any tensor has a gradient."""
    return {site.module for site, grad in zip(sites, grads, strict=True) if grad is not None}


def _part_of_output(output: Any, rows: slice, whole: int) -> Any:
    """Return the part of an output that belongs to some of its `whole` images."""
    if find_detections(output, whole) is not None:
        return output[rows]

    def part(_path: str, tensor: Tensor) -> Tensor:
        return tensor[rows] if tensor.ndim and len(tensor) == whole else tensor

    return map_tensors(output, part)


def _rounds(rows: Tensor) -> list[Tensor]:
    """Split scores so that each round holds at most one score per image.

    Scores of different images share a backward pass, since images do not influence each other.
    """
    counts: dict[int, int] = {}
    rounds: list[list[int]] = []
    for index, row in enumerate(rows.tolist()):
        number = counts.get(row, 0)
        counts[row] = number + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(index)
    return [torch.tensor(picked, device=rows.device) for picked in rounds]


def _check_ran(modules: Mapping[str, nn.Module], acts: Mapping[Site, Tensor]) -> None:
    ran = {site.module for site in acts}
    for name in modules:
        if name not in ran:
            raise ValueError(
                f"layer {name!r} did not run in the model's forward pass, or returned no floating "
                "point tensor. Name a layer that forward calls."
            )


def _no_site(wanted: Iterable[str], acts: Iterable[Site]) -> str:
    sites = ", ".join(map(str, acts))
    return f"expected layers among {sites}, got {', '.join(sorted(wanted))}"
