"""`maximize_activations`: images that a class or a channel responds to most, by gradient ascent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_cam.explain.capture import GradientStart, Site
from lightning_cam.explain.channel_axis import channels_last_at
from lightning_cam.explain.engine import autocast_of_caller
from lightning_cam.explain.layers import resolve_layers
from lightning_cam.explain.layout import infer_layout
from lightning_cam.explain.model_call import ModelAdapter, adapt
from lightning_cam.explain.modules import add_forward_hook, module_of, unwrap
from lightning_cam.explain.targets import ClassTarget, NoTarget
from lightning_cam.runtime.chunking import default_chunk_size
from lightning_cam.runtime.containers import map_tensors
from lightning_cam.runtime.model_state import preserve_model_state

if TYPE_CHECKING:
    from typing_extensions import Self

ActivationTarget: TypeAlias = "int | str"  # a class, or a channel of a layer as `layer4:17`
Bounds: TypeAlias = "tuple[float | Tensor, float | Tensor]"

# Standard deviation as a share of the range: enough to activate units that are zero on grey.
_START_NOISE = 0.2
_START_BLUR = 1.0
_MATRIX = 2


@dataclass(frozen=True)
class Ascent:
    """Step size and regularisers; lengths are shares of the allowed range of pixels.

    Attributes:
        rate: root mean square of a step.
        jitter: the image is shifted by up to this many pixels before each step, so that no pixel
            is tuned by itself (Mordvintsev et al. 2015).
        decay: share by which every pixel returns to the middle of its range at each step (L2;
            Simonyan et al. 2014).
        blur: of each step, standard deviation of a Gaussian in pixels at the first and the last
            step, 0 for none: coarse shapes come first, and the checkerboards of strided layers
            are suppressed (after Yosinski et al. 2015, who blur the image; Olah et al. 2017).
    """

    rate: float = 0.04
    jitter: int = 4
    decay: float = 0.02
    blur: tuple[float, float] = (2.0, 0.5)


@dataclass(frozen=True)
class MaximizedActivations:
    """Images found by gradient ascent, one per target.

    Attributes:
        images: (T, C, H, W) float32 on the model's device, as the model is fed.
        targets: the class index or the channel's name whose score each image maximises.
        before: the score of the noise that each ascent started from.
        after: the score of each image.
    """

    images: Tensor
    targets: tuple[ActivationTarget, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]


def maximize_activations(
    model: nn.Module,
    shape: Sequence[int],
    targets: Sequence[ActivationTarget],
    *,
    steps: int = 64,
    seed: int = 0,
    bounds: Bounds = (-2.0, 2.0),
    ascent: Ascent | None = None,
    chunk_size: int | None = None,
) -> MaximizedActivations:
    """Return images that make the logits of classes or the means of channels large.

    Gradient ascent on the pixels (Erhan et al. 2009; for classes Simonyan et al. 2014) with the
    regularisers of Yosinski et al. 2015 and Olah et al. 2017. Without them the result looks like
    noise; with them it is partly made by them. It is one of many images with a high score, far from
    any photograph, and shows what raises the score, not what the network relies on in real images.
    A dead channel (zero, without gradient) leaves the noise as it was, and `after` shows it.

    Costs `steps` forward and backward passes of one image per target. The model runs in evaluation
    mode; its weights, their `.grad`, buffers and flags and the global random streams are the same
    afterwards, since the only gradient taken is that of the image.

    Args:
        model: any module that maps images to logits.
        shape: (C, H, W) of the images.
        targets: class indices, and channels of layers as `"<layer>:<channel>"`.
        steps: number of steps of the ascent.
        seed: of the noise and the jitter, from a private stream; an image does not depend on the
            other targets.
        bounds: lowest and highest allowed pixel, a number or (C,) each, in the model's own scale.
        ascent: step size and regularisers.
        chunk_size: images per pass; bounds the memory. By default as in `compute_cams`.

    Raises:
        ValueError: unknown layer, a class or channel that does not exist, a chunk size below 1, or
            a score that the image has no differentiable influence on.
        TypeError: targets of another type.
    """
    if len(shape) != 3 or min(shape) < 1 or steps < 0:  # noqa: PLR2004
        raise ValueError(f"expected shape (C, H, W) and steps from 0, got {shape} and {steps}")
    for each in targets:
        check_activation_target(each)
    model, ascent = adapt(unwrap(model)), ascent or Ascent()
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    device = weight.device
    autocast = autocast_of_caller(device.type)
    low, high = (
        torch.as_tensor(side, dtype=torch.float32, device=device).view(-1, 1, 1) for side in bounds
    )
    parts, scores = [torch.empty(0, *shape, device=device)], []
    size = default_chunk_size(torch.empty(1, *shape, device=device), chunk_size)
    for start in range(0, len(targets), size):
        few = targets[start : start + size]
        with preserve_model_state(model, device), torch.autocast(device.type, enabled=False):
            objective = _Objective(model, few, torch.zeros(1, *shape).to(weight), autocast)
            images, *both = _ascend(objective, tuple(shape), steps, seed, low, high, ascent)
        parts.append(images)
        scores += list(zip(*both, strict=True))
    before, after = zip(*scores, strict=True) if scores else ((), ())
    return MaximizedActivations(torch.cat(parts), tuple(targets), before, after)


def check_activation_target(target: object) -> None:
    """Raise unless `target` is a class index or `"<layer>:<channel>"`."""
    if isinstance(target, str):
        layer, _, channel = target.rpartition(":")
        if layer and channel.isdecimal():
            return
        raise ValueError(f"expected a channel as '<layer>:<number>', got {target!r}")
    if isinstance(target, bool) or not isinstance(target, int):
        raise TypeError(f"expected a class index or '<layer>:<channel>', got {target!r}")
    if target < 0:
        raise ValueError(f"expected a class index of 0 or more, got {target}")


def _ascend(
    objective: _Objective,
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
    images = (
        (middle + noise.to(low.device) * span).clamp(low, high).repeat(objective.count, 1, 1, 1)
    )
    before = objective.values(images)
    for step in range(steps):
        shift = torch.randint(-ascent.jitter, ascent.jitter + 1, (2,), generator=draw).tolist()
        sigma = first + (last - first) * step / max(1, steps - 1)
        grad = blurred(objective.gradient(images, shift), sigma)
        size = grad.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        grad = (grad / size).nan_to_num(0, 0, 0)  # a dead channel has none
        images = images + ascent.rate * span * grad
        images = middle + (images - middle) * (1 - ascent.decay)
        images = images.clamp(low, high)
    return images, before, objective.values(images)


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Return images (B, C, H, W) under a Gaussian blur, with edge pixels repeated."""
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


