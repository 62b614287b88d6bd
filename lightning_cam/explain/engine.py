"""`compute_cams`: one forward and one partial backward pass for all methods and layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_cam._messages import shape_of
from lightning_cam.explain.batching import images_at_a_time
from lightning_cam.explain.capture import Site
from lightning_cam.explain.chunk import Chunk
from lightning_cam.explain.layers import LayersLike, resolve_layers
from lightning_cam.explain.methods import Method, resolve_methods
from lightning_cam.explain.model_state import undisturbed
from lightning_cam.explain.modules import module_of, unwrap
from lightning_cam.explain.outputs import find_logits
from lightning_cam.explain.structure import tensors_in
from lightning_cam.explain.targets import NoTarget, TargetLike, resolve_target

_BRIGHTNESS = (0.9, 1.0, 1.1)
_FUSION_GAIN = 2.0
_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class CAMResult:
    """What one look at B images gave.

    Attributes:
        maps: by `(method, layer)`, float32 (N, h, w) at the layer's own resolution, on the images'
            device, not normalised. N is B, unless the target explains several scores an image.
        logits: (B, K) float32, the model's logits for the images; (B, 0) where its output holds
            none and the target is a function.
        classes: (N,) long, the class that each map explains, -1 where the target names none.
        rows: (N,) long, the image that each map belongs to.
    """

    maps: dict[tuple[str, str], Tensor]
    logits: Tensor
    classes: Tensor
    rows: Tensor

    def __getitem__(self, key: tuple[str, str]) -> Tensor:
        return self.maps[key]

    def cpu(self) -> CAMResult:
        """Return the same on the CPU."""
        maps = {key: maps.cpu() for key, maps in self.maps.items()}
        return CAMResult(maps, self.logits.cpu(), self.classes.cpu(), self.rows.cpu())

    def without(self, images: int, first: int = 0) -> CAMResult:
        """Return the result of all but its first images.

        Args:
            images: how many are left out.
            first: the number of the first one: a part of a batch keeps the batch's numbers.
        """
        kept = self.rows >= first + images
        maps = {key: maps[kept] for key, maps in self.maps.items()}
        return CAMResult(maps, self.logits[images:], self.classes[kept], self.rows[kept])


def compute_cams(
    model: nn.Module,
    images: Tensor,
    targets: TargetLike = None,
    *,
    method: str | Method | Sequence[str | Method] = "gradcam",
    layers: LayersLike = "auto",
    chunk_size: int | None = None,
    aug_smooth: bool = False,
    eigen_smooth: bool = False,
    fuse_layers: bool = False,
    seed: int = 0,
    rows: slice | None = None,
) -> CAMResult:
    """Compute class activation maps and leave the model as it was found.

    The model runs in evaluation mode. Its parameters' `.grad`, its buffers, flags and hooks and the
    global random streams are bit for bit the same afterwards, also when an error is raised. Works
    under `no_grad` and `inference_mode`, with frozen parameters, and on wrapped or compiled models.

    Args:
        model: any module that maps images to logits, on the images' device.
        images: (B, C, H, W) floating point, as the model expects them.
        targets: which score is explained: None or `"prediction"` for the predicted class, a class
            index, (B,) class indices, or a function of the model's output that returns (B,) scores.
        method: one or several names from `METHODS`; several share the pass.
        layers: `"auto"`, a name, glob, negative position or module, or several of these. `"auto"`
            takes the last spatial layer before the pooling that the score depends on.
        chunk_size: images that run at a time; bounds the memory. By default 64 on an accelerator,
            and on a processor as few as keep it busy (four of 224² a thread).
        aug_smooth: average the maps of the images as they are, mirrored, darker and brighter.
        eigen_smooth: keep the first principal component of the contributions a map is summed from.
        fuse_layers: add for each method one map that fuses all layers, keyed by their names joined
            by `+`; dimensionless, 0 to 1. Jiang et al. 2021.
        seed: of methods that draw noise, from a private stream.
        rows: compute these images of the batch only, as `images` and `targets` of the whole batch
            would give them; all by default. How processes share a batch.

    Returns:
        A `CAMResult` with a map tensor for each method and layer.

    Raises:
        ValueError: unknown method or layer, a layer that does not run, has no height and width or
            no influence on the score, images or targets of wrong shape, dtype or range, or an
            output without logits.
        TypeError: arguments of the wrong kind.

    Example:
        >>> import torch
        >>> from lightning_cam import compute_cams
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 8, 3, stride=2, padding=1),
        ...     torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 5))
        >>> result = compute_cams(net, torch.rand(4, 3, 32, 32), method=["gradcam", "layercam"])
        >>> {key: tuple(maps.shape) for key, maps in result.maps.items()}
        {('gradcam', '0'): (4, 16, 16), ('layercam', '0'): (4, 16, 16)}
    """
    methods = resolve_methods(method)
    check_images(images)
    size = images_at_a_time(images, chunk_size)
    target = resolve_target(targets, len(images))
    if all(each.class_free for each in methods) and targets is None:
        target = NoTarget()
    model = unwrap(model)
    modules: dict[str, nn.Module] = {}
    if any(each.place == "layer" for each in methods):
        modules = resolve_layers(model, images, target, layers)
    autocast = callers_autocast(images.device.type)
    parts = []
    with undisturbed(model, images.device):
        first, last, _ = (rows or slice(None)).indices(len(images))
        for start in range(first, last, size):
            part = slice(start, min(start + size, last))
            # Inference tensors cannot be part of a graph; a clone made outside their mode can.
            few = images[part].clone() if images.is_inference() else images[part]
            chunk = Chunk(
                model=model,
                images=few,
                rows=part,
                target=target,
                modules={module_of(name): module for name, module in modules.items()},
                wanted=frozenset(modules),
                limit=size,
                seed=seed,
                principal=eigen_smooth,
                autocast=autocast,
            )
            parts.append(_examined(chunk, methods, aug_smooth=aug_smooth))
    result = joined(parts)
    return _with_fusion(result, methods) if fuse_layers else result


def callers_autocast(device: str) -> Callable[[], torch.autocast]:
    """Return a maker of the autocast context that is in force: map arithmetic leaves it.

    Without its cache: weights cast here, without gradients, must not be found there by the
    training step that goes on in the caller's context (torch before 2.8 does).
    """
    enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    return lambda: torch.autocast(device, dtype=dtype, enabled=enabled, cache_enabled=False)


def check_images(images: Tensor) -> None:
    """Raise unless `images` are at least one (B, C, H, W) picture of floating point numbers."""
    if not isinstance(images, Tensor):
        raise TypeError(f"expected images as a tensor (B, C, H, W), came {shape_of(images)}")
    if images.ndim != 4 or not images.is_floating_point():  # noqa: PLR2004
        raise ValueError(
            f"expected images of shape (B, C, H, W) and floating point, came {shape_of(images)}. "
            "Convert and normalise them as for the model; add the batch dimension to a single one."
        )
    if images.numel() == 0:
        raise ValueError(f"expected at least one image, came {shape_of(images)}")


def _examined(chunk: Chunk, methods: Sequence[Method], *, aug_smooth: bool) -> CAMResult:
    """Return one chunk's share of the result."""
    views = _views(chunk) if aug_smooth else [(chunk, _same)]
    maps: dict[tuple[str, str], Tensor] = {}
    with torch.autocast(chunk.images.device.type, enabled=False):
        for view, undo in views:
            for key, found in _maps(view, methods).items():
                share = undo(found) / len(views)
                maps[key] = maps[key] + share if key in maps else share
    scores = chunk.clean.scores
    logits = _logits_or_empty(chunk.clean.output, len(chunk.images))
    return CAMResult(maps, logits, scores.classes, scores.rows + chunk.rows.start)


