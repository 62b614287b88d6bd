"""Other packages' Grad-CAM of the same images, layer and targets; compared before timed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import ratios
from benchmarks.speed.bench import Bench, Case, forward_of, maps_of, memory

_CLOSE = 1e-3  # of each map's maximum
_PAIRS = 5

# Our layer and theirs. torchcam and captum read (B, C, h, w) only: for Swin they get the module
# that permutes to it; ViT has none. What follows DenseNet's `features` is a ReLU in place, which
# falsifies grad-cam's and torchcam's maps there, so all take the layer before.
_AT = {
    "resnet18": ("layer4", "layer4"),
    "resnet50": ("layer4", "layer4"),
    "densenet121": ("features.denseblock4", "features.denseblock4"),
    "convnext_tiny": ("features", "features"),
    "swin_t": ("norm", "permute"),
    "vit_b_16": ("encoder.layers.encoder_layer_11.ln_1", None),
}


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
    """Return maps as pytorch-grad-cam does: from 0 to 1, enlarged where `size` says so."""
    from pytorch_grad_cam.utils.image import scale_cam_image

    target = (size, size) if size else None
    return torch.from_numpy(scale_cam_image(np.maximum(maps.float().cpu().numpy(), 0), target))


def difference(case: Case, layer: str, theirs: Tensor) -> float:
    """Return how far another's maps are from ours, in units of each map's maximum."""
    ours = maps_of(case, layer)()
    enlarged = theirs.shape[-1] == case.side
    both = (scaled(scaled(ours, case.side)), theirs) if enlarged else (scaled(ours), scaled(theirs))
    return float((both[0] - both[1]).abs().max())


def builders(case: Case) -> dict[str, tuple[Callable[..., Callable[[], Tensor]], str]]:
    """Return those that can look at this network, with the layer that they are given."""
    ours, theirs = _AT[case.model]
    found: dict[str, tuple[Callable[..., Callable[[], Tensor]], str]] = {}
    found["grad-cam"] = (gradcam_of, theirs or ours)
    if theirs:
        found |= {"torchcam": (torchcam_of, theirs), "captum": (captum_of, theirs)}
    return found


def measure(bench: Bench) -> list[dict[str, Any]]:
    """Return a row a network and package; what differs by more than 1e-3 is not timed.

    `enlarged` is our maps at the images' size, which is what grad-cam's are.
    """
    warnings.simplefilter("ignore")
    quick = Case("resnet18", 2, "fp32", bench.device, 64)
    models = [quick] if bench.quick else [Case(model, 16, "fp32", bench.device) for model in _AT]
    return [row for case in models for row in _of(bench, case)]


def _of(bench: Bench, case: Case) -> list[dict[str, Any]]:
    ours = _AT[case.model][0]
    sides: dict[str, Callable[[], Tensor]] = {
        "lightning_cam": maps_of(case, ours),
        "lightning_cam, enlarged": maps_of(case, ours, case.side),
    }
    built: dict[str, tuple[Any, ...]] = {
        "lightning_cam": (maps_of, case, ours),
        "lightning_cam, enlarged": (maps_of, case, ours, case.side),
    }
    apart: dict[str, float] = {}
    for name, (build, layer) in builders(case).items():
        call = build(case, layer)
        apart[name] = difference(case, ours, call())
        if apart[name] <= _CLOSE:
            sides[name], built[name] = call, (build, case, layer)
    times, _ = ratios(
        sides, forward_of(case), pairs=bench.pairs(_PAIRS), synchronize=bench.synchronize
    )
    del sides
    least = memory(bench, forward_of, case)
    rows = []
    for name in [*built, *(name for name in apart if name not in built)]:
        row: dict[str, Any] = {"model": case.model, "layer": ours, "batch": case.batch}
        row |= {"package": name, "difference": apart.get(name, 0.0)}
        if name in times:
            peak = memory(bench, *built[name]) / least
            row |= {"time": asdict(times[name]), "memory": peak}
            words = f"time {times[name]!s:<32} memory {peak:.2f}"
        else:
            words = f"other maps, by {apart[name]:.3f}: not timed"
        rows.append(row)
        print(f"{case.model:<14} {name:<24} {words}", flush=True)
    return rows
