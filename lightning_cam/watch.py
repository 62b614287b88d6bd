"""One probe being watched: look, measure, draw, remember. Plain torch, no trainer."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_cam.explain.engine import CAMResult, compute_cams
from lightning_cam.explain.layers import cached_survey, choose, resolve_layers, unwrap
from lightning_cam.explain.methods import resolve_methods
from lightning_cam.explain.outputs import predictions, probabilities
from lightning_cam.explain.targets import (
    ClassTarget,
    DetectionTarget,
    DifferenceTarget,
    MultiLabelTarget,
    Target,
    check_range,
    resolve_target,
)
from lightning_cam.monitor import History, Snapshot
from lightning_cam.monitor.measure import average, measure, measure_predictions
from lightning_cam.panels import Panels, suffix_of

if TYPE_CHECKING:
    from lightning_cam.loggers import Picture
    from lightning_cam.monitor.history import MapKey
    from lightning_cam.options import Options
    from lightning_cam.probe import Probe

_LIKELY = 0.5  # from which probability a label of several counts as predicted


Precision = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass(frozen=True)
class Look:
    """What one validation gave.

    Attributes:
        metrics: mean over the probe by name, NaN where a metric is defined for no image.
        maps: raw maps on the device.
        snapshot: what is worth remembering of it.
    """

    metrics: dict[str, float]
    maps: dict[MapKey, Tensor]
    snapshot: Snapshot


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
    metric_names: tuple[str, ...] = ()
    history: History = field(default_factory=History)

    def __post_init__(self) -> None:
        self._panels = Panels(self.tag, self.probe, self.options)
        self._target = target_of(self.probe, self.options)

    def prepare(
        self, model: nn.Module, images: Tensor, precision: Precision = contextlib.nullcontext
    ) -> str:
        """Settle the layers, run a first small look, and return a line that says what was chosen.

        Args:
            model: the network.
            images: the probe's images on the model's device and in its dtype.
            precision: makes the context that the network runs in, e.g. autocast.

        Raises:
            ValueError: whatever of layers, methods, targets and outputs does not fit together.
        """
        model, few = unwrap(model), images[:2]
        methods = resolve_methods(self.options.method)
        with precision():
            if any(method.place == "layer" for method in methods):
                self.layers = tuple(resolve_layers(model, few, self._target, self.options.layers))
            first = self._compute(model, few)
            where = self._describe(model, few, first)
        if self.probe.targets is not None and first.logits.shape[1]:
            self._check_labels(self.probe.targets, first.logits)
        self.metric_names = tuple(self._metrics(first))
        masks = "with" if self.probe.foreground is not None else "without"
        titles = ", ".join(method.title for method in methods)
        return f"{self.tag}: watching {len(self.probe)} images {masks} masks, {titles} at {where}"

    def _check_labels(self, targets: Tensor, logits: Tensor) -> None:
        if not self.probe.multi_label:
            check_range(targets, logits.shape[1])
        elif targets.shape[1] != logits.shape[1]:
            raise ValueError(
                f"expected as many labels as the model's {logits.shape[1]} logits, came "
                f"{targets.shape[1]}"
            )

    def _describe(self, model: nn.Module, images: Tensor, result: CAMResult) -> str:
        if self.options.layers == "auto" and self.layers:
            chosen = choose(cached_survey(model, images, self._target))
            return (
                f"{chosen.name!r} ({chosen.kind}, {chosen.layout}), chosen as the last spatial "
                "layer before the pooling that the score depends on"
            )
        shapes = {layer: "×".join(map(str, m.shape[1:])) for (_, layer), m in result.maps.items()}
        return ", ".join(f"{layer!r} ({shape})" for layer, shape in shapes.items())

    def _compute(self, model: nn.Module, images: Tensor) -> CAMResult:
        return compute_cams(
            model,
            images,
            self._target,
            method=self.options.method,
            layers=self.layers or "auto",
            chunk_size=self.options.chunk_size,
        )

    def look(
        self,
        model: nn.Module,
        images: Tensor,
        epoch: int,
        step: int,
        precision: Precision = contextlib.nullcontext,
    ) -> Look:
        """Compute maps and measure them against masks and memory. Changes nothing.

        Args:
            model: the network.
            images: the probe's images on the model's device and in its dtype.
            epoch: the trainer's epoch.
            step: the step under which the trainer logs scalars now.
            precision: makes the context that the network runs in, e.g. autocast.
        """
        with precision():
            result = self._compute(model, images)
        confidences, predicted = self._predicted(result.logits)
        snapshot = Snapshot(
            validation=self.history.count,
            epoch=epoch,
            step=step,
            maps={key: maps.cpu() for key, maps in result.maps.items()},
            rows=result.rows.cpu(),
            classes=result.classes.cpu(),
            predictions=predicted,
            confidences=confidences if self.probe.multi_label else confidences.amax(dim=1),
        )
        return Look(self._metrics(result), result.maps, snapshot)

    def remember(self, look: Look) -> None:
        """Compare later looks with this one."""
        self.history.add(look.snapshot)

    def draw(self, look: Look) -> list[Picture]:
        """Return the look's pictures; it stands at the end of the timeline, remembered or not."""
        history = self.history
        if history.previous is not look.snapshot:
            history = copy.deepcopy(history)
            history.add(look.snapshot)
        return self._panels.draw(look.maps, look.snapshot, history)

    def _predicted(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities (B, K) and predictions, on the CPU; NaN and -1 without logits."""
        if logits.shape[1] == 0:
            return torch.full((len(logits), 1), math.nan), torch.full((len(logits),), -1)
        confidences = probabilities(logits, multi_label=self.probe.multi_label).cpu()
        if self.probe.multi_label:
            return confidences, confidences > _LIKELY
        return confidences, predictions(logits).cpu()

    def _metrics(self, result: CAMResult) -> dict[str, float]:
        foreground = self.probe.foreground
        masks = None
        if foreground is not None:
            masks = foreground[result.rows.cpu()].to(result.rows.device)
        values: dict[str, float] = {}
        for key, maps in result.maps.items():
            first = self.history.first.maps.get(key) if self.history.first else None
            previous = self.history.previous.maps.get(key) if self.history.previous else None
            suffix = suffix_of(key, result.maps)
            for name, each in measure(maps, masks, first, previous).items():
                values[f"{self.tag}/{name}{suffix}"] = average(each)
        if result.logits.shape[1]:
            confidences, predicted = self._predicted(result.logits)
            before = self.history.previous.predictions if self.history.previous else None
            targets = None if self.probe.targets is None else self.probe.targets[: len(predicted)]
            found = measure_predictions(confidences, predicted, before, targets)
            values.update({f"{self.tag}/{name}": average(each) for name, each in found.items()})
        return values

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


def target_of(probe: Probe, options: Options) -> Target:
    """Return what is explained on a probe: the words of `Options.target` need its labels.

    Raises:
        ValueError: a word that needs labels or boxes which the probe has not.
    """
    word, labels = options.target, probe.targets
    single = labels if labels is not None and not probe.multi_label else None
    if word == "difference":
        return DifferenceTarget(single)
    if word == "box":
        if probe.boxes is None or single is None:
            raise ValueError("expected a probe with boxes and (B,) targets for target='box'")
        per_box = [label.repeat(len(box)) for label, box in zip(single, probe.boxes, strict=True)]
        return DetectionTarget(probe.boxes, tuple(per_box))
    if word in ("label", "mean_label"):
        if labels is None or not probe.multi_label:
            return ClassTarget(single)
        return MultiLabelTarget(labels, "mean" if word == "mean_label" else "each")
    return resolve_target(word, len(probe))