def _maps(chunk: Chunk, methods: Sequence[Method]) -> dict[tuple[str, str], Tensor]:
    maps = {}
    for method in methods:
        for site in chunk.sites if method.place == "layer" else [Site(method.place)]:
            maps[method.name, str(site)] = method.run(chunk, site).detach().float()
    return maps


def _views(chunk: Chunk) -> list[tuple[Chunk, Callable[[Tensor], Tensor]]]:
    """Return the chunk as it is, mirrored, darker and brighter, each with its maps' way back."""
    views: list[tuple[Chunk, Callable[[Tensor], Tensor]]] = []
    mirrored = chunk.pinned.mirrored(chunk.images.shape[3])
    for undo, target in ((_same, chunk.pinned), (_mirrored, mirrored)):
        for factor in _BRIGHTNESS:
            other = replace(chunk, images=undo(chunk.images) * factor, target=target)
            plain = undo is _same and factor == 1
            views.append((chunk if plain else other, undo))
    return views


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _mirrored(tensor: Tensor) -> Tensor:
    return tensor.flip(-1)


def _with_fusion(result: CAMResult, methods: Sequence[Method]) -> CAMResult:
    """Add each method's maps of all layers fused into one, under the layers' names joined by `+`.

    Each map is scaled by its maximum and compressed by tanh(2·), then the largest value of any
    layer stands at each place of the finest grid. Jiang et al. 2021, section III-C.
    """
    maps = dict(result.maps)
    for method in methods:
        layers = [layer for name, layer in maps if name == method.name]
        if method.place != "layer" or len(layers) == 1:
            continue
        each = [maps[method.name, layer] for layer in layers]
        size = max((tuple(m.shape[1:]) for m in each), key=lambda hw: hw[0] * hw[1])
        scaled = [
            torch.tanh(_FUSION_GAIN * m / m.amax(dim=(1, 2), keepdim=True).clamp(min=_TINY))
            for m in each
        ]
        grown = [
            F.interpolate(m[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
            for m in scaled
        ]
        maps[method.name, "+".join(layers)] = torch.stack(grown).amax(dim=0)
    return replace(result, maps=maps)


def _logits_or_empty(output: Any, batch: int) -> Tensor:
    logits = find_logits(output, batch)
    if logits is not None:
        return logits.detach().float()
    tensors = tensors_in(output)
    return torch.empty(batch, 0, device=tensors[0][1].device if tensors else None)


def joined(parts: Sequence[CAMResult]) -> CAMResult:
    """Return the results of parts of a batch, in order, as one."""
    if len(parts) == 1:
        return parts[0]
    return CAMResult(
        maps={key: torch.cat([part.maps[key] for part in parts]) for key in parts[0].maps},
        logits=torch.cat([part.logits for part in parts]),
        classes=torch.cat([part.classes for part in parts]),
        rows=torch.cat([part.rows for part in parts]),
    )
