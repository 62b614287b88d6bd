"""`compute_cams`: one forward and one partial backward pass for all methods and layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_cam.explain.attribution import AttributionBatch
from lightning_cam.explain.capture import Site
from lightning_cam.explain.image_input import Photographs, model_input
from lightning_cam.explain.known_names import fitting_names, known_class_names
from lightning_cam.explain.layers import LayersLike, resolve_layers
from lightning_cam.explain.methods import Method, resolve_methods
from lightning_cam.explain.model_call import Forward, ModelCall, Output, ScoresOption, adapt
from lightning_cam.explain.modules import module_of, unwrap
from lightning_cam.explain.outputs import find_logits
from lightning_cam.explain.result import CAMResult, concatenate
from lightning_cam.explain.targets import MultiLabelTarget, NoTarget, TargetLike, resolve_target
from lightning_cam.explain.targets.resolve import are_names
from lightning_cam.explain.transforms import Transform
from lightning_cam.runtime.checks import Channels
from lightning_cam.runtime.chunking import default_chunk_size
from lightning_cam.runtime.containers import tensors_in
from lightning_cam.runtime.model_state import preserve_model_state

_BRIGHTNESS = (0.9, 1.0, 1.1)
_FUSION_GAIN = 2.0
_TINY = torch.finfo(torch.float32).tiny


def compute_cams(
    model: nn.Module,
    images: Tensor | Photographs,
    targets: TargetLike = None,
    *,
    transform: Transform | None = None,
    method: str | Method | Sequence[str | Method] = "gradcam",
    layers: LayersLike = "auto",
    chunk_size: int | None = None,
    aug_smooth: bool = False,
    eigen_smooth: bool = False,
    fuse_layers: bool = False,
    seed: int = 0,
    rows: slice | None = None,
    forward: Forward | None = None,
    output: Output = None,
    scores: ScoresOption = "auto",
    class_names: Sequence[str] | None = None,
    mean: Channels = None,
    std: Channels = None,
) -> CAMResult:
    """Compute class activation maps and leave the model as it was found.

    The model runs in evaluation mode. Its parameters' `.grad`, its buffers, flags and hooks and the
    global random streams are bit for bit the same afterwards, also when an error is raised. Works
    under `no_grad` and `inference_mode`, with frozen parameters, and on wrapped or compiled models.

    Args:
        model: any module that maps images to logits; for a tensor on the images' device.
        images: a tensor (B, C, H, W) floating point, as the model expects it; or a PIL image, the
            path of an image file, an array (H, W, 3) uint8 or (H, W), or several of these, which
            pass the transform and are moved to the model.
        targets: which score is explained: None or `"prediction"` for the predicted class, a class
            index or name, (B,) class indices or names, or a function of the model's output that
            returns (B,) scores.
        transform: from a PIL image to a tensor (C, H, W), such as that of the validation data; or
            the torchvision weights that the model was loaded with. By default what the model
            says, as timm's do. Not for a tensor.
        method: one or several names from `METHODS`; several share the pass.
        layers: `"auto"`, a name, glob, negative position or module, or several of these. `"auto"`
            takes the last spatial layer before the pooling that the score depends on.
        chunk_size: images per pass; bounds the memory. By default 64 on an accelerator, and on CPU
            as few as keep it busy (four of 224×224 per thread).
        aug_smooth: average the maps of the images as they are, mirrored, darker and brighter.
        eigen_smooth: keep the first principal component of the contributions a map is summed from.
        fuse_layers: add for each method one map that fuses all layers, under their names joined by
            `+`; dimensionless, 0 to 1. Jiang et al. 2021.
        seed: of methods that draw noise, from a private stream.
        rows: compute only these images of the batch, with the result that the whole batch would
            give for them; all by default. Lets processes share a batch.
        forward: how the model is called: a function of module and images; by default
            `module(images)`.
        output: which part of the model's output holds the class scores: a key, an index, a path
            such as `"head.logits"`, or a function of the output; by default it is searched.
        scores: whether these are `"logits"` or `"probabilities"`; `"auto"` decides by the last
            operation and the values. Probabilities are explained by their logarithm.
        class_names: by index, for drawing and for targets by name; by default those of the weights
            given as transform, else those that the model says (Hugging Face, timm).
        mean: per channel, that was subtracted from pixels in 0 to 1, for drawing; by default it is
            measured on the transform.
        std: per channel, that they were divided by, likewise.

    Returns:
        A `CAMResult` with one tensor of maps per method and layer. It refers to the images, so
        that it can be drawn: `result.show()`.

    Raises:
        ValueError: unknown method or layer, a layer that does not run, has no height and width or
            no influence on the score, images or targets of wrong shape, dtype or range, an output
            without logits, images that cannot be read, or photographs without a transform.
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
    model = unwrap(model)
    given = model_input(model, images, transform, mean, std)
    images = given.images
    names = known_class_names(class_names, transform, model)
    needed = bool(class_names) or are_names(targets)
    size = default_chunk_size(images, chunk_size)
    target = resolve_target(targets, len(images), names)
    if all(each.class_free for each in methods) and targets is None:
        target = NoTarget()
    model = adapt(model, ModelCall(forward, output, scores))
    modules: dict[str, nn.Module] = {}
    if any(each.place == "layer" for each in methods):
        modules = resolve_layers(model, images, target, layers)
    whole = AttributionBatch(
        model=model,
        images=images,
        rows=slice(0, len(images)),
        target=target,
        modules={module_of(name): module for name, module in modules.items()},
        wanted=frozenset(modules),
        limit=size,
        seed=seed,
        principal=eigen_smooth,
        autocast=autocast_of_caller(images.device.type),
    )
    with preserve_model_state(model, images.device):
        parts = [
            _compute_batch(batch, methods, aug_smooth=aug_smooth)
            for batch in _split(whole, rows or slice(None), size)
        ]
    result = concatenate(parts)
    result = _with_fused_layers(result, methods) if fuse_layers else result
    names = fitting_names(names, result.logits.shape[1], needed=needed)
    multi_label = isinstance(target, MultiLabelTarget)
    return replace(result, class_names=names, multi_label=multi_label, **given.part(rows))


