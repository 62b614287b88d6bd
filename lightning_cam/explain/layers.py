"""From a name, a module or `"auto"` to the modules that are watched."""

from __future__ import annotations

import fnmatch
import math
import weakref
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from lightning_cam._messages import unknown
from lightning_cam.explain.capture import GradientStart
from lightning_cam.explain.layout import Layout, infer_layout
from lightning_cam.explain.model_state import undisturbed
from lightning_cam.explain.outputs import find_dense_logits, find_detections, find_logits
from lightning_cam.explain.structure import map_tensors, normal, tensors_in

if TYPE_CHECKING:
    from lightning_cam.explain.targets import Target

LayersLike: TypeAlias = "str | int | nn.Module | Sequence[str | int | nn.Module]"

_POOLING = (
    nn.AvgPool2d,
    nn.MaxPool2d,
    nn.LPPool2d,
    nn.FractionalMaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
)


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


def unwrap(model: nn.Module) -> nn.Module:
    """Return the module inside DataParallel, DDP and `torch.compile` wrappers."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(
            model, (nn.DataParallel, nn.parallel.DistributedDataParallel)
        ):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def named_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the submodules by the names users know, without `_orig_mod.` of compiled ones."""
    return {
        name.replace("_orig_mod.", ""): unwrap(module)
        for name, module in model.named_modules()
        if name and not name.endswith("_orig_mod")
    }


def resolve_layers(
    model: nn.Module, images: Tensor, target: Target, layers: LayersLike
) -> dict[str, nn.Module]:
    """Return the modules that `layers` means, by name, in the order given.

    Args:
        model: the network, already unwrapped.
        images: a batch whose first image may be run to look at the network.
        target: the score that the layer must be connected to.
        layers: `"auto"`, a name (its end will do where that is unambiguous), a site's name
            (`fpn[0]`, `relu#1`), a glob (`"layer*"`), a negative position among the candidates (-1
            is the last), a module, or several of these.

    Raises:
        ValueError: no such layer (near misses named), or `"auto"` finds none.
        TypeError: something else than names, positions and modules.
    """
    several = isinstance(layers, Sequence) and not isinstance(layers, str)
    wanted: Sequence[Any] = layers if several else [layers]  # type: ignore[assignment]
    if not wanted:
        raise ValueError("expected at least one layer, came none")
    modules = named_modules(model)
    chosen: dict[str, nn.Module] = {}
    for item in wanted:
        for name in _names_of(item, model, modules, images, target):
            chosen[name] = modules[module_of(name)]
    return chosen


def module_of(name: str) -> str:
    """Return the module's name in a site's: `fpn` of `fpn[0]`, `relu` of `relu#1`."""
    return name if "*" in name else name.split("#", maxsplit=1)[0].split("[", maxsplit=1)[0]


def _names_of(
    item: object, model: nn.Module, modules: dict[str, nn.Module], images: Tensor, target: Target
) -> list[str]:
    if isinstance(item, nn.Module):
        names = [name for name, module in modules.items() if module is unwrap(item)]
        if not names:
            raise ValueError(
                f"expected a layer of the model, came a {type(item).__name__} that is not in it"
            )
        return names[:1]
    if isinstance(item, int) and not isinstance(item, bool):
        candidates = [c for c in cached_survey(model, images, target) if not c.drawback]
        if not -len(candidates) <= item < 0:
            raise ValueError(
                f"expected a layer position from -{len(candidates)} to -1, came {item}. "
                + _listing(candidates)
            )
        return [candidates[item].name]
    if not isinstance(item, str):
        raise TypeError(f"expected a layer's name, negative position or module, came {item!r}")
    if item == "auto":
        return [choose(cached_survey(model, images, target)).name]
    found = _matching(item, modules)
    if found:
        return found
    message = unknown_layer(item, modules)
    try:
        message += " " + _listing(cached_survey(model, images, target))
    except Exception:  # noqa: BLE001 - the list is a courtesy; the name is the news
        message += " The model's layers are the names in model.named_modules()."
    raise ValueError(message)


