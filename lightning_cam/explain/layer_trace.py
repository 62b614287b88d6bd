"""`LayerTrace`: what each module returned in one forward pass, and what the score depends on."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_cam.explain.capture import GradientStart
from lightning_cam.explain.channel_axis import channels_last
from lightning_cam.explain.hooks import ForwardHook, hook_around
from lightning_cam.explain.layout import Layout, infer_layout
from lightning_cam.explain.modules import module_of
from lightning_cam.runtime.containers import map_tensors, tensors_in


class Returned(NamedTuple):
    """One module's own view of a traced tensor.

    Attributes:
        view: the tensor that the network went on with, if it went on with this module's output.
        layout: of the tensor.
        in_container: whether the module returned it in a tuple, list or dict.
    """

    view: Tensor
    layout: Layout
    in_container: bool


@dataclass
class TracedTensor:
    """A spatial tensor, and the modules that returned it.

    Attributes:
        tensor: as its last writer left it.
        layout: of the tensor.
        version: how often it had been written to.
        returned: by site, what each module passed on, so that it can be told whether the network
            went on with that module's output.
        levels: number of different sizes among the tensors of the same container.
        narrowest: smallest number of channels among them.
        inside_attention: its last writer is part of an attention block.
        reached: the score depends on it.
        from_image: it depends on the image.
    """

    tensor: Tensor
    layout: Layout
    version: int
    returned: dict[str, Returned]
    levels: int
    narrowest: int
    inside_attention: bool
    reached: bool = False
    from_image: bool = True

    @property
    def tokens(self) -> int | None:
        """Number of tokens with all prefix tokens, None for other layouts."""
        return self.tensor.shape[1] if self.layout.kind == "tokens" else None


class LayerTrace:
    """Records what each module returns while a network runs on one image, or on very few.

    A container returns its last child's tensor and a permutation its input's memory: one tensor
    with several names, until an in-place operation overwrites it. All tensors are kept alive, so
    that addresses are unique.

    Args:
        image: (B, C, H, W).
        attention: names of the modules that are attention blocks.
        torn: the model is fed integers, which no gradient passes.
        distorted: the model may change the image's proportions; see `infer_layout`.
    """

    def __init__(
        self, image: Tensor, attention: set[str], *, torn: bool = False, distorted: bool = False
    ) -> None:
        self._count = len(image)
        self.image_hw = (image.shape[2], image.shape[3])
        self._attention = attention
        self._calls: Counter[str] = Counter()
        self._first_of_length: dict[int, Tensor] = {}
        self._torn = torn
        self._distorted = distorted
        self._own: dict[str, TracedTensor] = {}  # in whose place a user's hook returned another
        self.start = GradientStart(grad=True)
        self.tensors: dict[tuple[int, int], TracedTensor] = {}
        self.latent_lengths: set[int] = set()
        """Numbers of tokens that start from parameters, as a Perceiver's do."""

    def attach(self, name: str, module: nn.Module) -> list[RemovableHandle]:
        """Register the hooks that trace the module of that name, and return their handles."""
        record = self._hook(name)

        def replaced(module: nn.Module, args: Any, output: Any) -> Any:
            """Trace what a hook of the user's own returned, as the same call of the module."""
            self._calls[name] -= 1
            site = f"{name}#{self._calls[name]}"
            for traced in self.tensors.values():
                if site in traced.returned:
                    self._own[site] = traced
            return record(module, args, output)

        return hook_around(module, record, replaced)

    def _hook(self, name: str) -> ForwardHook:
        inside = any(name.startswith(f"{other}.") for other in self._attention)

        def record(_module: nn.Module, _args: Any, output: Any) -> Any:
            output = map_tensors(output, self._with_graph)
            spatial = [
                (path, layout)
                for path, tensor in tensors_in(output)
                if (layout := self._layout(tensor)) is not None
            ]
            site = f"{name}#{self._calls[name]}"
            self._calls[name] += 1
            if not spatial:
                return output
            finest, layout = spatial[0]  # the finest level stands for the whole pyramid

            def pass_on(path: str, tensor: Tensor) -> Tensor:
                if path != finest:
                    return tensor
                view = tensor.view_as(tensor)
                traced = self._traced(tensor, layout)
                traced.returned[site] = Returned(view, layout, in_container=bool(path))
                traced.levels = len({each.grid for _, each in spatial})
                traced.narrowest = min(each.channels for _, each in spatial)
                traced.inside_attention = inside
                return view

            return map_tensors(output, pass_on)

        return record

    def finish(self, score: Tensor, image: Tensor) -> None:
        """Determine what each tensor depends on; number calls only where there were several."""
        reached = _views_reached(score, [*self.tensors.values(), *self._own.values()])
        self._choose_between_own_and_replaced(reached)
        known: dict[Any, bool] = {None: False}
        for traced in self.tensors.values():
            kept = {s: each for s, each in traced.returned.items() if id(each.view) in reached}
            traced.reached = bool(kept)
            traced.returned = {
                site if self._calls[module_of(site)] > 1 else module_of(site): each
                for site, each in (kept or traced.returned).items()
            }
            traced.from_image = _depends_on(traced.tensor.grad_fn, image, known)
        # A part under a `no_grad` of the model's own hides where tensors come from, and so does a
        # conversion that has no gradient, such as of images that are bytes.
        hidden = not any(each.from_image for each in self.tensors.values())
        self._torn |= hidden
        for traced in self.tensors.values():
            traced.from_image |= self._torn
        if not self._torn:
            self.latent_lengths = {
                length
                for length, first in self._first_of_length.items()
                if not _depends_on(first.grad_fn, image, known)
            }

    def _choose_between_own_and_replaced(self, reached: set[int]) -> None:
        """Keep of each replaced output what hooks made of it, else what the module returned."""
        for site, own in self._own.items():
            others = [t for t in self.tensors.values() if t is not own and site in t.returned]
            used = any(id(t.returned[site].view) in reached for t in others)
            for traced in [own] if used else others:
                del traced.returned[site]
        self.tensors = {key: each for key, each in self.tensors.items() if each.returned}

    def _traced(self, tensor: Tensor, layout: Layout) -> TracedTensor:
        """Return the tensor's entry, a new one at the end where it was written to since."""
        key, version = (tensor.data_ptr(), tensor.numel()), tensor._version  # noqa: SLF001
        traced = self.tensors.get(key)
        if traced is None or traced.version != version:
            self.tensors.pop(key, None)
            traced = TracedTensor(tensor, layout, version, {}, 1, 0, inside_attention=False)
            self.tensors[key] = traced
        if traced.tokens is not None:
            self._first_of_length.setdefault(traced.tokens, tensor)
        return traced

    def _layout(self, tensor: Tensor) -> Layout | None:
        if not tensor.is_floating_point() or tensor.ndim == 0 or len(tensor) != self._count:
            return None
        return infer_layout(
            tuple(tensor.shape),
            self.image_hw,
            distorted=self._distorted,
            channels_last=lambda: channels_last(tensor),
        )

    def _with_graph(self, _path: str, tensor: Tensor) -> Tensor:
        """Return a part of the graph, also where the model runs under a `no_grad` of its own."""
        if tensor.requires_grad or not tensor.is_floating_point():
            return tensor
        self._torn |= not torch.is_grad_enabled()
        return self.start.lift(tensor).detach().requires_grad_().clone()


