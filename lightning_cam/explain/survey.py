"""Look at a network run, and find where a map can be taken."""

from __future__ import annotations

import math
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_cam.explain.capture import GradientStart
from lightning_cam.explain.layout import Layout, infer_layout
from lightning_cam.explain.model_state import undisturbed
from lightning_cam.explain.modules import module_of, named_modules
from lightning_cam.explain.outputs import find_dense_logits, find_detections, find_logits
from lightning_cam.explain.structure import map_tensors, normal, tensors_in
from lightning_cam.explain.targets import Target

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


@dataclass(frozen=True)
class Candidate:
    """A place in the network where a map could be taken.

    Attributes:
        name: the name to write for it.
        kind: the module's class.
        layout: where its height, width and channels are.
        drawback: why `"auto"` passes it over; empty when it does not.
        aliases: other modules that return this very tensor.
    """

    name: str
    kind: str
    layout: Layout
    drawback: str = ""
    aliases: tuple[str, ...] = ()

    def __str__(self) -> str:
        notes = f"  ({self.drawback})" if self.drawback else ""
        return f"{self.name}  {self.kind}  {self.layout}{notes}"


def survey(model: nn.Module, images: Tensor, target: Target) -> list[Candidate]:
    """Run the first image and return the layers with a spatial output, in order of execution.

    Args:
        model: the network, already unwrapped.
        images: (B, C, H, W) float; only the first image is run.
        target: the score whose dependence on each layer is tested.
    """
    image = images[:1]
    modules = named_modules(model)
    notes = _Notes(image, {name for name, module in modules.items() if _is_attention(module)})
    handles = [module.register_forward_hook(notes.hook(name)) for name, module in modules.items()]
    with undisturbed(model, image.device), torch.enable_grad():
        try:
            with notes.start:
                leaf = normal(image).clone().requires_grad_()
                output = model(leaf.clone())
        finally:
            for handle in handles:
                handle.remove()
        notes.finish(target.scores(output, slice(0, 1)).values.sum(), leaf)
    judge = _Judge(modules, output, notes)
    return [judge.candidate(place) for place in notes.places.values()]


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """Return the last candidate without a drawback, else the last with a bearable one.

    Raises:
        ValueError: there is none.
    """
    for accepted in ("", *_LAST_RESORTS):
        for candidate in reversed(candidates):
            if candidate.drawback == accepted:
                return candidate
    raise ValueError(
        "found no layer with a spatial output that the score depends on. Name one with "
        "layers=..., or check that the model keeps height and width until a pooling."
        + (f" {listing(candidates)}" if candidates else "")
    )


def listing(candidates: Sequence[Candidate]) -> str:
    """Return the last candidates as lines for a message."""
    lines = "\n  ".join(str(candidate) for candidate in candidates[-12:])
    return f"Layers with a spatial output (the last ones):\n  {lines}"


_surveys: weakref.WeakKeyDictionary[nn.Module, dict[Any, list[Candidate]]] = (
    weakref.WeakKeyDictionary()
)


def cached_survey(model: nn.Module, images: Tensor, target: Target) -> list[Candidate]:
    """Return `survey`, remembered while the model keeps its modules and the images their shape.

    A look costs a forward and a backward pass of one image; repeated calls should not pay it.
    """
    asked = getattr(target, "function", type(target))  # other functions may read other heads
    key = (tuple(map(id, model.modules())), tuple(images.shape[1:]), asked)
    known = _surveys.setdefault(model, {})
    if key not in known:
        known.clear()
        known[key] = survey(model, images, target)
    return known[key]


# --- what is seen --------------------------------------------------------------------------------


class _Passed(NamedTuple):
    """A module's own view of a place, its layout, and whether it came in a container."""

    view: Tensor
    layout: Layout
    boxed: bool


@dataclass
class _Place:
    """A tensor that modules returned, and who returned it.

    Attributes:
        tensor: as its last writer left it.
        layout: of the tensor.
        version: how often it had been written to.
        returned: what each module's site passed on, so that it can be told whether the network
            went on with that module's output.
        levels: different sizes among the tensors that came in one container with it.
        narrowest: fewest channels among them.
        inside_attention: its last writer is part of an attention block.
        reached: the score depends on it.
        from_image: it depends on the image.
    """

    tensor: Tensor
    layout: Layout
    version: int
    returned: dict[str, _Passed]
    levels: int
    narrowest: int
    inside_attention: bool
    reached: bool = False
    from_image: bool = True

    @property
    def rows(self) -> int | None:
        """Number of tokens with all prefixes, None for other layouts."""
        return self.tensor.shape[1] if self.layout.kind == "tokens" else None


