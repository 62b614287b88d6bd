"""`set_up_probe`: settle target and layers, and check all of it by one small pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_cam.explain.candidate_layers import cached_candidate_layers, choose_layer
from lightning_cam.explain.layers import resolve_layers
from lightning_cam.explain.methods import resolve_methods
from lightning_cam.explain.targets import (
    ClassTarget,
    DetectionTarget,
    DifferenceTarget,
    MultiLabelTarget,
    Target,
    resolve_target,
)
from lightning_cam.metrics.reliance import MIN_PAIRS
from lightning_cam.monitor.diagnostics import run_diagnostics
from lightning_cam.runtime.checks import check_class_range

if TYPE_CHECKING:
    from torch import nn

    from lightning_cam.explain.result import CAMResult
    from lightning_cam.monitor.config import MonitorConfig
    from lightning_cam.monitor.map_computer import MapComputer
    from lightning_cam.probe import Probe
    from lightning_cam.runtime.distributed import Sharing

_SETUP_IMAGES = 2


@dataclass(frozen=True)
class ProbeSetup:
    """What is known about a probe and a model after the first pass.

    Attributes:
        layers: names of the layers that maps are taken at; empty for methods that use none.
        first: the result of the first images, on the CPU.
        layer_text: the layers and how they were chosen, for people.
    """

    layers: tuple[str, ...]
    first: CAMResult
    layer_text: str

    @property
    def has_logits(self) -> bool:
        """Whether the model's output holds class logits."""
        return bool(self.first.logits.shape[1])

    @property
    def map_shapes(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Height and width of the maps by method and layer."""
        return {key: (m.shape[1], m.shape[2]) for key, m in self.first.maps.items()}


def set_up_probe(
    model: nn.Module,
    images: Tensor,
    probe: Probe,
    config: MonitorConfig,
    target: Target,
    computer: MapComputer,
) -> ProbeSetup:
    """Resolve the layers and run the first two images through everything that will be computed.

    Args:
        model: the network, without wrappers.
        images: the probe's images on the model's device and in its dtype.
        probe: the probe.
        config: layers, methods and panels.
        target: what is explained.
        computer: of the maps.

    Raises:
        ValueError: whatever of layers, methods, labels and outputs does not fit together.
    """
    few = images[:_SETUP_IMAGES]
    layers: tuple[str, ...] = ()
    if any(method.place == "layer" for method in resolve_methods(config.method)):
        layers = tuple(resolve_layers(model, few, target, config.layers))
    first = computer.compute_here(model, few, layers).cpu()
    due = config.output.slow_panels_due(0)
    run_diagnostics(
        model,
        few,
        probe,
        config.output,
        layers,
        due,
        computer.chunk_size,
        seed=config.seed,
        steps=1,
    )
    if probe.targets is not None and first.logits.shape[1]:
        _check_labels(probe, first.logits)
    return ProbeSetup(layers, first, _layer_text(model, few, target, config, layers, first))


def target_of(probe: Probe, config: MonitorConfig) -> Target:
    """Return what is explained on a probe: the words of `MonitorConfig.target` use its labels.

    Raises:
        ValueError: a word that needs labels or boxes which the probe has not.
    """
    wanted, labels = config.target, probe.targets
    single = labels if labels is not None and not probe.multi_label else None
    if wanted == "difference":
        return DifferenceTarget(single)
    if wanted == "box":
        if probe.boxes is None or single is None:
            raise ValueError("expected a probe with boxes and (B,) targets for target='box'")
        per_box = [label.repeat(len(box)) for label, box in zip(single, probe.boxes, strict=True)]
        return DetectionTarget(probe.boxes, tuple(per_box))
    if wanted in ("label", "mean_label"):
        if labels is None or not probe.multi_label:
            return ClassTarget(single)
        return MultiLabelTarget(labels, "mean" if wanted == "mean_label" else "each")
    return resolve_target(wanted, len(probe))


def summary_of(
    tag: str, probe: Probe, config: MonitorConfig, setup: ProbeSetup, sharing: Sharing
) -> str:
    """Return one line that says what was chosen, and what cannot be measured."""
    masks = "with" if probe.foreground is not None else "without"
    masks = "with estimated" if probe.masks_estimated else masks
    titles = ", ".join(method.title for method in resolve_methods(config.method))
    line = f"{tag}: monitors {len(probe)} images {masks} masks, {titles} at {setup.layer_text}"
    notes = limitations(probe)
    if sharing != "independent":
        notes.append("the weights are sharded over processes: no untrained baseline")
    if sharing == "replicated":
        notes.append("every process runs all images")
    return "; ".join([line, *notes])


def limitations(probe: Probe) -> list[str]:
    """Return what cannot be measured on a probe, and why, one sentence each."""
    masks, labels = probe.foreground, probe.targets
    empty, full = _empty_and_full(probe)
    found = [
        f"{int(which.sum())} of {len(probe)} masks are {what}: these images count in no metric of "
        "the object and in no intervention"
        for what, which in (("empty", empty), ("full", full))
        if bool(which.any())
    ]
    if probe.multi_label:
        return [*found, "several labels per image: reliance on the background is not measured"]
    if labels is None:
        consequence = "predicted classes take their place"
        if masks is not None:
            consequence = "reliance on the background is not measured"
        return [*found, f"no labels: {consequence}"]
    counts = Counter(labels[~(empty | full)].tolist())
    if len(counts) == 1:
        found.append("images of one class only: backgrounds cannot be exchanged between classes")
    elif counts and sum(count for count in counts.values() if count > 1) < MIN_PAIRS:
        found.append(
            f"fewer than {MIN_PAIRS} images share their class with another one: backgrounds cannot "
            "be exchanged within a class, so there is no gap between the two"
        )
    return found


def _check_labels(probe: Probe, logits: Tensor) -> None:
    targets = probe.targets
    assert targets is not None
    if not probe.multi_label:
        check_class_range(targets, logits.shape[1])
    elif targets.shape[1] != logits.shape[1]:
        raise ValueError(
            f"expected as many labels as the model's {logits.shape[1]} logits, got "
            f"{targets.shape[1]}"
        )


def _layer_text(
    model: nn.Module,
    images: Tensor,
    target: Target,
    config: MonitorConfig,
    layers: tuple[str, ...],
    first: CAMResult,
) -> str:
    if config.layers == "auto" and layers:
        chosen = choose_layer(cached_candidate_layers(model, images, target))
        return (
            f"{chosen.name!r} ({chosen.kind}, {chosen.layout}), chosen as the last spatial layer "
            "before the pooling that the score depends on"
        )
    shapes = {layer: "×".join(map(str, m.shape[1:])) for (_, layer), m in first.maps.items()}
    return ", ".join(f"{layer!r} ({shape})" for layer, shape in shapes.items())


def _empty_and_full(probe: Probe) -> tuple[Tensor, Tensor]:
    """Return (B,) bool, whether an image's mask is empty, and whether it is full."""
    if probe.foreground is None:
        none = torch.zeros(len(probe), dtype=torch.bool)
        return none, none
    flat = probe.foreground.flatten(1)
    return ~flat.any(dim=1), flat.all(dim=1)
