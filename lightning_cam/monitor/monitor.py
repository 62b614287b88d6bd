"""`CAMMonitor`: evaluate a model on fixed probes, remember, log, write. Knows no trainer."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from lightning_cam.explain.modules import unwrap
from lightning_cam.metrics.selection import MetricSelection
from lightning_cam.monitor.config import MonitorConfig
from lightning_cam.monitor.evaluation import Evaluation
from lightning_cam.monitor.metric_names import is_comparison
from lightning_cam.monitor.probe_outputs import probe_outputs
from lightning_cam.monitor.probe_set import ProbeSet
from lightning_cam.monitor.schedule import Schedule
from lightning_cam.monitor.state_check import check_state, unusable
from lightning_cam.output.run_files import run_folder
from lightning_cam.output.scalars import LogScalars, ScalarLog
from lightning_cam.output.writer import OutputWriter
from lightning_cam.runtime.distributed import DistributedContext
from lightning_cam.runtime.errors import ErrorPolicy
from lightning_cam.runtime.forward_context import ForwardContext

if TYPE_CHECKING:
    from typing_extensions import Self

    from lightning_cam.monitor.alerts import Alert
    from lightning_cam.monitor.history import History
    from lightning_cam.probe import Probe
    from lightning_cam.probe.origin import ProbeOrigin

_log = logging.getLogger("lightning_cam")


class CAMMonitor:
    """Monitors where a model looks, on the same images each time. Needs no trainer.

    Writes the record, `alerts.jsonl` and `report.html` into `log_dir`, images and scalars into
    `loggers`. `CAMCallback` is this class in a Lightning training.

    Args:
        probe: the images to evaluate, or several probes by name. A name with None announces a
            probe that is set later, by `set_probe`.
        log_dir: folder of the run; by default that of the first logger. Without either no files
            are written.
        loggers: Lightning loggers, such as `TensorBoardLogger`.
        strict: raise instead of warn where something fails.
        warn: takes a warning; by default `warnings.warn`.
        draw: whether images are drawn for loggers and files; the report shows maps anyway.
        config: all options at once, in place of `options`.
        **options: arguments of `CAMCallback` of the same names: `tag`, `method`, `layers`,
            `target`, `alerts`, `interventions_every`, `num_pictures`, `panels`, ..., all fields of
            `MonitorConfig` and `OutputConfig`.

    Attributes:
        config: all options.
        alerts: raised so far, oldest first.
        report: whether `report.html` is written, now and then and at the end.

    Raises:
        ValueError, TypeError: wrong arguments; what needs the model, at the first evaluation.

    Example:
        >>> import torch
        >>> from lightning_cam import CAMMonitor, Probe
        >>> net = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 8, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        ...     torch.nn.Linear(8, 5))
        >>> monitor = CAMMonitor(Probe(torch.rand(4, 3, 16, 16), [0, 1, 2, 3]), method="hirescam")
        >>> evaluation = monitor.evaluate(net, epoch=0)
        >>> evaluation.metrics["prediction_flips"], evaluation.alerts
        (0.0, ())
        >>> monitor.close()
    """

    def __init__(
        self,
        probe: Probe | Mapping[str, Probe | None],
        *,
        log_dir: str | Path | None = None,
        loggers: Sequence[Any] = (),
        strict: bool = False,
        warn: Callable[[str], None] | None = None,
        draw: bool = True,
        config: MonitorConfig | None = None,
        **options: Any,
    ) -> None:
        self.config = config = config or MonitorConfig.from_options(options)
        self.errors = ErrorPolicy(strict=strict, warn=warn)
        self.loggers = loggers
        self.log_dir = run_folder(log_dir, loggers)
        self.schedule = Schedule(self.config.every_n_validations, self.config.max_overhead)
        self.alerts: list[Alert] = []
        self.report = config.output_config.report
        self._draw = draw
        self._latest: list[Evaluation] = []
        self._compares = True
        self._single = not isinstance(probe, Mapping)
        given = dict(probe) if isinstance(probe, Mapping) else {"probe": probe}
        self.probe_set = ProbeSet(list(given), self.config, self.errors)
        self._monitors = self.probe_set.monitors
        self.scalars = ScalarLog(self.config.tag, MetricSelection(config.metrics), self.errors)
        # In place when strict: an error should be raised where it happens.
        self._writer = OutputWriter(self.config.tag, self.errors, background=not strict)
        for name, each in given.items():
            if each is not None:
                self.set_probe(name, each)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def probes(self) -> dict[str, Probe]:
        """The probes that are set up, by name."""
        return {name: monitor.probe for name, monitor in self._monitors.items()}

    @property
    def history(self) -> History | dict[str, History]:
        """What is remembered of earlier evaluations; by probe where several were given."""
        histories = {name: monitor.history for name, monitor in self._monitors.items()}
        return next(iter(histories.values())) if self._single and histories else histories

    def of_other_data(self, names: Iterable[str], tag: str) -> CAMMonitor:
        """Return a monitor of other probes under a tag, without history, drift and rules."""
        config = replace(self.config, tag=tag, alerts=(), max_overhead=None)
        warn, strict = self.errors.warn_once, self.errors.strict
        monitor = CAMMonitor(dict.fromkeys(names), strict=strict, warn=warn, config=config)
        monitor._compares = monitor.probe_set.masks.required = False
        return monitor

    def set_probe(self, name: str, probe: Probe, origin: ProbeOrigin | None = None) -> None:
        """Set a probe that was announced by name: see `ProbeSet.set`."""
        self.probe_set.set(name, probe, origin)

    def setup(self, model: nn.Module, forward_context: ForwardContext | None = None) -> list[str]:
        """Check the probes that are set against the model, by a small pass.

        `evaluate` does this where it was not done before. Every process must call it.

        Returns:
            A text per probe that was set up now: what was taken for what.

        Raises:
            ValueError: whatever of probe, model and options does not fit together.
        """
        lines = self.probe_set.set_up(model, forward_context or ForwardContext.of(model))
        if lines:
            self.probe_set.metrics.check_selection(self.scalars.selection)
        for monitor in self._monitors.values():
            if not monitor.history.count and self.scalars.forget(monitor.tag):
                self.schedule.validations = 0  # due now: the last values were of another probe
        return lines

    # --- evaluating -------------------------------------------------------------------------------

    def should_evaluate(self) -> bool:
        """Count a validation and return whether to evaluate at it; every process must call it."""
        budget = self.schedule.budget
        if not self.schedule.is_due():
            return False
        if budget.max_overhead is None:
            return True
        return DistributedContext.current().broadcast(budget.allows())  # one clock counts for all

    def evaluate(
        self,
        model: nn.Module,
        *,
        epoch: int | None = None,
        step: int | None = None,
        monitored_value: float | None = math.nan,
        forward_context: ForwardContext | None = None,
        log_scalars: LogScalars | None = None,
        update_history: bool = True,
    ) -> Any:
        """Evaluate all probes, log, record and draw. The model is left as it was found.

        Every process of a distributed training must call it; rank 0 writes.

        Args:
            model: the network, in whatever mode.
            epoch: of the training; by default the number of evaluations so far.
            step: under which scalars and images are logged; by default the epoch.
            monitored_value: how good the model is now, the higher the better; determines which
                evaluation is the best, for metrics that end in `_best`. By default the labels'
                probability; None where `settle_best` will say it.
            forward_context: device and precision; by default those of the model's parameters.
            log_scalars: takes the scalars that `metrics` selects, by full name; by default each
                logger's `log_metrics`.
            update_history: whether later evaluations are compared with this one.

        Returns:
            An `Evaluation`, or one per probe by name where several were given. After a failure all
            its metrics are NaN, and there was one warning.

        Raises:
            ValueError: at the first evaluation, whatever of probe, model and options does not fit
                together.
        """
        self.schedule.budget.begin()
        forward_context = forward_context or ForwardContext.of(model)
        for line in self.setup(model, forward_context):
            _log.info("lightning_cam: %s", line)
        if epoch is None:
            epoch = max((each.history.count for each in self._monitors.values()), default=0)
        step = epoch if step is None else step
        evaluations = self.probe_set.evaluate(
            model, forward_context, epoch, step, judge=update_history
        )
        if update_history:
            self.probe_set.update_history(evaluations, monitored_value)
        if self.probe_set.gap is not None:
            with self.errors.suppress("the gap of two probes"):
                evaluations = self.probe_set.gap.add_to(evaluations, update_rules=update_history)
        self.alerts += [alert for each in evaluations.values() for alert in each.alerts]
        self._latest = list(evaluations.values())
        # Scalars before files: a failure to write on rank 0 must not keep it from a collective.
        self.scalars.log(
            self._metrics_of(evaluations),
            step,
            self.loggers,
            log_scalars,
            of_rules=self.probe_set.rule_metrics,
            remember=update_history,
        )
        if DistributedContext.current().rank == 0 and (self.log_dir is not None or self.loggers):
            self._write(evaluations, step, forward_context, update_history)
        self.schedule.budget.end()
        return next(iter(evaluations.values())) if self._single and evaluations else evaluations

    def show(self) -> None:
        """Show the last evaluation, on rank 0: see `Evaluation.show`. A failure costs one warning.

        Raises:
            ValueError: nothing was evaluated yet.
        """
        if not self._latest:
            raise ValueError("expected an evaluation to show, got none yet: call evaluate(model)")
        for evaluation in self._latest if DistributedContext.current().rank == 0 else ():
            with self.errors.suppress("showing an evaluation"):
                evaluation.show()

    def start_batch(self, model: nn.Module, batch: Any) -> None:
        """Note what the model says of probe images in a batch; see `OutputCheck`."""
        self.probe_set.start_batch(unwrap(model), batch)

    def end_batch(self) -> None:
        """End what `start_batch` began."""
        self.probe_set.end_batch()

    def settle_best(self, monitored_value: float) -> None:
        """Say how good the model was at the last evaluation; every process must call it."""
        self.probe_set.settle_best(monitored_value)

    # --- logging and writing ----------------------------------------------------------------------

    def _metrics_of(
        self, evaluations: Mapping[str, Evaluation]
    ) -> Iterator[tuple[str, Mapping[str, float]]]:
        """Yield tags, and the metrics of each."""
        for tag, metrics in self.probe_set.metrics_to_log(evaluations):
            yield tag, {n: v for n, v in metrics.items() if self._compares or not is_comparison(n)}
        if self.config.max_overhead is not None:
            yield self.config.tag, {"overhead": self.schedule.budget.share}

    def _write(
        self,
        evaluations: Mapping[str, Evaluation],
        step: int,
        forward_context: ForwardContext,
        record: bool,
    ) -> None:
        alerts = [alert for each in evaluations.values() for alert in each.alerts]
        self._writer.write(
            self.log_dir,
            self.loggers,
            probe_outputs(self._monitors, evaluations, self.errors, forward_context),
            alerts,
            step,
            self.scalars.names,
            record=record,
            draw=self._draw,
            report=self.report,
        )

    def flush(self) -> None:
        """Hand images that were drawn beside the training to the loggers."""
        self._writer.flush()

    def close(self, *, report: bool | None = None) -> Path | None:
        """Finish all images and write `report.html`; return its path, None where there is none.

        The monitor may be used again afterwards.

        Args:
            report: whether to write the report; by default as the option `report` says.
        """
        with self.errors.suppress("the last images"):
            return self._writer.close(report=self.report if report is None else report)
        return None

    def begin_fit(self, model: nn.Module) -> None:
        """Prepare for another training: call it before `load_state_dict`, and set all probes again.

        Of the training before, what belongs to the same model, layers and probes is continued.
        """
        if not self._monitors:
            return
        self.probe_set.retire(model)
        if not self.probe_set.continues:
            self.schedule.validations = 0
            self.scalars.last = {}
            self.alerts.clear()

    def start_run(self) -> None:
        """Begin a new run: its files may be in another folder, and its time starts now."""
        self._writer.start_run()
        self.schedule.budget.start()

    # --- state ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the count of validations and what each probe remembers, for a checkpoint."""
        last = {"scalars": dict(self.scalars.last)} if self.scalars.last else {}
        return {"validations": self.schedule.validations, **last, **self.probe_set.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, for each probe as soon as it is set up.

        A damaged state, or one of another probe, costs one warning, and the history starts afresh.
        """
        self.schedule.validations = 0
        try:
            check_state(state_dict)
        except Exception as error:  # noqa: BLE001 - a damaged file may hold anything
            self.probe_set.start_afresh(unusable(error))
            return
        self.schedule.validations = state_dict["validations"]
        self.scalars.load_state_dict(state_dict.get("scalars"))
        self.probe_set.load_state_dict(state_dict)