class _Notes:
    """Collects what each module returns while the survey runs.

    A container returns its last child's tensor and a permutation its input's memory: one place,
    several names, until an in-place operation overwrites it. Everything is kept alive, so that
    addresses are unique.
    """

    def __init__(self, image: Tensor, attention: set[str]) -> None:
        self.image_hw = (image.shape[2], image.shape[3])
        self._attention = attention
        self._calls: Counter[str] = Counter()
        self._first_rows: dict[int, Tensor] = {}
        self._torn = False
        self.start = GradientStart(grad=True)
        self.places: dict[tuple[int, int], _Place] = {}
        self.latent_rows: set[int] = set()
        """Numbers of tokens that start from parameters, as a Perceiver's do."""

    def hook(self, name: str) -> Callable[[nn.Module, Any, Any], Any]:
        """Return the forward hook of the module of that name."""
        inside = any(name.startswith(f"{other}.") for other in self._attention)

        def note(_module: nn.Module, _args: Any, output: Any) -> Any:
            output = map_tensors(output, self._lifted)
            spatial = [
                (path, layout)
                for path, tensor in tensors_in(output)
                if (layout := self._layout(tensor)) is not None
            ]
            site = f"{name}#{self._calls[name]}"
            self._calls[name] += 1
            if not spatial:
                return output
            finest, layout = spatial[0]  # of a pyramid the finest stands for all

            def pass_on(path: str, tensor: Tensor) -> Tensor:
                if path != finest:
                    return tensor
                view = tensor.view_as(tensor)
                place = self._place(tensor, layout)
                place.returned[site] = _Passed(view, layout, boxed=bool(path))
                place.levels = len({each.grid for _, each in spatial})
                place.narrowest = min(each.channels for _, each in spatial)
                place.inside_attention = inside
                return view

            return map_tensors(output, pass_on)

        return note

    def _place(self, tensor: Tensor, layout: Layout) -> _Place:
        """Return the tensor's place, a new one at the end where it was written to since."""
        key, version = (tensor.data_ptr(), tensor.numel()), tensor._version  # noqa: SLF001
        place = self.places.get(key)
        if place is None or place.version != version:
            self.places.pop(key, None)
            place = self.places[key] = _Place(tensor, layout, version, {}, 1, 0, False)  # noqa: FBT003
        if place.rows is not None:
            self._first_rows.setdefault(place.rows, tensor)
        return place

    def finish(self, score: Tensor, image: Tensor) -> None:
        """Settle what each place depends on, number calls only where there were several."""
        reached = _reached(score, self.places.values())
        leads: dict[Any, bool] = {None: False}
        for place in self.places.values():
            kept = {s: passed for s, passed in place.returned.items() if id(passed.view) in reached}
            place.reached = bool(kept)
            place.returned = {
                site if self._calls[module_of(site)] > 1 else module_of(site): passed
                for site, passed in (kept or place.returned).items()
            }
            # A part under a `no_grad` of its own hides where things come from.
            place.from_image = self._torn or _leads_to(place.tensor.grad_fn, image, leads)
        if not self._torn:
            self.latent_rows = {
                rows
                for rows, first in self._first_rows.items()
                if not _leads_to(first.grad_fn, image, leads)
            }

    def _layout(self, tensor: Tensor) -> Layout | None:
        if not tensor.is_floating_point() or tensor.ndim == 0 or len(tensor) != 1:
            return None
        return infer_layout(tuple(tensor.shape), self.image_hw)

    def _lifted(self, _path: str, tensor: Tensor) -> Tensor:
        """Return a part of the graph also where the model runs under a `no_grad` of its own."""
        if tensor.requires_grad or not tensor.is_floating_point():
            return tensor
        self._torn |= not torch.is_grad_enabled()
        return self.start.lift(tensor).detach().requires_grad_().clone()


def _is_attention(module: nn.Module) -> bool:
    kind = type(module).__name__.lower()
    # An "attention block" or "attention layer" is a whole transformer block in many code bases.
    return ("attention" in kind or "attn" in kind) and not kind.endswith(("block", "layer"))


