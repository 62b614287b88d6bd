"""Preferred images: what a class or a channel responds to most, by gradient ascent on the input."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_cam.explain.batching import images_at_a_time
from lightning_cam.explain.capture import GradientStart, Site
from lightning_cam.explain.engine import callers_autocast
from lightning_cam.explain.layers import resolve_layers
from lightning_cam.explain.layout import infer_layout
from lightning_cam.explain.model_state import undisturbed
from lightning_cam.explain.modules import module_of, unwrap
from lightning_cam.explain.structure import map_tensors
from lightning_cam.explain.targets import ClassTarget, NoTarget

if TYPE_CHECKING:
    from typing_extensions import Self

Wanted: TypeAlias = "int | str"  # a class, or a channel of a layer as `layer4:17`
Bounds: TypeAlias = "tuple[float | Tensor, float | Tensor]"

_START_NOISE = (
    0.2  # deviation as a share of the range: enough that units which are zero on grey fire
)
_START_BLUR = 1.0
_MATRIX = 2


@dataclass(frozen=True)
class Ascent:
    """How the image is changed; lengths are shares of the allowed range.

    Attributes:
        rate: root mean square of a step.
        jitter: the image is moved by up to so many pixels before each step, so that no pixel is
            tuned alone (Mordvintsev et al. 2015).
        decay: share that every pixel falls back to the middle at each step (L2; Simonyan et al.
            2014).
        blur: of each step, a Gaussian's standard deviation in pixels at the first and the last
            step, 0 for none: coarse shapes come first, and the checkerboards of strided layers
            never win (after Yosinski et al. 2015, who blur the image; Olah et al. 2017).
    """

    rate: float = 0.04
    jitter: int = 4
    decay: float = 0.02
    blur: tuple[float, float] = (2.0, 0.5)


@dataclass(frozen=True)
class Preferences:
    """What was found.

    Attributes:
        images: (W, C, H, W) float32 on the model's device, as the model is fed.
        wanted: what each prefers to show: a class, or a channel's name.
        before: the score of the noise that the ascent started from.
        after: the score of each image.
    """

    images: Tensor
    wanted: tuple[Wanted, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]


def preferred_images(
    model: nn.Module,
    shape: Sequence[int],
    wanted: Sequence[Wanted],
    *,
    steps: int = 64,
    seed: int = 0,
    bounds: Bounds = (-2.0, 2.0),
    ascent: Ascent | None = None,
    chunk_size: int | None = None,
) -> Preferences:
    """Return images that make classes' logits or channels' means large, by gradient ascent.

    Erhan et al. 2009; for classes Simonyan et al. 2014; the regularisers after Yosinski et al. 2015
    and Olah et al. 2017: without them the result is noise to the eye, with them it is partly made
    by them. It is one of many images of high score, far from any photograph, and shows what raises
    the score, not what the network relies on in real images. A channel that is dead (zero, without
    gradient) leaves the noise, and `after` says so.

    Costs `steps` forward and backward passes of all wanted images. The model runs in evaluation
    mode; its weights, their `.grad`, buffers and flags and the global random streams are the same
    afterwards: the only gradient taken is that of the image.

    Args:
        model: any module that maps images to logits.
        shape: (C, H, W) of the images.
        wanted: class indices, and channels of layers as `"<layer>:<channel>"`.
        steps: of the ascent.
        seed: of the noise and the jitter, from a private stream; the same for each wanted image,
            whatever else is wanted.
        bounds: lowest and highest allowed pixel, a number or (C,) each, in the model's own scale.
        ascent: step and regularisers.
        chunk_size: images that run at a time; bounds the memory. By default as in `compute_cams`.

    Raises:
        ValueError: unknown layer, a class or channel that is not there, a chunk size below 1, or a
            score that the image has no differentiable influence on.
        TypeError: wanted items of another kind.
    """
    if len(shape) != 3 or min(shape) < 1 or steps < 0:  # noqa: PLR2004
        raise ValueError(f"expected shape (C, H, W) and steps from 0, came {shape} and {steps}")
    for each in wanted:
        check_preferred(each)
    model, ascent = unwrap(model), ascent or Ascent()
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    device = weight.device
    autocast = callers_autocast(device.type)
    low, high = (
        torch.as_tensor(side, dtype=torch.float32, device=device).view(-1, 1, 1) for side in bounds
    )
    parts, scores = [torch.empty(0, *shape, device=device)], []
    size = images_at_a_time(torch.empty(1, *shape, device=device), chunk_size)
    for start in range(0, len(wanted), size):
        few = wanted[start : start + size]
        with undisturbed(model, device), torch.autocast(device.type, enabled=False):
            question = _Question(model, few, torch.zeros(1, *shape).to(weight), autocast)
            images, *both = _ascend(question, tuple(shape), steps, seed, low, high, ascent)
        parts.append(images)
        scores += list(zip(*both, strict=True))
    before, after = zip(*scores, strict=True) if scores else ((), ())
    return Preferences(torch.cat(parts), tuple(wanted), before, after)


def check_preferred(wanted: object) -> None:
    """Raise unless `wanted` is a class index or `"<layer>:<channel>"`."""
    if isinstance(wanted, str):
        layer, _, channel = wanted.rpartition(":")
        if layer and channel.isdecimal():
            return
        raise ValueError(f"expected a channel as '<layer>:<number>', came {wanted!r}")
    if isinstance(wanted, bool) or not isinstance(wanted, int):
        raise TypeError(f"expected a class index or '<layer>:<channel>', came {wanted!r}")
    if wanted < 0:
        raise ValueError(f"expected a class index of 0 or more, came {wanted}")


def _ascend(
    question: _Question,
    shape: tuple[int, ...],
    steps: int,
    seed: int,
    low: Tensor,
    high: Tensor,
    ascent: Ascent,
) -> tuple[Tensor, list[float], list[float]]:
    """Return the images and their scores before and after."""
    draw = torch.Generator().manual_seed(seed)
    middle, span = (low + high) / 2, high - low
    first, last = ascent.blur
    noise = blurred(torch.randn(1, *shape, generator=draw), _START_BLUR)
    noise = noise / noise.square().mean().sqrt() * _START_NOISE
    images = (middle + noise.to(low.device) * span).clamp(low, high).repeat(question.count, 1, 1, 1)
    before = question.answer(images)
    for step in range(steps):
        shift = torch.randint(-ascent.jitter, ascent.jitter + 1, (2,), generator=draw).tolist()
        sigma = first + (last - first) * step / max(1, steps - 1)
        grad = blurred(question.gradient(images, shift), sigma)
        size = grad.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        grad = (grad / size).nan_to_num(0, 0, 0)  # a dead channel has none
        images = images + ascent.rate * span * grad
        images = middle + (images - middle) * (1 - ascent.decay)
        images = images.clamp(low, high)
    return images, before, question.answer(images)


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Return images (B, C, H, W) under a Gaussian blur, the edges continued."""
    reach = math.ceil(3 * sigma)
    if reach == 0:
        return images
    at = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = (kernel / kernel.sum()).repeat(images.shape[1], 1, 1, 1)
    channels = images.shape[1]
    for sides, weight in (((reach, reach, 0, 0), kernel), ((0, 0, reach, reach), kernel.mT)):
        padded = F.pad(images, sides, mode="replicate")
        images = F.conv2d(padded, weight, groups=channels)
    return images


