"""`compute_cams`: one forward and one partial backward pass for all methods and layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_cam._messages import shape_of
from lightning_cam.explain.capture import Capture
from lightning_cam.explain.layers import LayersLike, resolve_layers, unwrap
from lightning_cam.explain.layout import Layout, infer_layout
from lightning_cam.explain.methods import Method, resolve_methods
from lightning_cam.explain.model_state import undisturbed
from lightning_cam.explain.targets import Scores, Target, TargetLike, logits_of, resolve_target

if TYPE_CHECKING:
    from collections.abc import Mapping


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


def compute_cams(
    model: nn.Module,
    images: Tensor,
    targets: TargetLike = None,
    *,
    method: str | Sequence[str] = "gradcam",
    layers: LayersLike = "auto",
    chunk_size: int = 64,
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
        chunk_size: images that run at a time; bounds the memory.

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
    if chunk_size < 1:
        raise ValueError(f"expected chunk_size of at least 1, came {chunk_size}")
    target = resolve_target(targets, len(images))
    model = unwrap(model)
    modules = resolve_layers(model, images, target, layers)
    parts = []
    with undisturbed(model, images.device):
        for start in range(0, len(images), chunk_size):
            rows = slice(start, min(start + chunk_size, len(images)))
            parts.append(_look(model, images[rows], rows, target, methods, modules))
    return _joined(parts)


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


@dataclass(frozen=True)
class _Part:
    """One chunk's share of a `CAMResult`, rows counted from the whole batch's first image."""

    maps: dict[tuple[str, str], Tensor]
    logits: Tensor
    classes: Tensor
    rows: Tensor


def _look(
    model: nn.Module,
    images: Tensor,
    rows: slice,
    target: Target,
    methods: Sequence[Method],
    modules: Mapping[str, nn.Module],
) -> _Part:
    """Run one chunk forward, and back as far as the target layers."""
    images = images.clone() if images.is_inference() else images
    output, scores, acts = _forward(model, images, rows, target, modules)
    layouts = _layouts(acts, images)
    maps: dict[tuple[str, str], Tensor] = {}
    with torch.enable_grad():
        rounds = _rounds(scores.rows)
        grads_of_rounds = [
            torch.autograd.grad(
                scores.values[picked].sum(),
                list(acts.values()),
                allow_unused=True,
                retain_graph=k + 1 < len(rounds),
            )
            for k, picked in enumerate(rounds)
        ]
    order = torch.cat(rounds).argsort()
    with torch.autocast(images.device.type, enabled=False):
        for index, (site, act) in enumerate(acts.items()):
            to_bchw = layouts[site].to_bchw
            for method in methods:
                found = []
                for picked, grads in zip(rounds, grads_of_rounds, strict=True):
                    grad = grads[index]
                    if grad is None:
                        raise ValueError(_unconnected(site))
                    which = scores.rows[picked]
                    acts_BCHW, grads_BCHW = to_bchw(act.detach()), to_bchw(grad)
                    if len(which) != len(act):  # later rounds: images with several scores only
                        acts_BCHW, grads_BCHW = acts_BCHW[which], grads_BCHW[which]
                    found.append(method.compute(acts_BCHW.float(), grads_BCHW.float()))
                maps[method.name, site] = torch.cat(found)[order]
    logits = _logits_or_empty(output, len(images))
    return _Part(maps, logits, scores.classes, scores.rows + rows.start)


def _forward(
    model: nn.Module,
    images: Tensor,
    rows: slice,
    target: Target,
    modules: Mapping[str, nn.Module],
) -> tuple[Any, Scores, dict[str, Tensor]]:
    """Return the output, the scores and the activations, the latter two joined by a graph."""
    for grad in (False, True):
        with Capture(modules, grad=grad) as capture:
            output = model(images)
        acts = capture.activations()
        _check_ran(modules, acts)
        with torch.enable_grad():
            scores = target.scores(output, rows)
        if scores.values.requires_grad:
            return output, scores, acts
        # The model left a `no_grad` of its own behind the target layers: see `Capture`.
    raise ValueError(_unconnected(", ".join(modules)))


def _check_ran(modules: Mapping[str, nn.Module], acts: Mapping[str, Tensor]) -> None:
    for name in modules:
        if not any(site == name or site.startswith((f"{name}#", f"{name}[")) for site in acts):
            raise ValueError(
                f"layer {name!r} did not run in the model's forward pass, or returned no floating "
                "point tensor. Name a layer that forward calls."
            )


def _layouts(acts: dict[str, Tensor], images: Tensor) -> dict[str, Layout]:
    """Return the layouts of the sites, dropping tensors of a container that have none."""
    image_hw = (images.shape[2], images.shape[3])
    layouts = {}
    for site, act in list(acts.items()):
        layout = infer_layout(tuple(act.shape), image_hw)
        if layout is None and "[" in site and len(acts) > 1:
            del acts[site]
        elif layout is None:
            raise ValueError(
                f"layer {site!r} has no spatial output: expected (B, C, H, W), (B, H, W, C) or "
                f"tokens (B, N, C) with a grid of the image's proportions, came "
                f"{shape_of(act)} for images of {image_hw[0]}×{image_hw[1]}. Name an earlier layer."
            )
        else:
            layouts[site] = layout
    return layouts


def _unconnected(site: str) -> str:
    return (
        f"the explained score does not depend on layer {site!r} through differentiable operations. "
        "Name a layer between the images and the logits, or use layers='auto'."
    )


def _rounds(rows: Tensor) -> list[Tensor]:
    """Split scores so that each round holds at most one score of an image.

    Scores of different images share a backward pass, since images do not influence each other.
    """
    seen: dict[int, int] = {}
    rounds: list[list[int]] = []
    for index, row in enumerate(rows.tolist()):
        turn = seen.get(row, 0)
        seen[row] = turn + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(index)
    return [torch.tensor(picked, device=rows.device) for picked in rounds]


def _logits_or_empty(output: Any, batch: int) -> Tensor:
    try:
        return logits_of(output, batch).detach().float()
    except ValueError:  # a function target was satisfied with something else
        return torch.empty(batch, 0)


def _joined(parts: Sequence[_Part]) -> CAMResult:
    return CAMResult(
        maps={key: torch.cat([part.maps[key] for part in parts]) for key in parts[0].maps},
        logits=torch.cat([part.logits for part in parts]),
        classes=torch.cat([part.classes for part in parts]),
        rows=torch.cat([part.rows for part in parts]),
    )
