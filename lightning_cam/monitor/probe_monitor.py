"""`ProbeMonitor`: evaluate one probe, compare with earlier evaluations, raise alerts."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from lightning_cam.explain.modules import unwrap
from lightning_cam.metrics.registry import REFERENCES, metrics_of
from lightning_cam.monitor.alerts import Alert, verdict_of
from lightning_cam.monitor.baselines import baselines_of
from lightning_cam.monitor.default_rules import default_rules
from lightning_cam.monitor.diagnostics import Diagnostics, run_diagnostics
from lightning_cam.monitor.evaluation import Evaluation, Snapshot
from lightning_cam.monitor.evidence import Evidence
from lightning_cam.monitor.exchanges import ProbeExchanges
from lightning_cam.monitor.history import History
from lightning_cam.monitor.map_computer import MapComputer
from lightning_cam.monitor.measure import compute_metrics, drift_metrics, worst_images
from lightning_cam.monitor.metric_names import attributes_of, missing_metric
from lightning_cam.monitor.model_reading import read_model
from lightning_cam.monitor.output_check import OutputCheck
from lightning_cam.monitor.passes import DuePasses, run_passes
from lightning_cam.monitor.probe_gap import PREFIX as GAP_PREFIX
from lightning_cam.monitor.probe_setup import set_up_probe, target_of
from lightning_cam.monitor.rule_set import Judgement, RuleSet
from lightning_cam.monitor.schedule import noise_floor_due
from lightning_cam.monitor.start_message import start_message
from lightning_cam.monitor.state_check import check_probe_state
from lightning_cam.output.panels.renderer import PanelRenderer
from lightning_cam.output.panels.scene import DisplayedProbe
from lightning_cam.probe.origin import ProbeOrigin

if TYPE_CHECKING:
    from lightning_cam.explain.model_call import ModelAdapter
    from lightning_cam.monitor.config import MonitorConfig
    from lightning_cam.output.picture import Picture
    from lightning_cam.probe import Probe
    from lightning_cam.runtime.forward_context import ForwardContext


class ProbeMonitor:
    """Monitors one probe through a training.

    Args:
        tag: what the names of its metrics and images start with, e.g. `cam` or `cam/train`.
        probe: the images that are evaluated.
        config: what is computed and drawn.
        model: the network.
        forward_context: how the network runs.
        origin: how the probe was made, for the summary.

    Attributes:
        history: earlier evaluations.
        rules: with what they have seen.
        evidence: what the model was found to rely on.
        metric_names: plain names of all metrics that an evaluation may measure.
        summary: a block of text that says what was taken for what.

    Raises:
        ValueError: whatever of layers, methods, labels, rules and outputs does not fit together.
    """

    def __init__(
        self,
        tag: str,
        probe: Probe,
        config: MonitorConfig,
        model: nn.Module,
        forward_context: ForwardContext,
        origin: ProbeOrigin | None = None,
    ) -> None:
        self.tag = tag
        self.config = config
        origin = origin or ProbeOrigin()
        model, images = unwrap(model), forward_context.to_model(probe.images)
        with forward_context.precision():
            self.reading = read_model(
                model,
                images,
                probe,
                forward=config.forward,
                output=config.output,
                scores=config.scores,
                label_path=origin.label_path,
            )
        self.probe = probe = self.reading.probe
        self.output_check = OutputCheck(self.reading)
        self._difference: str | None = None  # of the outputs; None before they were compared
        self.history = History()
        self._renderer = PanelRenderer(tag, probe, config.output_config)
        # Of its own: the renderer draws in another thread.
        self._displayed = DisplayedProbe(tag, probe, config.output_config)
        self._baselines: dict[str, float] | None = None
        self._noise_floor = math.nan
        self._target = target_of(probe, config)
        with forward_context.precision():
            self.computer = MapComputer(config, self._target, model, images)
            self._setup = set_up_probe(
                self.reading.adapter(model), images, probe, config, self._target, self.computer
            )
        self.evidence = self._no_evidence()
        self._collected = self.evidence  # with that of the latest evaluation
        self.metric_names = self._all_metric_names()
        self.rules = RuleSet(self._rules())
        self.rules.check(self.metric_names, self.missing_metric)
        possible = bool(self.evidence.found)
        self._exchanges = ProbeExchanges(probe, self.computer, config, possible)
        self.summary = start_message(
            tag, probe, config, self._setup, self.reading, origin, self.computer.sharing
        )

    # --- evaluating -------------------------------------------------------------------------------

    def evaluate(
        self, model: nn.Module, forward_context: ForwardContext, epoch: int, step: int
    ) -> Evaluation:
        """Compute the maps and everything that is measured on them.

        Remembers nothing but baselines and the noise floor: see `update_history`.

        Args:
            model: the network.
            forward_context: how it runs.
            epoch: the trainer's epoch.
            step: the step under which the scalars of this evaluation are logged.
        """
        self._collected = self.evidence  # an evaluation that was not remembered leaves none
        self.computer.update_sharing(unwrap(model))
        model, images = self._adapted(model), forward_context.to_model(self.probe.images)
        count, every = self.history.count, self.config.interventions_every
        exchanged = self._exchanges.due(count)
        due = DuePasses(
            untrained=self._baselines is None and self.probe.foreground is not None,
            noise_floor=noise_floor_due(count, every),
            exchanges=self._exchanges.plan(self.evidence, images, count) if exchanged else None,
        )
        with forward_context.precision():
            passes = run_passes(self.computer, model, images, self._setup.layers, due)
        result, answers = passes.result, passes.answers
        if self._difference is None:
            self._difference = self.output_check.difference(result.logits)
        if self._baselines is None:
            self._baselines = baselines_of(result, self.probe.foreground, passes.untrained)
        if passes.divergences is not None:
            self._noise_floor = float(passes.divergences.nanmean())
        measured = compute_metrics(self.probe, result, self.history)
        metrics = {**measured.metrics, **self._baselines}
        if every != 0:
            metrics |= drift_metrics(metrics, self._noise_floor)
        exchanges = due.exchanges
        if exchanges is None and self._exchanges.wanted_after_all(self.rules, metrics):
            with forward_context.precision():
                exchanges = self._exchanges.plan(self.evidence, images, count)
                answers = exchanges.answers_of_all(model) if exchanges else None
        evidence: dict[str, float] = {}
        if exchanges is not None and answers is not None:
            self._collected = exchanges.evidence_after(self.evidence, answers, result.logits)
            found = self._collected.metrics()
            if not result.logits.isfinite().any():  # what was known before is no news of this one
                found = dict.fromkeys(found, math.nan)
            metrics = {**metrics, **found}
            evidence = {name: value for name, value in found.items() if math.isfinite(value)}
        snapshot = Snapshot(
            index=self.history.count,
            epoch=epoch,
            step=step,
            maps=result.maps,
            rows=result.rows,
            classes=result.classes,
            predictions=measured.predictions,
            confidences=measured.confidences,
        )
        return Evaluation(
            snapshot=snapshot,
            metrics=metrics,
            per_image=measured.per_image,
            evidence=evidence,
            worst=worst_images(measured.per_image, result.rows, self.probe.ids),
            displayed=self._displayed,
        )

    def run_diagnostics(self, model: nn.Module, forward_context: ForwardContext) -> Diagnostics:
        """Run the passes that slow panels need, where some are due."""
        due = self.config.output_config.slow_panels_due(self.history.count)
        if not due:
            return Diagnostics()
        with forward_context.precision():
            return run_diagnostics(
                self._adapted(model),
                forward_context.to_model(self.probe.images),
                self.probe,
                self.config.output_config,
                self._setup.layers,
                due,
                self.computer.chunk_size,
                seed=self.config.seed,
            )

    def output_warning(self) -> str:
        """Return what the model said otherwise in its own validation, once; else an empty string.

        Every process must call it after its first evaluation.
        """
        if self.output_check.reported or self._difference is None:
            return ""
        self.output_check.reported = True
        found = self.computer.context.all_gather(lambda: self._difference)
        first = next(filter(None, found), "")
        return f"{self.tag}: {first}" if first else ""

    def failed_evaluation(self, epoch: int, step: int) -> Evaluation:
        """Return what stands for an evaluation that could not be made: all metrics are NaN."""
        metrics = dict.fromkeys(self.metric_names, math.nan)
        return Evaluation(Snapshot.empty(self.history.count, epoch, step), metrics)

    # --- remembering ------------------------------------------------------------------------------

    def judge(self, evaluation: Evaluation) -> Judgement:
        """Return what an evaluation means for the rules; changes nothing, see `update_history`."""
        rules = copy.deepcopy(self.rules)
        verdict = verdict_of(evaluation.evidence)
        alerts = tuple(
            Alert(
                probe=self.tag,
                metric=rule.metric,
                value=value,
                limit=limit,
                epoch=evaluation.epoch,
                step=evaluation.step,
                verdict=verdict,
                evidence=evaluation.evidence,
                attribute=self._collected.leading or "",
                cue=self._collected.cue,
                worst=evaluation.worst,
                estimated=self.probe.masks_estimated,
            )
            for rule, value, limit in rules.update(evaluation.metrics, verdict)
        )
        return Judgement(alerts, rules, self._exchanges.are_wanted(rules, self._collected))

    def update_history(
        self,
        evaluation: Evaluation,
        monitored_value: float | None,
        judged: Judgement | None = None,
    ) -> None:
        """Compare later evaluations with this one.

        Args:
            evaluation: what `evaluate` returned.
            monitored_value: says which evaluation was the best; see `History.settle_best`. Where it
                is NaN, the probability of the probe's labels does.
            judged: what `judge` returned; None where a rule failed.
        """
        confidence = evaluation.metrics.get("label_confidence", math.nan)
        self.history.add(evaluation.snapshot, monitored_value, fallback=confidence)
        self.evidence = self._collected
        if judged is not None:
            self.rules, self._exchanges.suspicious = judged.rules, judged.suspicious

    def renderer_of(self, evaluation: Evaluation) -> Callable[[], Sequence[Picture]]:
        """Return a function that draws an evaluation, later and in any thread."""
        past = self.history.past_of(evaluation.snapshot)
        return lambda: self._renderer.draw(
            evaluation.snapshot,
            past,
            per_image=evaluation.per_image,
            features=evaluation.diagnostics.features,
            activations=evaluation.diagnostics.activations,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs, as primitives and tensors."""
        return {
            "fingerprint": self.probe.fingerprint,
            "layers": list(self._setup.layers),
            "history": self.history.state_dict(),
            "rules": self.rules.state_dict(),
            "evidence": self.evidence.state_dict(),
            "baselines": self._baselines or {},
            "noise_floor": self._noise_floor,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> str:
        """Restore the state if it is of this probe; return why not, or an empty string.

        All of it or nothing; whatever the state holds, nothing is raised.
        """
        history, rules, evidence = History(), RuleSet(self.rules.rules), self._no_evidence()
        try:
            check_probe_state(state)
            if state["fingerprint"] != self.probe.fingerprint:
                return "the checkpoint's history is of another probe"
            if list(state["layers"]) != list(self._setup.layers):
                return f"the checkpoint's history is of layers {state['layers']}"
            history.load_state_dict(state["history"])
            history.check(self._setup.map_shapes, len(self.probe))
            rules.load_state_dict(state.get("rules", []))
            if "evidence" in state:
                evidence.load_state_dict(state["evidence"])
            baselines = {str(k): float(v) for k, v in state.get("baselines", {}).items()}
            noise_floor = float(state.get("noise_floor", math.nan))
        except Exception as error:  # noqa: BLE001 - a damaged file may hold anything
            return f"the checkpoint's history cannot be used ({type(error).__name__}: {error})"
        self.history, self.rules = history, rules
        self.evidence = self._collected = evidence
        self._baselines, self._noise_floor = baselines or None, noise_floor
        self._exchanges.suspicious = self._exchanges.are_wanted(rules, evidence)
        return ""

    # --- parts of an evaluation -------------------------------------------------------------------

    def _adapted(self, model: nn.Module) -> ModelAdapter:
        return self.reading.adapter(unwrap(model))

    def missing_metric(self, kind: str, name: str, prefix: str = "") -> str:
        """Return the message for a metric that this probe does not have; see `metric_names`."""
        known, has_logits = self.metric_names, self._setup.has_logits
        return missing_metric(kind, name, known, self.probe, has_logits=has_logits, prefix=prefix)

    def _rules(self) -> list[Any]:
        """Return the rules of this probe; of the default ones those that it can measure."""
        if self.config.alerts is not None:
            return [rule for rule in self.config.alerts if not rule.metric.startswith(GAP_PREFIX)]
        masks = self.probe.foreground is not None
        rules = default_rules(masks=masks, labels=bool(self.evidence.found))
        return [rule for rule in rules if rule.metric in self.metric_names]

    def _no_evidence(self) -> Evidence:
        attributes = attributes_of(self.probe, has_logits=self._setup.has_logits)
        return Evidence(attributes, self.config.alert_error_rate)

    def _all_metric_names(self) -> tuple[str, ...]:
        """Return the name of every metric that an evaluation may measure."""
        names = list(compute_metrics(self.probe, self._setup.first, self.history).metrics)
        names += self.evidence.metrics() if self.evidence.found else []
        names += ["noise_floor", *(f"drift_{reference}" for reference in REFERENCES)]
        if self.probe.foreground is not None:
            names += [name for each in metrics_of("mask") for name in each.logged_names]
        return tuple(dict.fromkeys(names))