def _matching(item: str, modules: dict[str, nn.Module]) -> list[str]:
    """Return the modules or sites that a name means: itself, the end of one name, or a glob."""
    name = module_of(item)
    if name in modules:
        return [item]
    inner = [other for other in modules if other.endswith(f".{name}")]
    if len(inner) == 1:  # `layer4` of a LightningModule that keeps its network in `self.net`
        return [inner[0] + item[len(name) :]]
    return fnmatch.filter(modules, item) if any(sign in item for sign in "*?[") else []


def unknown_layer(name: str, modules: dict[str, nn.Module]) -> str:
    """Return the message for a name that no module has, without listing hundreds of them."""
    return unknown("layer", name, modules).split(" Known:")[0]


def _listing(candidates: Sequence[Candidate]) -> str:
    lines = "\n  ".join(str(c) for c in candidates[-12:])
    return f"Layers with a spatial output (the last ones):\n  {lines}"


# --- looking at the network run ------------------------------------------------------------------


@dataclass
class _Seen:
    """A tensor that modules returned during the survey, and who returned it."""

    tensor: Tensor
    layout: Layout
    version: int
    names: list[str]
    levels: int  # different sizes among the tensors that came in one container with it
    narrowest: int  # fewest channels among them
    inside_attention: bool


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
                output = model(normal(image).clone().requires_grad_().clone())
        finally:
            for handle in handles:
                handle.remove()
        score = target.scores(output, slice(0, 1)).values.sum()
        seen = notes.finished()
        reached = _reached(score, seen)
    judge = _Judge(modules, output, seen)
    return [
        _candidate(item, modules, judge.drawback(item, reached=hit))
        for item, hit in zip(seen, reached, strict=True)
    ]


class _Notes:
    """Collects what each module returns while the survey runs.

    A container returns its last child's tensor and a permutation its input's memory: one place,
    several names, until an in-place operation overwrites it. Everything is kept alive, so that
    addresses are unique.
    """

    def __init__(self, image: Tensor, attention: set[str]) -> None:
        self._image_hw = (image.shape[2], image.shape[3])
        self._attention = attention
        self._calls: Counter[str] = Counter()
        self.start = GradientStart(grad=True)
        self.seen: dict[tuple[int, int], _Seen] = {}

    def hook(self, name: str) -> Any:
        """Return the forward hook of the module of that name."""
        inside = any(name.startswith(f"{other}.") for other in self._attention)

        def note(_module: nn.Module, _args: Any, output: Any) -> Any:
            output = map_tensors(output, self._lifted)
            spatial = [
                (tensor, layout)
                for _, tensor in tensors_in(output)
                if (layout := self._layout(tensor)) is not None
            ]
            site = f"{name}#{self._calls[name]}"
            self._calls[name] += 1
            levels = len({layout.grid for _, layout in spatial})
            narrowest = min((layout.channels for _, layout in spatial), default=0)
            for tensor, layout in spatial[:1]:  # of a pyramid the finest stands for all
                key = (tensor.data_ptr(), tensor.numel())
                before = self.seen.pop(key, None)  # its place in the order is its last writer's
                same = before is not None and before.version == tensor._version  # noqa: SLF001
                names = before.names if before is not None and same else []
                self.seen[key] = _Seen(
                    tensor=tensor,
                    layout=layout,
                    version=tensor._version,  # noqa: SLF001
                    names=[*names, site],
                    levels=levels,
                    narrowest=narrowest,
                    inside_attention=inside,
                )
            return output

        return note

    def _lifted(self, _path: str, tensor: Tensor) -> Tensor:
        """Return a part of the graph also where the model runs under a `no_grad` of its own."""
        if tensor.requires_grad or not tensor.is_floating_point():
            return tensor
        return self.start.lift(tensor).detach().requires_grad_().clone()

    def finished(self) -> list[_Seen]:
        """Return what was seen in order, calls numbered only where there were several."""
        for item in self.seen.values():
            item.names = [
                site if self._calls[module_of(site)] > 1 else module_of(site) for site in item.names
            ]
        return list(self.seen.values())

    def _layout(self, tensor: Tensor) -> Layout | None:
        if not tensor.is_floating_point() or tensor.ndim == 0 or len(tensor) != 1:
            return None
        return infer_layout(tuple(tensor.shape), self._image_hw)


