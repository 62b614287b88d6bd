"""One probe being watched: look, measure, draw, remember. Plain torch, no trainer."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from lightning_cam.explain.batching import images_at_a_time
from lightning_cam.explain.engine import CAMResult, compute_cams, joined
from lightning_cam.explain.layers import resolve_layers
from lightning_cam.explain.methods import resolve_methods
from lightning_cam.explain.modules import unwrap
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
from lightning_cam.inside import Inside, look_inside
from lightning_cam.memory import ChunkSize
from lightning_cam.monitor import Alert, AlertBook, History, Snapshot, default_rules
from lightning_cam.monitor.alerts import verdict_of
from lightning_cam.monitor.baselines import BASELINES, LOCALIZATION, localization_baselines
from lightning_cam.monitor.measure import REFERENCES
from lightning_cam.monitor.schedule import asks
from lightning_cam.panels import Panels
from lightning_cam.questions import (
    ask_noise_floor,
    ask_reliance,
    ask_untrained,
    missing,
    reliance_metrics,
)
from lightning_cam.reading import read
from lightning_cam.restoring import check_fits, remembered
from lightning_cam.sharding import Sharing, sharing
from lightning_cam.team import Team

if TYPE_CHECKING:
    from lightning_cam.loggers import Picture
    from lightning_cam.options import Options
    from lightning_cam.probe import Probe

_WORST = 3
GAP = "gap/"  # rules of the difference between two probes are not one probe's

Precision = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass(frozen=True)
class Look:
    """What one validation gave.

    Attributes:
        metrics: mean over the probe by name, NaN where a metric is defined for no image.
        snapshot: the maps, and what else is worth remembering.
        evidence: what interventions said, empty where none were made.
        worst: ids of the images whose maps are furthest off the object.
        per_image: each metric of the first map, (N,) on the CPU, a value a map.
        inside: what slow panels show, empty at most looks.
    """

    metrics: dict[str, float]
    snapshot: Snapshot
    evidence: dict[str, float]
    worst: tuple[str, ...]
    per_image: dict[str, Tensor]
    inside: Inside = field(default_factory=Inside)


@dataclass
class Watch:
    """Watches one probe through a training.

    Args:
        tag: what the names of its metrics and pictures start with, e.g. `cam` or `cam/train`.
        probe: the batch to look at.
        options: what to compute and draw.
        team: the processes that share each look.
    """

    tag: str
    probe: Probe
    options: Options
    team: Team = field(default_factory=Team)
    layers: tuple[str, ...] = ()
    metric_names: tuple[str, ...] = ()
    history: History = field(default_factory=History)

    def __post_init__(self) -> None:
        self._panels = Panels(self.tag, self.probe, self.options)
        self._target = target_of(self.probe, self.options)
        self._baselines: dict[str, float] | None = None
        self._noise_floor = math.nan
        self._asked: tuple[str, ...] = ()  # what interventions say, known with the first output
        self._sizes: dict[tuple[str, str], tuple[int, int]] = {}  # of the maps, likewise
        self._sharing: Sharing = "apart"
        self.chunk = ChunkSize(self.options.chunk_size or 1)
        rules = self.options.rules
        if rules is None:
            rules = default_rules(
                masks=self.probe.foreground is not None,
                labels=self.probe.targets is not None and not self.probe.multi_label,
            )
        self.book = AlertBook(rule for rule in rules if not rule.metric.startswith(GAP))

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
        self.share(self.team, model)
        self.chunk.now = images_at_a_time(images, self.options.chunk_size)
        self._agree_on_chunk()
        methods = resolve_methods(self.options.method)
        with precision():
            if any(method.place == "layer" for method in methods):
                self.layers = tuple(resolve_layers(model, few, self._target, self.options.layers))
            first = self._compute(model, few)
            where = self._describe(model, few, first)
            slow = self.options.slow_panels_at(0)
            look_inside(model, few, self.probe, self.options, self.layers, slow, steps=1)
        if self.probe.targets is not None and first.logits.shape[1]:
            self._check_labels(self.probe.targets, first.logits)
        self._asked = reliance_metrics(self.probe, logits=bool(first.logits.shape[1]))
        self._sizes = {key: (m.shape[1], m.shape[2]) for key, m in first.maps.items()}
        self.metric_names = tuple(self._tagged(self._all_names(first)))
        self.book.check(self._plain(dict.fromkeys(self.metric_names, 0.0)))
        masks = "with" if self.probe.foreground is not None else "without"
        titles = ", ".join(method.title for method in methods)
        if self.probe.masks_estimated:
            masks = "with estimated"
        line = f"watching {len(self.probe)} images {masks} masks, {titles} at {where}"
        return "; ".join([f"{self.tag}: {line}", *missing(self.probe), *self._not_shared()])

    def share(self, team: Team, model: nn.Module) -> None:
        """Settle how processes share the passes, by how the model is spread over them.

        Raises:
            ValueError: a model that cannot be called beside the trainer's own steps.
        """
        self._sharing = sharing(unwrap(model), team.size)
        # Numbers of backward passes that hang on the images would not be the same everywhere.
        uneven = isinstance(self._target, (MultiLabelTarget, DetectionTarget))
        if self._sharing == "in step" and uneven:
            self._sharing = "alike"
        self.team = replace(team, alike=self._sharing == "alike")
        self.chunk.fixed = self._sharing != "apart"

    def _not_shared(self) -> list[str]:
        if self._sharing == "apart":
            return []
        found = ["the weights are spread over processes: no untrained baseline"]
        return found if self._sharing == "in step" else [*found, "each process runs all images"]

    def _all_names(self, result: CAMResult) -> dict[str, float]:
        """Return every name that a look may log, with a value that stands for none."""
        names = [*read(self.probe, result.cpu(), self.history).metrics, *self._asked]
        names += ["noise_floor", *(f"drift_{reference}" for reference in REFERENCES)]
        if self.probe.foreground is not None:
            names += [f"{metric}_{base}" for metric in LOCALIZATION for base in BASELINES]
        return dict.fromkeys(names, math.nan)

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

    def _compute(
        self, model: nn.Module, images: Tensor, rows: slice | None = None, **other: Any
    ) -> CAMResult:
        """Compute what the options say; `other` takes the place of arguments of `compute_cams`."""
        asked = {
            "targets": self._target,
            "method": self.options.method,
            "layers": self.layers or "auto",
            "aug_smooth": self.options.aug_smooth,
            "eigen_smooth": self.options.eigen_smooth,
            "fuse_layers": self.options.fuse_layers,
            "seed": self.options.seed,
            "rows": rows,
            **other,
        }
        count = len(images) if rows is None else len(range(len(images))[rows])
        return self.chunk.fitting(
            lambda size: compute_cams(model, images, chunk_size=size, **asked), count
        )

    def _compute_first(
        self, make: Callable[[], nn.Module], images: Tensor, target: Target, layers: Sequence[str]
    ) -> CAMResult:
        """Compute the first method's maps alone, as questions about them need."""
        method = resolve_methods(self.options.method)[0]
        other = {
            "targets": target,
            "method": method,
            "layers": list(layers) if method.place == "layer" else "auto",
            "fuse_layers": False,
        }
        return self._together(
            len(images), lambda rows: self._compute(make(), images, rows, **other)
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
        model = unwrap(model)
        self._agree_on_chunk()
        with precision():
            result = self._together(len(images), lambda rows: self._compute(model, images, rows))
            seen = result.cpu()
            if self._baselines is None:
                self._baselines = self._measure_baselines(model, images, seen)
            if self._floor_is_due():
                self._noise_floor = ask_noise_floor(
                    model, images, self._target, seen, self._compute_first, self.options.seed
                )
        reading = read(self.probe, seen, self.history)
        snapshot = Snapshot(
            validation=self.history.count,
            epoch=epoch,
            step=step,
            maps=seen.maps,
            rows=seen.rows,
            classes=seen.classes,
            predictions=reading.predictions,
            confidences=reading.confidences,
        )
        metrics = reading.metrics | self._baselines | self._drift(reading.metrics)
        evidence: dict[str, float] = {}
        if bool(self._asked) and self.team.agreed(self._evidence_is_due(metrics)):
            with precision():
                evidence = ask_reliance(
                    model,
                    self.probe,
                    images,
                    result,
                    self.options,
                    self.team,
                    self.history.count,
                    self.chunk,
                )
            metrics |= dict.fromkeys(self._asked, math.nan) | evidence
        return Look(
            metrics=self._tagged(metrics),
            snapshot=snapshot,
            evidence=evidence,
            worst=self._worst(reading.per_image, seen),
            per_image=reading.per_image,
        )

    def look_inside(
        self, model: nn.Module, images: Tensor, precision: Precision = contextlib.nullcontext
    ) -> Inside:
        """Run the passes that slow panels need, where some are due; arguments as for `look`."""
        due = self.options.slow_panels_at(self.history.count)
        if not due:
            return Inside()
        with precision():
            return look_inside(unwrap(model), images, self.probe, self.options, self.layers, due)

    def _agree_on_chunk(self) -> None:
        """Take the smallest of all processes' chunks: memory may have run out in one of them."""
        if self.chunk.fixed and self.team.size > 1:
            self.chunk.now = min(self.team.together(lambda: self.chunk.now))

    def _together(self, count: int, compute: Callable[[slice], CAMResult]) -> CAMResult:
        """Compute a share of the images in each process, and return the whole on all of them."""
        if self.team.size == 1:
            return compute(slice(0, count))
        share = self.team.share(count)

        def part() -> CAMResult:
            return compute(share.rows).cpu().without(share.skipped, share.start)

        return joined(self.team.together(part))

    def _evidence_is_due(self, metrics: Mapping[str, float]) -> bool:
        due = asks(self.history.count, self.options.interventions_every)
        return due or self.book.is_suspicious() or self.book.would_trigger(metrics)

    def _floor_is_due(self) -> bool:
        """Tell whether to measure the noise floor: at first, then between two interventions."""
        every, count = self.options.interventions_every, self.history.count
        return every > 0 and (count == 0 or count % every == every // 2)

    def _drift(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return the movement in multiples of what a flip and a jitter move."""
        floor = self._noise_floor
        if not self.options.interventions_every:
            return {}
        drift = {
            f"drift_{name}": metrics[f"jsd_{name}"] / floor if floor > 0 else math.nan
            for name in REFERENCES
        }
        return {"noise_floor": floor, **drift}

    def remember(self, look: Look, goodness: float = math.nan) -> list[Alert]:
        """Compare later looks with this one; return the alerts that it raises.

        Args:
            look: what `look` gave.
            goodness: the value that says which validation was the best, the higher the better; by
                default the probability of the probe's labels.
        """
        if math.isnan(goodness):
            goodness = look.metrics.get(f"{self.tag}/label_confidence", math.nan)
        self.history.add(look.snapshot, goodness)
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
                estimated=self.probe.masks_estimated,
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
        (_, layer), maps = next(iter(result.maps.items()))
        untrained = None
        if self._sharing == "apart":  # nobody knows how to draw a part of a layer's weights
            untrained = ask_untrained(
                model, images, self._target, layer, self._compute_first, self.options.seed
            )
        masks = foreground[result.rows]
        return localization_baselines(masks, (maps.shape[1], maps.shape[2]), untrained)

    def _worst(self, per_image: Mapping[str, Tensor], result: CAMResult) -> tuple[str, ...]:
        """Return the images whose first maps have the least on the object."""
        if "enrichment" not in per_image:
            return ()
        values = per_image["enrichment"].nan_to_num(math.inf)
        order = values.argsort()[:_WORST].tolist()
        rows = result.rows.tolist()
        return tuple(self.probe.ids[rows[n]] for n in order if math.isfinite(values[n]))

    def draw(self, look: Look) -> list[Picture]:
        """Return the look's pictures; it stands at the end of the timeline, remembered or not."""
        return self.drawing(look)()

    def drawing(self, look: Look) -> Callable[[], list[Picture]]:
        """Return what draws the look, later and in any thread, whatever is remembered by then."""
        history = self.history.copy()
        if history.previous is not look.snapshot:
            history.add(look.snapshot)
        return lambda: self._panels.draw(
            look.snapshot.maps,
            look.snapshot,
            history,
            per_image=look.per_image,
            features=look.inside.features,
            preferences=look.inside.preferences,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs: the probe's fingerprint, the layers and the history."""
        return {
            "fingerprint": self.probe.fingerprint,
            "layers": list(self.layers),
            "history": self.history.state_dict(),
            "rules": self.book.state_dict(),
            "baselines": self._baselines or {},
            "noise_floor": self._noise_floor,
        }

    def load_state_dict(self, state: dict[str, Any]) -> str:
        """Take the history back if it is this probe's; return why not, or an empty string.

        All of it or nothing: whatever the state holds, nothing is raised.
        """
        try:
            if state["fingerprint"] != self.probe.fingerprint:
                return "the checkpoint's history is of another probe"
            if list(state["layers"]) != list(self.layers):
                return f"the checkpoint's history is of layers {state['layers']}"
            found = remembered(state, self.book.rules)
            check_fits(found.history, self._sizes, len(self.probe))
        except Exception as error:  # noqa: BLE001 - anything may be in a damaged file
            return f"the checkpoint's history cannot be used ({type(error).__name__}: {error})"
        self.history, self.book = found.history, found.book
        self._baselines, self._noise_floor = found.baselines or None, found.noise_floor
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