class _Question:
    """Asks a model for the scores of images, one wanted thing an image."""

    def __init__(
        self,
        model: nn.Module,
        wanted: Sequence[Wanted],
        image: Tensor,
        autocast: Callable[[], torch.autocast],
    ) -> None:
        self._model = model
        self._wanted = wanted
        self._dtype = image.dtype
        self._autocast = autocast
        self.count = len(wanted)
        self._sites: dict[str, str] = {}
        modules: dict[str, nn.Module] = {}
        for each in wanted:
            if isinstance(each, str):
                layer = each.rpartition(":")[0]
                found = resolve_layers(model, image, NoTarget(), layer)
                if len(found) > 1:
                    raise ValueError(f"expected one layer, {layer!r} means {', '.join(found)}")
                ((self._sites[layer], module),) = found.items()
                modules[module_of(self._sites[layer])] = module
        self._modules = modules

    def answer(self, images: Tensor) -> list[float]:
        """Return the scores, without a graph."""
        with torch.no_grad():
            values: list[float] = self._scores(images.clone()).tolist()
        return values

    def gradient(self, images: Tensor, shift: Sequence[int]) -> Tensor:
        """Return d score / d image of the images moved by `shift`, moved back."""
        with GradientStart(grad=True):
            leaf = images.detach().clone().requires_grad_()
            scores = self._scores(leaf.roll(tuple(shift), dims=(2, 3)))
            if not scores.requires_grad:
                raise ValueError(
                    "the score does not depend on the image through differentiable operations: "
                    "does the model run a part under torch.no_grad()? Leave the panel "
                    "'preferences' out for this model."
                )
            (grad,) = torch.autograd.grad(scores.sum(), leaf)
        return grad

    def _scores(self, images: Tensor) -> Tensor:
        with _Outputs(self._modules) as outputs, self._autocast():
            output = self._model(images.to(self._dtype))
        classes = [each if isinstance(each, int) else 0 for each in self._wanted]
        logits: Tensor | None = None
        if any(isinstance(each, int) for each in self._wanted):
            asked = torch.tensor(classes, device=images.device)
            logits = ClassTarget(asked).scores(output, slice(0, len(images))).values
        values = []
        for n, each in enumerate(self._wanted):
            if isinstance(each, int):
                assert logits is not None
                values.append(logits[n].float())
            else:
                layer, _, channel = each.rpartition(":")
                found = outputs.of(self._sites[layer])
                values.append(_mean_of(found, n, int(channel), each, images))
        return torch.stack(values)


