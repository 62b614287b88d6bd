"""One probe being watched: look, measure, draw, remember. Plain torch, no trainer."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_cam.explain.engine import CAMResult, compute_cams
from lightning_cam.explain.interventions import interventions
from lightning_cam.explain.layers import resolve_layers
from lightning_cam.explain.methods import resolve_methods
from lightning_cam.explain.model_state import undisturbed
from lightning_cam.explain.modules import unwrap
from lightning_cam.explain.outputs import logits_of, predictions, probabilities
from lightning_cam.explain.reinit import Reinitialised, inner_name
from lightning_cam.explain.survey import cached_survey, choose
from lightning_cam.explain.targets import (
    ClassTarget,
    DetectionTarget,
    DifferenceTarget,
    MultiLabelTarget,
    Target,
    check_range,
    resolve_target,
)
from lightning_cam.metrics import enrichment
from lightning_cam.metrics.reliance import RELIANCE_METRICS, outcome, reliance
from lightning_cam.monitor import Alert, AlertBook, History, Snapshot, default_rules
from lightning_cam.monitor.alerts import verdict_of
from lightning_cam.monitor.baselines import localization_baselines
from lightning_cam.monitor.measure import average, measure, measure_predictions
from lightning_cam.panels import Panels, suffix_of

if TYPE_CHECKING:
    from lightning_cam.loggers import Picture
    from lightning_cam.monitor.history import MapKey
    from lightning_cam.options import Options
    from lightning_cam.probe import Probe

_WORST = 3
_LIKELY = 0.5  # from which probability a label of several counts as predicted


Precision = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass(frozen=True)
class Look:
    """What one validation gave.

    Attributes:
        metrics: mean over the probe by name, NaN where a metric is defined for no image.
        maps: raw maps on the device.
        snapshot: what is worth remembering of it.
        evidence: what interventions said, empty where none were made.
        worst: ids of the images whose maps are furthest off the object.
    """

    metrics: dict[str, float]
    maps: dict[MapKey, Tensor]
    snapshot: Snapshot
    evidence: dict[str, float]
    worst: tuple[str, ...]


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
        self._baselines: dict[str, float] | None = None
        known = self.probe.foreground is not None
        rules = self.options.rules
        if rules is None:
            rules = default_rules(masks=known, labels=self._can_intervene())
        self.book = AlertBook(rules)

    def _can_intervene(self) -> bool:
        labels = self.probe.targets
        return self.probe.foreground is not None and labels is not None and labels.ndim == 1

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
        reliance = RELIANCE_METRICS if self._can_intervene() else ()
        plain = [name.removeprefix(f"{self.tag}/") for name in self.metric_names]
        self.book.check([*plain, *reliance])
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
            aug_smooth=self.options.aug_smooth,
            eigen_smooth=self.options.eigen_smooth,
            fuse_layers=self.options.fuse_layers,
            seed=self.options.seed,
        )

    def look(
        self,
        model: nn.Module,
        images: Tensor,
        epoch: int,
        step: int,
        precision: Precision = contextlib.nullcontext,
    ) -> Look:
        """Compute maps and measure them against masks and memory.

        Nothing is remembered but the baselines, which are measured once.

        Args:
            model: the network.
            images: the probe's images on the model's device and in its dtype.
            epoch: the trainer's epoch.
            step: the step under which the trainer logs scalars now.
            precision: makes the context that the network runs in, e.g. autocast.
        """
        with precision():
            result = self._compute(model, images)
            if self._baselines is None:
                self._baselines = self._measure_baselines(model, images, result)
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
        metrics = {**self._metrics(result), **self._tagged(self._baselines)}
        evidence: dict[str, float] = {}
        every = self.options.interventions_every
        due = every > 0 and self.history.count % every == 0
        if self._can_intervene() and (due or self.book.would_trigger(self._plain(metrics))):
            with precision():
                evidence = self._intervene(model, images, result.logits)
            metrics.update(self._tagged(evidence))
        return Look(metrics, result.maps, snapshot, evidence, self._worst(result))

    def remember(self, look: Look) -> list[Alert]:
        """Compare later looks with this one; return the alerts that it raises."""
        self.history.add(look.snapshot)
        verdict = verdict_of(look.evidence)
        return [
            Alert(
                probe=self.tag,
                metric=rule.metric,
                value=value,
                limit=limit,
                epoch=look.snapshot.epoch,
                step=look.snapshot.step,
                verdict=verdict,
                evidence=look.evidence,
                worst=look.worst,
            )
            for rule, value, limit in self.book.update(self._plain(look.metrics), verdict)
        ]

    def _tagged(self, values: Mapping[str, float]) -> dict[str, float]:
        return {f"{self.tag}/{name}": value for name, value in values.items()}

    def _plain(self, metrics: Mapping[str, float]) -> dict[str, float]:
        return {name.removeprefix(f"{self.tag}/"): value for name, value in metrics.items()}

    def _measure_baselines(
        self, model: nn.Module, images: Tensor, result: CAMResult
    ) -> dict[str, float]:
        """Return what the first map's localisation would be if it knew nothing."""
        foreground = self.probe.foreground
        if foreground is None or not len(result.rows):
            return {}
        (method, layer), maps = next(iter(result.maps.items()))
        untrained: Tensor | None = None
        with contextlib.suppress(Exception):  # sharded or unusual modules: one baseline less
            twin = Reinitialised(model, self.options.seed)
            untrained = compute_cams(
                twin,
                images,
                self._target,
                method=method,
                layers=inner_name(layer),
                chunk_size=self.options.chunk_size,
            ).maps[method, inner_name(layer)]
        masks = foreground[result.rows.cpu()]
        return localization_baselines(masks, (maps.shape[1], maps.shape[2]), untrained)

    def _intervene(self, model: nn.Module, images: Tensor, logits: Tensor) -> dict[str, float]:
        """Return the metrics of reliance: what the model says when parts are taken away."""
        masks, labels = self.probe.foreground, self.probe.targets
        assert masks is not None
        assert labels is not None
        if logits.shape[1] == 0:
            return {}
        clean = outcome(probabilities(logits), labels, torch.arange(len(labels)))
        altered = {}
        with undisturbed(model, images.device):
            for each in interventions(images, masks.to(images.device), labels, self.options.seed):
                parts = torch.split(each.make(), self.options.chunk_size)
                found = [logits_of(model(part), len(part)) for part in parts]
                chances = probabilities(torch.cat(found))
                altered[each.name] = outcome(chances, labels[each.rows], each.rows)
        return reliance(clean, altered)

    def _worst(self, result: CAMResult) -> tuple[str, ...]:
        """Return the images whose first maps have the least on the object."""
        foreground = self.probe.foreground
        if foreground is None:
            return ()
        maps = next(iter(result.maps.values()))
        values = enrichment(maps.cpu(), foreground[result.rows.cpu()]).nan_to_num(math.inf)
        order = values.argsort()[:_WORST].tolist()
        rows = result.rows.tolist()
        return tuple(self.probe.ids[rows[n]] for n in order if math.isfinite(values[n]))

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
            "rules": self.book.state_dict(),
            "baselines": self._baselines or {},
        }

    def load_state_dict(self, state: dict[str, Any]) -> str:
        """Take the history back if it is this probe's; return why not, or an empty string."""
        if state["fingerprint"] != self.probe.fingerprint:
            return "the checkpoint's history is of another probe"
        if list(state["layers"]) != list(self.layers):
            return f"the checkpoint's history is of layers {state['layers']}"
        self.history.load_state_dict(state["history"])
        self.book.load_state_dict(state.get("rules", []))
        self._baselines = dict(state.get("baselines", {})) or None
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