def _is_attention(module: nn.Module) -> bool:
    kind = type(module).__name__.lower()
    return "attention" in kind or "attn" in kind


def _reached(score: Tensor, seen: list[_Seen]) -> list[bool]:
    """Tell which tensors the score depends on, whatever the weights' values are.

    NaN is sent backwards instead of one: it survives a multiplication with zero weights (a head
    initialised with zeros), while a cell that was cut away (patch tokens under a class token)
    receives an exact zero.
    """
    tensors = [item.tensor for item in seen if item.tensor.requires_grad]
    if not tensors or not score.requires_grad:
        return [False] * len(seen)
    with torch.autograd.set_detect_anomaly(False):
        grads = torch.autograd.grad(
            score, tensors, torch.full_like(score, math.nan), allow_unused=True
        )
    by_tensor = {id(t): g for t, g in zip(tensors, grads, strict=True)}
    return [_marked(by_tensor.get(id(item.tensor)), item.layout) for item in seen]


def _marked(grad: Tensor | None, layout: Layout) -> bool:
    return grad is not None and bool(layout.to_bchw(grad).isnan().any())


_POOLED = "after a pooling"
_SCORES = "the class scores themselves"


class _Judge:
    """Says why a place is no good for a map, given all that the survey saw."""

    def __init__(self, modules: dict[str, nn.Module], output: Any, seen: list[_Seen]) -> None:
        self._modules = modules
        self._logits = find_logits(output, 1)
        self._dense = None if self._logits is not None else find_dense_logits(output, 1)
        # A detector reads a pyramid of features; its heads return pyramids of a few channels too.
        pyramids = seen if find_detections(output, 1) is not None else []
        self._pyramid = max(pyramids, key=lambda p: (p.levels, p.narrowest), default=None)
        streams = [item.layout.channels for item in seen if item.layout.kind == "tokens"]
        self._stream = streams[-1] if streams else None

    def drawback(self, item: _Seen, *, reached: bool) -> str:
        """Return the first reason, or an empty string."""
        if self._pyramid is not None:
            # Which level a detection came from changes with the image; the pyramid serves all.
            return "" if item is self._pyramid else "not the pyramid that the detector reads"
        if not reached:
            return "the score does not depend on it"
        if item.inside_attention:
            return "inside an attention block"
        if item.layout.kind == "tokens" and item.layout.channels != self._stream:
            return "not the stream of tokens"  # hidden layers of its MLPs, queries, keys
        if any(isinstance(self._modules[module_of(name)], _POOLING) for name in item.names):
            return _POOLED
        return _SCORES if self._is_score_map(item) else ""

    def _is_score_map(self, item: _Seen) -> bool:
        if self._dense is not None:
            return item.layout.channels == self._dense.shape[1]
        if self._logits is None or item.layout.channels != self._logits.shape[1]:
            return False
        mean = item.layout.to_bchw(item.tensor.detach()).mean(dim=(2, 3))
        return torch.allclose(mean, self._logits.detach(), atol=1e-4)


def _candidate(item: _Seen, modules: dict[str, nn.Module], drawback: str) -> Candidate:
    # The shortest path is the name people know (`layer4`, not `layer4.2.relu`); among equals a
    # module with weights says more than the permutation after it.
    def rank(name: str) -> tuple[int, bool, int]:
        bare = next(modules[module_of(name)].parameters(), None) is None
        return name.count("."), bare, item.names.index(name)

    ranked = sorted(dict.fromkeys(item.names), key=rank)
    kind = type(modules[module_of(ranked[0])]).__name__
    return Candidate(ranked[0], kind, item.layout, drawback, tuple(ranked[1:]))


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """Return the last candidate without a drawback, else the last behind a pooling.

    Raises:
        ValueError: there is none.
    """
    for accepted in ("", _POOLED, _SCORES):
        for candidate in reversed(candidates):
            if candidate.drawback == accepted:
                return candidate
    raise ValueError(
        "found no layer with a spatial output that the score depends on. Name one with "
        "layers=..., or check that the model keeps height and width until a pooling."
        + (f" {_listing(candidates)}" if candidates else "")
    )


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