class _Objective:
    """The scores that images are changed to maximise, one target per image."""

    def __init__(
        self,
        model: ModelAdapter,
        targets: Sequence[ActivationTarget],
        image: Tensor,
        autocast: Callable[[], torch.autocast],
    ) -> None:
        self._model = model
        self._targets = targets
        self._dtype = image.dtype
        self._autocast = autocast
        self.count = len(targets)
        self._sites: dict[str, str] = {}
        modules: dict[str, nn.Module] = {}
        for each in targets:
            if isinstance(each, str):
                layer = each.rpartition(":")[0]
                found = resolve_layers(model, image, NoTarget(), layer)
                if len(found) > 1:
                    raise ValueError(f"expected one layer, {layer!r} means {', '.join(found)}")
                ((self._sites[layer], module),) = found.items()
                modules[module_of(self._sites[layer])] = module
        self._modules = modules
        self._image = image
        self._channels_last: dict[str, bool | None] = {}

    def values(self, images: Tensor) -> list[float]:
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
                    "'activation_maximization' out for this model."
                )
            (grad,) = torch.autograd.grad(scores.sum(), leaf)
        return grad

    def _scores(self, images: Tensor) -> Tensor:
        with _Outputs(self._modules) as outputs, self._autocast():
            output = self._model(images.to(self._dtype))
        classes = [each if isinstance(each, int) else 0 for each in self._targets]
        logits: Tensor | None = None
        if any(isinstance(each, int) for each in self._targets):
            classes_of_images = torch.tensor(classes, device=images.device)
            output = self._model.logits(output, len(images))
            logits = ClassTarget(classes_of_images).scores(output, slice(0, len(images))).values
        values = []
        for n, each in enumerate(self._targets):
            if isinstance(each, int):
                assert logits is not None
                values.append(logits[n].float())
            else:
                layer, _, channel = each.rpartition(":")
                found = outputs.of(self._sites[layer])
                last = partial(self._has_channels_last, self._sites[layer])
                values.append(_mean_of(found, n, int(channel), each, images, last))
        return torch.stack(values)

    def _has_channels_last(self, site: str) -> bool | None:
        if not self._channels_last:
            found = channels_last_at(self._modules, self._image, self._model)
            self._channels_last = {str(each): last for each, last in found.items()}
        return self._channels_last.get(site, self._channels_last.get(f"{site}#0"))


def _mean_of(
    found: Tensor,
    n: int,
    channel: int,
    name: str,
    images: Tensor,
    channels_last: Callable[[], bool | None],
) -> Tensor:
    """Return the mean of one image's channel."""
    size = (images.shape[2], images.shape[3])
    layout = infer_layout(tuple(found.shape), size, distorted=True, channels_last=channels_last)
    if layout is None and found.ndim != _MATRIX:
        raise ValueError(f"expected a layer with channels for {name!r}, got {tuple(found.shape)}")
    spatial = found if layout is None else layout.to_bchw(found)
    if channel >= spatial.shape[1]:
        raise ValueError(f"expected channels below {spatial.shape[1]}, got {name!r}")
    return spatial[n, channel].float().mean()


class _Outputs:
    """Keeps what modules return, in a graph that starts at the image (`Capture` cuts that off)."""

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

        self._handles = [add_forward_hook(m, listen(name)) for name, m in self._modules.items()]
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def of(self, site: str) -> Tensor:
        """Return the tensor that a site's name stands for."""
        if site not in self._found:
            sites = ", ".join(self._found) or "none of its modules ran"
            raise ValueError(f"expected a layer that returns one tensor, got {site!r} of {sites}")
        return self._found[site]

    def _keep(self, name: str, call: int, path: str, tensor: Tensor) -> Tensor:
        if call == 0:
            self._found[str(Site(name, None, path))] = tensor
        self._found[str(Site(name, call, path))] = tensor
        return tensor.clone()  # an in-place operation downstream must not touch what we keep