def _reached(score: Tensor, places: Any) -> set[int]:
    """Return the ids of the views that the score depends on, whatever the weights' values are.

    NaN is sent backwards instead of one: it survives a multiplication with zero weights (a head
    initialised with zeros), while a cell that was cut away (patch tokens under a class token)
    receives an exact zero.
    """
    views = [
        (passed.view, passed.layout)
        for place in places
        for passed in place.returned.values()
        if passed.view.requires_grad
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


def _leads_to(node: Any, leaf: Tensor, known: dict[Any, bool]) -> bool:
    """Tell whether a node of the graph depends on `leaf`; `known` is shared between calls."""
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


# --- what is made of it --------------------------------------------------------------------------


class _Judge:
    """Says why a place is no good for a map, given all that the survey saw."""

    def __init__(self, modules: dict[str, nn.Module], output: Any, notes: _Notes) -> None:
        places = list(notes.places.values())
        self._modules = modules
        self._logits = find_logits(output, 1)
        self._dense = None if self._logits is not None else find_dense_logits(output, 1)
        # A detector reads a pyramid of features; its heads return pyramids of a few channels too.
        pyramids = places if find_detections(output, 1) is not None else []
        self._pyramid = max(pyramids, key=lambda p: (p.levels, p.narrowest), default=None)
        self._token_rows = {place.rows for place in places} - {None}
        planes = {place.layout.grid for place in places if place.rows is None} | {notes.image_hw}
        self._latent_rows = {
            place.rows
            for place in places
            if place.rows in notes.latent_rows and place.layout.grid not in planes
        }
        self._streams = _streams(places)

    def candidate(self, place: _Place) -> Candidate:
        """Return the place under the name that people know, with its drawback."""
        # The shortest path (`layer4`, not `layer4.2.relu`), unless what it returns is a container
        # other than a detector's pyramid; among equals a module with weights says more than the
        # permutation after it.
        sites = list(place.returned)

        def rank(site: str) -> tuple[bool, int, bool, int]:
            boxed = place.returned[site].boxed and place is not self._pyramid
            bare = next(self._modules[module_of(site)].parameters(), None) is None
            return boxed, site.count("."), bare, sites.index(site)

        name, *others = sorted(sites, key=rank)
        kind = type(self._modules[module_of(name)]).__name__
        return Candidate(name, kind, place.layout, self.drawback(place), tuple(others))

    def drawback(self, place: _Place) -> str:
        """Return the first reason, or an empty string."""
        if self._pyramid is not None:
            # Which level a detection came from changes with the image; the pyramid serves all.
            return "" if place is self._pyramid else "not the pyramid that the detector reads"
        reasons = (
            (not place.from_image, "the image has no influence on it"),
            (not place.reached, "the score does not depend on it"),
            (place.rows is not None and place.layout.channels == 1, "a single channel"),
            (place.rows in self._latent_rows, "tokens that start from parameters, not the image"),
            (self._is_attention_matrix(place), "an attention matrix"),
            (place.inside_attention, _ATTENTION),
            (self._is_beside_the_stream(place), "not the stream of tokens"),
            (self._is_pooled(place), _POOLED),
            (self._is_score_map(place), _SCORES),
        )
        return next((reason for holds, reason in reasons if holds), "")

    def _is_attention_matrix(self, place: _Place) -> bool:
        _, _, *sides = place.tensor.shape
        return len(sides) == 2 and sides[0] == sides[1] and sides[0] in self._token_rows  # noqa: PLR2004

    def _is_beside_the_stream(self, place: _Place) -> bool:
        """Tell whether it is a hidden layer of a transformer's MLPs, or its queries and keys."""
        stream = self._streams.get(place.layout.grid)
        return place.rows is not None and place.layout.channels != stream

    def _is_pooled(self, place: _Place) -> bool:
        return any(isinstance(self._modules[module_of(s)], _POOLING) for s in place.returned)

    def _is_score_map(self, place: _Place) -> bool:
        """Tell whether it is the map of class scores that is averaged or enlarged to the output."""
        if self._dense is not None:
            return place.layout.channels == self._dense.shape[1]
        if self._logits is None or place.layout.channels != self._logits.shape[1]:
            return False
        mean = place.layout.to_bchw(place.tensor.detach()).mean(dim=(2, 3))
        return torch.allclose(mean, self._logits.detach(), atol=1e-4)


def _streams(places: Sequence[_Place]) -> dict[tuple[int, int], int]:
    """Return the width of the stream of tokens on each grid.

    Blocks write their stream's width more often than that of their MLPs, queries or classes.
    """
    widths = Counter(
        (place.layout.grid, place.layout.channels)
        for place in places
        if place.rows is not None and place.reached and not place.inside_attention
    )
    streams: dict[tuple[int, int], int] = {}
    for (grid, channels), _ in widths.most_common():
        streams.setdefault(grid, channels)
    return streams
