"""Grad-CAM by other packages for the same images, layer and targets; compared, then timed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import ratios
from benchmarks.speed.bench import Bench, Case, forward_of, maps_of

_TOLERANCE = 1e-3  # of each map's maximum
_PAIRS = 5

# Our layer and theirs. torchcam and captum read (B, C, h, w) only: for Swin they get the module
# that permutes to it; ViT has none. DenseNet's `features` is followed by a ReLU in place, which
# falsifies the maps of grad-cam and torchcam, so all take the layer before.
_LAYERS = {
    "resnet18": ("layer4", "layer4"),
    "resnet50": ("layer4", "layer4"),
    "densenet121": ("features.denseblock4", "features.denseblock4"),
    "convnext_tiny": ("features", "features"),
    "swin_t": ("norm", "permute"),
    "vit_b_16": ("encoder.layers.encoder_layer_11.ln_1", None),
}

Build = Callable[..., Callable[[], Tensor]]


def gradcam_of(case: Case, layer: str) -> Callable[[], Tensor]:
    """Return pytorch-grad-cam's maps, which it scales to 0 to 1 and enlarges to the images."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model, images, targets = case.build()
    wanted = [ClassifierOutputTarget(int(target)) for target in targets]
    reshape = _grid if case.model == "vit_b_16" else None
    cam = GradCAM(model, [model.get_submodule(layer)], reshape_transform=reshape)
    return lambda: torch.from_numpy(cam(images, wanted))


def _grid(tokens: Tensor) -> Tensor:
    """Return tokens (B, 1 + h·w, C) without the class token as (B, C, h, w)."""
    side = int((tokens.shape[1] - 1) ** 0.5)
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))


def torchcam_of(case: Case, layer: str) -> Callable[[], Tensor]:
    """Return torchcam's raw maps."""
    from torchcam.methods import GradCAM

    model, images, targets = case.build()
    cam, classes = GradCAM(model, layer), targets.tolist()

    def call() -> Tensor:
        maps: Tensor = cam(classes, model(images), normalized=False)[0]
        return maps

    return call


def captum_of(case: Case, layer: str) -> Callable[[], Tensor]:
    """Return captum's raw maps."""
    from captum.attr import LayerGradCam

    model, images, targets = case.build()
    cam = LayerGradCam(model, model.get_submodule(layer))

    def call() -> Tensor:
        maps: Tensor = cam.attribute(images, targets, relu_attributions=True)
        return maps[:, 0].detach()

    return call


def scaled(maps: Tensor, size: int = 0) -> Tensor:
    """Return maps as pytorch-grad-cam does: from 0 to 1, enlarged to `size` where given."""
    from pytorch_grad_cam.utils.image import scale_cam_image

    target = (size, size) if size else None
    return torch.from_numpy(scale_cam_image(np.maximum(maps.float().cpu().numpy(), 0), target))


def difference(case: Case, layer: str, theirs: Tensor) -> float:
    """Return the largest difference between their maps and ours, in units of a map's maximum."""
    ours = maps_of(case, layer)()
    is_enlarged = theirs.shape[-1] == case.side
    if is_enlarged:
        return float((scaled(scaled(ours, case.side)) - theirs).abs().max())
    return float((scaled(ours) - scaled(theirs)).abs().max())


def builders(case: Case) -> dict[str, tuple[Build, str]]:
    """Return the packages that support a network, with the layer that they are given."""
    ours, theirs = _LAYERS[case.model]
    found: dict[str, tuple[Build, str]] = {"grad-cam": (gradcam_of, theirs or ours)}
    if theirs:
        found |= {"torchcam": (torchcam_of, theirs), "captum": (captum_of, theirs)}
    return found


def measure(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield a row per network and package; maps that differ by more than 1e-3 are not timed.

    `lightning_cam, enlarged` is our maps at the size of the images, as grad-cam's are.
    """
    warnings.simplefilter("ignore")
    quick = Case("resnet18", 2, "fp32", bench.device, 64)
    for case in [quick] if bench.quick else [Case(m, 16, "fp32", bench.device) for m in _LAYERS]:
        yield from _rows(bench, case)


def _rows(bench: Bench, case: Case) -> Iterator[dict[str, Any]]:
    layer = _LAYERS[case.model][0]
    builds: dict[str, tuple[Any, ...]] = {
        "lightning_cam": (maps_of, case, layer),
        "lightning_cam, enlarged": (maps_of, case, layer, case.side),
    }
    calls = {name: build(*args) for name, (build, *args) in builds.items()}
    differences: dict[str, float] = {}
    for name, (build, their_layer) in builders(case).items():
        call = build(case, their_layer)
        differences[name] = difference(case, layer, call())
        if differences[name] <= _TOLERANCE:
            calls[name], builds[name] = call, (build, case, their_layer)
    times, _ = ratios(
        calls, forward_of(case), pairs=bench.pairs(_PAIRS), synchronize=bench.synchronize
    )
    del calls
    forward_mib = bench.peak(forward_of, case)
    for name in dict.fromkeys([*builds, *differences]):
        row: dict[str, Any] = {"model": case.model, "layer": layer, "batch": case.batch}
        row |= {"package": name, "difference": differences.get(name, 0.0)}
        if name in times:
            memory = bench.peak(*builds[name]) / forward_mib
            row |= {"time": asdict(times[name]), "memory": memory}
        yield row