def _views_reached(score: Tensor, traced: list[TracedTensor]) -> set[int]:
    """Return the ids of the views that the score depends on, whatever the weights' values are.

    NaN is sent backwards instead of one: it survives a multiplication with zero weights (a head
    initialised with zeros), while a cell that was cut away (patch tokens under a class token)
    receives an exact zero.
    """
    views = [
        (returned.view, returned.layout)
        for each in traced
        for returned in each.returned.values()
        if returned.view.requires_grad
    ]
    if not views or not score.requires_grad:
        return set()
    with torch.autograd.set_detect_anomaly(False):
        grads = torch.autograd.grad(
            score,
            [view for view, _ in views],
            torch.full_like(score, math.nan),
            allow_unused=True,
            retain_graph=True,
        )
    return {
        id(view)
        for (view, layout), grad in zip(views, grads, strict=True)
        if grad is not None and bool(layout.to_bchw(grad).isnan().any())
    }


def _depends_on(node: Any, leaf: Tensor, known: dict[Any, bool]) -> bool:
    """Return whether a node of the graph depends on `leaf`; `known` is shared between calls."""
    stack = [node]
    while stack:
        top = stack[-1]
        if top in known:
            stack.pop()
        elif getattr(top, "variable", None) is leaf:
            known[top] = True
        else:
            inputs = [each for each, _ in top.next_functions]
            waiting = [each for each in inputs if each not in known]
            if waiting and not any(known.get(each) for each in inputs):
                stack.extend(waiting)
            else:
                known[top] = any(known.get(each) for each in inputs)
    return known[node]