def _mean_of(found: Tensor, n: int, channel: int, name: str, images: Tensor) -> Tensor:
    """Return the mean of one image's channel."""
    layout = infer_layout(tuple(found.shape), (images.shape[2], images.shape[3]), distorted=True)
    if layout is None and found.ndim != _MATRIX:
        raise ValueError(f"expected a layer with channels for {name!r}, came {tuple(found.shape)}")
    spatial = found if layout is None else layout.to_bchw(found)
    if channel >= spatial.shape[1]:
        raise ValueError(f"expected channels below {spatial.shape[1]}, came {name!r}")
    return spatial[n, channel].float().mean()


class _Outputs:
    """Keeps what modules return in a graph that begins at the image, which `Capture` cuts off."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self._modules = modules
        self._found: dict[str, Tensor] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        calls = dict.fromkeys(self._modules, 0)

        def listen(name: str) -> Any:
            def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
                call = calls[name]
                calls[name] += 1
                return map_tensors(output, lambda path, t: self._keep(name, call, path, t))

            return hook

        self._handles = [m.register_forward_hook(listen(name)) for name, m in self._modules.items()]
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def of(self, site: str) -> Tensor:
        """Return the one tensor that a site's name means."""
        if site not in self._found:
            there = ", ".join(self._found) or "none of its modules ran"
            raise ValueError(f"expected a layer that returns one tensor, came {site!r} of {there}")
        return self._found[site]

    def _keep(self, name: str, call: int, path: str, tensor: Tensor) -> Tensor:
        if call == 0:
            self._found[str(Site(name, None, path))] = tensor
        self._found[str(Site(name, call, path))] = tensor
        return tensor.clone()  # an in-place operation downstream must not touch what we keep
