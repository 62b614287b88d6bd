"""`ProbeSet`: the probes of a monitor, from their announcement to their restored state."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning_cam.monitor.evaluation import Evaluation, Snapshot
from lightning_cam.monitor.logged_metrics import LoggedMetrics
from lightning_cam.monitor.metric_names import metric_names_for
from lightning_cam.monitor.probe_gap import gap_of
from lightning_cam.monitor.probe_masks import ProbeMasks
from lightning_cam.monitor.probe_monitor import ProbeMonitor
from lightning_cam.monitor.probe_names import check_probe_names
from lightning_cam.monitor.state_check import check_probe_states, unusable
from lightning_cam.probe import Probe
from lightning_cam.runtime.chunking import is_out_of_memory
from lightning_cam.runtime.distributed import DistributedContext
from lightning_cam.runtime.identity import Identity
from lightning_cam.runtime.messages import unknown_name

if TYPE_CHECKING:
    from torch import nn

    from lightning_cam.monitor.alerts import Alert
    from lightning_cam.monitor.config import MonitorConfig
    from lightning_cam.monitor.rule_set import Judgement
    from lightning_cam.probe.origin import ProbeOrigin
    from lightning_cam.runtime.errors import ErrorPolicy
    from lightning_cam.runtime.forward_context import ForwardContext


class ProbeSet:
    """Probes by name. Each is announced, then set, then set up with a model.

    Args:
        names: of all probes.
        config: of the monitor.
        errors: what to do about exceptions.

    Attributes:
        monitors: of the probes that are set up, by name.
        gap: of two probes, else None.
        masks: that options give the probes.

    Raises:
        ValueError: a rule is about the gap of two probes, and there are not two; names of probes
            that cannot be part of a metric's name.
    """

    def __init__(self, names: Sequence[str], config: MonitorConfig, errors: ErrorPolicy) -> None:
        check_probe_names(names)
        self._config = config
        self._errors = errors
        self._probes: dict[str, Probe | None] = dict.fromkeys(names)
        self._origins: dict[str, ProbeOrigin | None] = {}
        self._restored: dict[str, Any] = {}  # of a checkpoint
        self._retired: dict[str, Any] = {}  # of the training before, in the same process
        self._model = Identity()
        self._judged: dict[str, Judgement] = {}  # by the last `evaluate`
        self._unsettled: list[str] = []  # probes whose last evaluation awaits `settle_best`
        self.monitors: dict[str, ProbeMonitor] = {}
        self.gap = gap_of(config.tag, names, config.alerts)
        self.masks = ProbeMasks(config)

    @property
    def unset(self) -> list[str]:
        """The names of probes that are only announced."""
        return [name for name, probe in self._probes.items() if probe is None]

    @property
    def is_set_up(self) -> bool:
        """Whether all probes are set up."""
        return len(self.monitors) == len(self._probes)

    def tag_of(self, name: str) -> str:
        """Return what the names of a probe's metrics start with."""
        return self._config.tag if len(self._probes) == 1 else f"{self._config.tag}/{name}"

    def set(self, name: str, probe: Probe, origin: ProbeOrigin | None = None) -> None:
        """Set a probe that was announced.

        Args:
            name: of the probe.
            probe: the images.
            origin: how it was made, for the start message.

        Raises:
            ValueError: a name that was not announced.
            TypeError: no `Probe`.
        """
        if name not in self._probes:
            raise ValueError(unknown_name("probe", name, self._probes))
        if not isinstance(probe, Probe):
            raise TypeError(f"expected probe {name!r} as a Probe, got a {type(probe).__name__}")
        self._probes[name], self._origins[name] = self.masks.add_to(name, probe, origin)

    @property
    def continues(self) -> bool:
        """Whether there is something to continue of the training before."""
        return bool(self._retired)

    def retire(self, model: nn.Module) -> None:
        """Announce all probes again; what they remember comes back with the same model and data."""
        same = self._model.is_of(model)
        self._retired = {n: m.state_dict() for n, m in self.monitors.items()} if same else {}
        self._restored = {}
        self._probes = dict.fromkeys(self._probes)
        self.monitors.clear()
        self._unsettled = []
        if self.gap is not None and not same:
            self.gap.rules.reset()

    @property
    def metrics(self) -> LoggedMetrics:
        """The metrics that will be logged, to check names that are wanted."""
        return LoggedMetrics(self._config, list(self._probes), self.monitors, self.gap)

    def set_up(self, model: nn.Module, forward_context: ForwardContext) -> list[str]:
        """Set up the probes that are set; return a summary of each that was set up now.

        Raises:
            ValueError: whatever of probe, model and configuration does not fit together.
        """
        if not self.unset and not self.is_set_up:
            # The probe of rank 0 counts, whatever shards the others sampled.
            problem = DistributedContext.current().broadcast(self.masks.problem())
            if problem:
                raise ValueError(problem)
        summaries = []
        for name, probe in self._probes.items():
            if probe is None or name in self.monitors:
                continue
            monitor = self._monitor_of(name, probe, model, forward_context)
            if monitor is not None:
                self.warn_about_memory(monitor)
                self.monitors[name], self._model = monitor, Identity(model)
                self._restore(name, monitor)
                summaries.append(monitor.summary)
        if summaries and self.gap is not None and len(self.monitors) == len(self._probes):
            names = {name: monitor.metric_names for name, monitor in self.monitors.items()}
            self.gap.rules.check(self.gap.metric_names(names))
        return summaries

    def _monitor_of(
        self, name: str, probe: Probe, model: nn.Module, forward_context: ForwardContext
    ) -> ProbeMonitor | None:
        """Return a probe's monitor, None where there is not enough memory for it now."""
        context = DistributedContext.current()
        probe = context.broadcast_if_different(probe, probe.fingerprint)  # sampled from a shard
        tag = self.tag_of(name)
        origin = self._origins.get(name)
        make = partial(ProbeMonitor, tag, probe, self._config, model, forward_context, origin)
        try:
            return context.run_on_all(make)
        except Exception as error:
            if not is_out_of_memory(error) or self._errors.strict:
                raise
            self._errors.handle(f"the setup of {tag}", error)
            return None

    def warn_about_memory(self, monitor: ProbeMonitor) -> None:
        """Warn, unless `strict`, where memory ran out and the chunk size was halved."""
        warning = monitor.computer.memory_warning()
        if warning and not self._errors.strict:
            self._errors.warn_once(warning)

    def evaluate(
        self,
        model: nn.Module,
        forward_context: ForwardContext,
        epoch: int,
        step: int,
        *,
        judge: bool = True,
    ) -> dict[str, Evaluation]:
        """Return the evaluation of each probe that is set; see `ProbeMonitor.evaluate`.

        With the metrics and alerts of rank 0. A failed one on all processes where it failed on any,
        and for a probe that could not be set up yet.

        Args:
            model: the network.
            forward_context: how it runs.
            epoch: of the training.
            step: under which the scalars are logged.
            judge: whether rules see it; then `update_history` must follow.
        """
        self._judged = {}
        return self.failed_evaluations(epoch, step) | {
            name: self._evaluate(name, model, forward_context, epoch, step, judge=judge)
            for name in self.monitors
        }

    def failed_evaluations(self, epoch: int, step: int) -> dict[str, Evaluation]:
        """Return what stands for the evaluations of probes that could not be set up yet.

        All metrics that the catalog has for such a probe are NaN, so that callbacks which monitor
        one of them find it.
        """
        return {
            name: Evaluation(
                Snapshot.empty(0, epoch, step), dict.fromkeys(metric_names_for(probe), math.nan)
            )
            for name, probe in self._probes.items()
            if probe is not None and name not in self.monitors
        }

    def _evaluate(
        self,
        name: str,
        model: nn.Module,
        forward_context: ForwardContext,
        epoch: int,
        step: int,
        *,
        judge: bool,
    ) -> Evaluation:
        monitor = self.monitors[name]

        def work() -> tuple[Evaluation, tuple[Mapping[str, float], Sequence[Alert], bool]]:
            evaluation = monitor.evaluate(model, forward_context, epoch, step)
            with self._errors.suppress("slow panels"):
                diagnostics = monitor.run_diagnostics(model, forward_context)
                evaluation = replace(evaluation, diagnostics=diagnostics)
            judged = None
            if judge:
                with self._errors.suppress("the alerts of an evaluation"):
                    judged = self._judged[name] = monitor.judge(evaluation)
            alerts, suspicious = (judged.alerts, judged.suspicious) if judged else ((), False)
            return evaluation, (evaluation.metrics, alerts, suspicious)

        evaluation = monitor.failed_evaluation(epoch, step)
        with self._errors.suppress("an evaluation"):
            done, shared = DistributedContext.current().run_and_share(work)
            # What follows from them may need every process, so all take those of rank 0.
            metrics, alerts, suspicious = shared
            evaluation = replace(done, metrics=metrics, alerts=tuple(alerts))
            if name in self._judged:
                self._judged[name] = replace(self._judged[name], suspicious=suspicious)
        monitor.computer.agreed &= not evaluation.failed
        self.warn_about_memory(monitor)
        with self._errors.suppress("the comparison with the model's own outputs"):
            if warning := monitor.output_warning():
                self._errors.warn_once(f"lightning_cam: {warning}")
        return evaluation

    def start_batch(self, model: nn.Module, batch: Any) -> None:
        """Begin to note what the model says of a validation batch; see `OutputCheck`."""
        for monitor in self.monitors.values():
            with self._errors.suppress("the comparison with the model's own outputs"):
                monitor.output_check.start_batch(model, batch)

    def end_batch(self) -> None:
        """End what `start_batch` began."""
        for monitor in self.monitors.values():
            monitor.output_check.end_batch()

    @property
    def rule_metrics(self) -> tuple[str, ...]:
        """The plain names of the metrics that rules are about."""
        sets = [monitor.rules for monitor in self.monitors.values()]
        sets += [self.gap.rules] if self.gap is not None else []
        rules = [rule for each in sets for rule in each.rules]
        return tuple(name for rule in rules for name in (rule.metric, rule.unit) if name)

    def metrics_to_log(
        self, evaluations: Mapping[str, Evaluation]
    ) -> Iterator[tuple[str, Mapping[str, float]]]:
        """Yield the tag and the metrics of each probe.

        After a failure none, so that the last values stay; where there are none yet, NaN, because a
        callback such as `EarlyStopping` that does not find its metric ends the run.
        """
        for name, evaluation in evaluations.items():
            known = name in self.monitors and self.monitors[name].history.count
            if not (evaluation.failed and known):
                yield self.tag_of(name), evaluation.metrics

    def update_history(
        self, evaluations: Mapping[str, Evaluation], monitored_value: float | None
    ) -> None:
        """Compare later evaluations with these.

        Args:
            evaluations: by probe, as `evaluate` returned them.
            monitored_value: see `CAMMonitor.evaluate`. That of rank 0 counts, whose metrics all
                processes take.
        """
        later = monitored_value is None
        self._unsettled = [n for n, each in evaluations.items() if later and not each.failed]
        for name, evaluation in evaluations.items():
            if not evaluation.failed:
                judged = self._judged.get(name)
                self.monitors[name].update_history(evaluation, monitored_value, judged)

    def settle_best(self, monitored_value: float) -> None:
        """Say how good the model was at the last evaluation; see `update_history`."""
        for name in self._unsettled:
            self.monitors[name].history.settle_best(monitored_value)
        self._unsettled = []

    def state_dict(self) -> dict[str, Any]:
        """Return what each probe and the gap remember."""
        probes = {name: monitor.state_dict() for name, monitor in self.monitors.items()}
        state: dict[str, Any] = {"probes": {**self._restored, **probes}}
        if self.gap is not None:
            state["gap"] = self.gap.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of each probe, as soon as it is set up.

        A damaged state is refused as a whole, by one warning. So is that of another probe or layer,
        and with it what the rules of the gap have seen; other probes are restored.
        """
        self._restored, self._retired = {}, {}
        try:
            check_probe_states(state)
        except Exception as error:  # noqa: BLE001 - a damaged file may hold anything
            self.start_afresh(unusable(error))
            return
        self._restored = dict(state["probes"])
        if self.gap is not None and state.get("gap") is not None:
            self.gap.load_state_dict(state["gap"])
        for name, monitor in self.monitors.items():
            self._restore(name, monitor)

    def _restore(self, name: str, monitor: ProbeMonitor) -> None:
        before, state = self._retired.pop(name, None), self._restored.pop(name, None)
        if state is not None:
            reason = monitor.load_state_dict(state)
            if reason:
                if self.gap is not None:
                    self.gap.rules.reset()
                self.start_afresh(reason)
        elif before is not None:
            other = monitor.load_state_dict(before)  # why it is another one: no reason to warn
            if other and self.gap is not None:
                self.gap.rules.reset()

    def start_afresh(self, reason: str) -> None:
        """Say why a state is not used, or raise ValueError where `strict`."""
        if self._errors.strict:
            raise ValueError(f"expected a checkpoint of this run, but {reason}")
        self._errors.warn_once(f"lightning_cam starts its history afresh: {reason}.")
