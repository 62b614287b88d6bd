"""One probe being watched: look, measure, draw, remember. Plain torch, no trainer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_cam.explain.engine import CAMResult, compute_cams
from lightning_cam.explain.layers import cached_survey, choose, resolve_layers, unwrap
from lightning_cam.explain.methods import resolve_methods
from lightning_cam.explain.targets import (
    TargetLike,
    check_range,
    predictions,
    probabilities,
    resolve_target,
)
from lightning_cam.monitor import History, Snapshot
from lightning_cam.monitor.measure import average, measure, measure_predictions
from lightning_cam.panels import Panels, suffix_of

if TYPE_CHECKING:
    from lightning_cam.loggers import Picture
    from lightning_cam.options import Options
    from lightning_cam.probe import Probe


@dataclass(frozen=True)
class Look:
    """What one validation gave.

    Attributes:
        metrics: mean over the probe by name, NaN where a metric is defined for no image.
        pictures: finished, on the host.
    """

    metrics: dict[str, float]
    pictures: list[Picture]


@dataclass
class Watch:
    """Watches one probe through a training.

    Args:
        tag: what the names of its metrics and pictures start with, e.g. `cam` or `cam/train`.
        probe: the batch to look at.
        options: what to compute and draw.
    """

    tag: str
    probe: Probe
    options: Options
    layers: tuple[str, ...] = ()
    history: History = field(default_factory=History)

    def __post_init__(self) -> None:
        self._panels = Panels(self.tag, self.probe, self.options)

    def prepare(self, model: nn.Module, images: Tensor) -> str:
        """Settle the layers, run a first small look, and return a line that says what was chosen.

        Raises:
            ValueError: whatever of layers, methods, targets and outputs does not fit together.
        """
        model = unwrap(model)
        few = images[:2]
        target = resolve_target(self._targets(slice(0, len(few))), len(few))
        self.layers = tuple(resolve_layers(model, few, target, self.options.layers))
        first = self._compute(model, few, slice(0, len(few)))
        self._check_labels(first)
        self.layers = tuple(dict.fromkeys(layer for _, layer in first.maps))
        return self._describe(model, few, first)

    def _check_labels(self, result: CAMResult) -> None:
        classes = result.logits.shape[1]
        if self.probe.targets is not None and classes:
            check_range(self.probe.targets, classes)

    def _describe(self, model: nn.Module, images: Tensor, result: CAMResult) -> str:
        if self.options.layers == "auto":
            target = resolve_target(self._targets(slice(0, len(images))), len(images))
            chosen = choose(cached_survey(model, images, target))
            where = (
                f"{chosen.name!r} ({chosen.kind}, {chosen.layout}), chosen as the last spatial "
                "layer before the pooling that the score depends on"
            )
        else:
            shapes = {
                layer: "×".join(map(str, m.shape[1:])) for (_, layer), m in result.maps.items()
            }
            where = ", ".join(f"{layer!r} ({shape})" for layer, shape in shapes.items())
        methods = ", ".join(m.title for m in resolve_methods(self.options.method))
        masks = "with" if self.probe.foreground is not None else "without"
        return f"{self.tag}: watching {len(self.probe)} images {masks} masks, {methods} at {where}"

    def _targets(self, rows: slice) -> TargetLike:
        if isinstance(self.options.target, str) and self.options.target == "label":
            return None if self.probe.targets is None else self.probe.targets[rows]
        return self.options.target

    def _compute(self, model: nn.Module, images: Tensor, rows: slice) -> CAMResult:
        return compute_cams(
            model,
            images,
            self._targets(rows),
            method=self.options.method,
            layers=self.layers,
            chunk_size=self.options.chunk_size,
        )

    def look(self, model: nn.Module, images: Tensor, epoch: int, step: int) -> Look:
        """Compute maps, measure them against memory and masks, draw them, and remember them.

        Args:
            model: the network, in the precision context it is trained in.
            images: the probe's images on the model's device and in its dtype.
            epoch: the trainer's epoch.
            step: the step under which the trainer logs scalars now.
        """
        result = self._compute(model, images, slice(0, len(images)))
        predicted, confidences = _predicted(result.logits)
        snapshot = Snapshot(
            validation=self.history.count,
            epoch=epoch,
            step=step,
            maps={key: maps.cpu() for key, maps in result.maps.items()},
            predictions=predicted.cpu(),
            confidences=confidences.cpu(),
        )
        metrics = self._metrics(result)
        self.history.add(snapshot)
        return Look(metrics, self._panels.draw(result.maps, snapshot, self.history))

    # --- numbers ---------------------------------------------------------------------------------

    def _metrics(self, result: CAMResult) -> dict[str, float]:
        foreground = self.probe.foreground
        values: dict[str, float] = {}
        for key, maps in result.maps.items():
            masks = None if foreground is None else foreground.to(maps.device)
            first = self.history.first.maps.get(key) if self.history.first else None
            previous = self.history.previous.maps.get(key) if self.history.previous else None
            suffix = suffix_of(key, result.maps)
            for name, each in measure(maps, masks, first, previous).items():
                values[f"{self.tag}/{name}{suffix}"] = average(each)
        if result.logits.shape[1]:
            found = measure_predictions(result.logits, self.probe.targets, self.history)
            values.update({f"{self.tag}/{name}": average(each) for name, each in found.items()})
        return values

    # --- memory ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs: the probe's fingerprint, the layers and the history."""
        return {
            "fingerprint": self.probe.fingerprint,
            "layers": list(self.layers),
            "history": self.history.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> str:
        """Take the history back if it is this probe's; return why not, or an empty string."""
        if state["fingerprint"] != self.probe.fingerprint:
            return "the checkpoint's history is of another probe"
        if list(state["layers"]) != list(self.layers):
            return f"the checkpoint's history is of layers {state['layers']}"
        self.history.load_state_dict(state["history"])
        return ""


def _predicted(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return predicted classes and their probabilities; -1 and NaN where there are no logits."""
    if logits.shape[1] == 0:
        return torch.full((len(logits),), -1), torch.full((len(logits),), math.nan)
    return predictions(logits), probabilities(logits).amax(dim=1)