def _split(whole: AttributionBatch, rows: slice, size: int) -> Iterator[AttributionBatch]:
    """Yield the images `rows` of a batch in parts of at most `size` images."""
    first, last, _ = rows.indices(len(whole.images))
    for start in range(first, last, size):
        part = slice(start, min(start + size, last))
        images = whole.images[part]
        # Inference tensors cannot be part of a graph; a clone made outside their mode can.
        yield replace(whole, images=images.clone() if images.is_inference() else images, rows=part)


def autocast_of_caller(device: str) -> Callable[[], torch.autocast]:
    """Return a factory of the autocast context that is active now; map arithmetic leaves it.

    Without its cache: a weight cast here, without gradients, must not be found there by the
    training step that goes on in the caller's context (torch before 2.8 does that).
    """
    enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    return lambda: torch.autocast(device, dtype=dtype, enabled=enabled, cache_enabled=False)


def _compute_batch(
    batch: AttributionBatch, methods: Sequence[Method], *, aug_smooth: bool
) -> CAMResult:
    """Return one batch's part of the result."""
    views = _views(batch) if aug_smooth else [(batch, _same)]
    maps: dict[tuple[str, str], Tensor] = {}
    with torch.autocast(batch.images.device.type, enabled=False):
        for view, undo in views:
            for key, found in _compute_maps(view, methods).items():
                share = undo(found) / len(views)
                maps[key] = maps[key] + share if key in maps else share
    scores = batch.clean.scores
    logits = _logits_or_empty(batch.class_scores(batch.clean.output), len(batch.images))
    first = batch.rows.start
    return CAMResult(maps, logits, scores.classes, scores.rows + first, first=first)


def _compute_maps(
    batch: AttributionBatch, methods: Sequence[Method]
) -> dict[tuple[str, str], Tensor]:
    maps = {}
    for method in methods:
        for site in batch.sites if method.place == "layer" else [Site(method.place)]:
            maps[method.name, str(site)] = method.run(batch, site).detach().float()
    return maps


def _views(
    batch: AttributionBatch,
) -> list[tuple[AttributionBatch, Callable[[Tensor], Tensor]]]:
    """Return the batch as it is, mirrored, darker and brighter, with the inverse for the maps."""
    views: list[tuple[AttributionBatch, Callable[[Tensor], Tensor]]] = []
    mirrored = batch.pinned.mirrored(batch.images.shape[3])
    for undo, target in ((_same, batch.pinned), (_mirror, mirrored)):
        for factor in _BRIGHTNESS:
            altered = replace(batch, images=undo(batch.images) * factor, target=target)
            unaltered = undo is _same and factor == 1
            views.append((batch if unaltered else altered, undo))
    return views


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _mirror(tensor: Tensor) -> Tensor:
    return tensor.flip(-1)


def _with_fused_layers(result: CAMResult, methods: Sequence[Method]) -> CAMResult:
    """Add each method's maps of all layers fused into one, under the layers' names joined by `+`.

    Each map is scaled by its maximum and compressed by tanh(2·); then each cell of the finest grid
    takes the largest value of any layer. Jiang et al. 2021, section III-C.
    """
    maps = dict(result.maps)
    for method in methods:
        layers = [layer for name, layer in maps if name == method.name]
        if method.place != "layer" or len(layers) == 1:
            continue
        of_layers = [maps[method.name, layer] for layer in layers]
        size = max((tuple(m.shape[1:]) for m in of_layers), key=lambda hw: hw[0] * hw[1])
        scaled = [
            torch.tanh(_FUSION_GAIN * m / m.amax(dim=(1, 2), keepdim=True).clamp(min=_TINY))
            for m in of_layers
        ]
        enlarged = [
            F.interpolate(m[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
            for m in scaled
        ]
        maps[method.name, "+".join(layers)] = torch.stack(enlarged).amax(dim=0)
    return replace(result, maps=maps)


def _logits_or_empty(output: Any, batch: int) -> Tensor:
    logits = find_logits(output, batch)
    if logits is not None:
        return logits.detach().float()
    tensors = tensors_in(output)
    return torch.empty(batch, 0, device=tensors[0][1].device if tensors else None)
