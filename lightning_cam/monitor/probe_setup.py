"""`set_up_probe`: settle target and layers, and check all of it by one small pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
from lightning_cam.monitor.diagnostics import run_diagnostics
from lightning_cam.runtime.checks import check_class_range

if TYPE_CHECKING:
    from torch import nn

    from lightning_cam.explain.result import CAMResult
    from lightning_cam.monitor.config import MonitorConfig
    from lightning_cam.monitor.map_computer import MapComputer
    from lightning_cam.probe import Probe

_SETUP_IMAGES = 2
_MAXIMIZING = "activation_maximization"


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
    if computer.sharing != "independent" and _MAXIMIZING in config.output_config.panel_names:
        raise ValueError(
            f"expected panels without {_MAXIMIZING!r} for weights that are sharded over processes, "
            "whose gradient ascent would gather them hundreds of times. Leave it out, and run "
            "`lightning-cam replay --pictures` with it on the checkpoints."
        )
    few = images[:_SETUP_IMAGES]
    layers: tuple[str, ...] = ()
    if any(method.place == "layer" for method in resolve_methods(config.method)):
        layers = tuple(resolve_layers(model, few, target, config.layers))
    first = computer.compute_here(model, few, layers).cpu()
    due = config.output_config.slow_panels_due(0)
    run_diagnostics(
        model,
        few,
        probe,
        config.output_config,
        layers,
        due,
        computer.chunk_size,
        seed=config.seed,
        steps=1,
    )
    if probe.targets is not None and first.logits.shape[1] and target.reads_class_scores:
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
        if probe.boxes is None or (single is None and probe.box_labels is None):
            raise ValueError(
                "expected a probe with boxes and their labels for target='box', got "
                f"{'no boxes' if probe.boxes is None else 'boxes without labels'}. Give "
                "Probe(images, targets, boxes=...) or box_labels=."
            )
        if probe.box_labels is not None:
            return DetectionTarget(probe.boxes, probe.box_labels)
        assert single is not None
        per_box = [label.repeat(len(box)) for label, box in zip(single, probe.boxes, strict=True)]
        return DetectionTarget(probe.boxes, tuple(per_box))
    if wanted in ("label", "mean_label"):
        if labels is None or not probe.multi_label:
            return ClassTarget(single)
        return MultiLabelTarget(labels, "mean" if wanted == "mean_label" else "each")
    return resolve_target(wanted, len(probe))


def _check_labels(probe: Probe, logits: Tensor) -> None:
    targets = probe.targets
    assert targets is not None
    if not probe.multi_label:
        highest, classes = int(targets.max()), logits.shape[1]
        if highest == max(2, classes) and int(targets.min()) >= 1:
            raise ValueError(
                f"expected labels below {classes}, the model's number of classes, got 1 to "
                f"{highest}. Where they start at 1 give probe=Probe(images, targets - 1)"
            )
        check_class_range(targets, classes)
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
