"""`CAMTrainerCallback`: the hooks of Hugging Face's `Trainer` mapped onto `CAMMonitor`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_cam.integrations.transformers_loggers import PREFIX, loggers_of
from lightning_cam.integrations.transformers_trainer import (
    act_on_alert,
    announce,
    call_with_keyword,
    calling_trainer,
    check_sharding,
    packed,
    prefix_of,
    prefixed,
    sample_probe,
    unpacked,
)
from lightning_cam.metrics.documentation import document_metrics
from lightning_cam.monitor import CAMMonitor
from lightning_cam.output.loggers import check_loggers
from lightning_cam.probe.probe import PROBE_SIZE
from lightning_cam.probe.sources import check_sources, sources_in
from lightning_cam.runtime.checks import OnAlert, check_alert_actions, check_count
from lightning_cam.runtime.distributed import DistributedContext
from lightning_cam.runtime.identity import same_fingerprints

if TYPE_CHECKING:
    from lightning_cam.monitor import Evaluation
    from lightning_cam.monitor.config import MonitorConfig
    from lightning_cam.output.scalars import LogScalars
    from lightning_cam.probe import Probe
    from lightning_cam.probe.sources import ProbeSource

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise ImportError(
        "CAMTrainerCallback needs transformers and accelerate: "
        "pip install 'lightning-cam[transformers]'"
    ) from error


@document_metrics
class CAMTrainerCallback(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
    """Monitors where the model looks, at every evaluation of a `Trainer`, on the same images.

    Scalars are logged by `Trainer.log` as `eval_cam/enrichment` and so on, hence to all of its
    loggers and to `trainer.state.log_history`. They are among the metrics of that evaluation too:
    `TrainingArguments(metric_for_best_model="cam/enrichment")` works, and `EarlyStoppingCallback`
    where it stands behind this one in the list. Between two evaluations the last values stand.
    Images and alerts go to TensorBoard, W&B and MLflow where the trainer reports to these, else to
    files; record, `alerts.jsonl` and `report.html` into `output_dir`. Checkpoints hold what is
    remembered, in `trainer_state.json`.

    With `eval_strategy="no"` it evaluates at the end of each epoch. Of several evaluation data sets
    the first is sampled. `trainer.evaluate()` outside of training evaluates too, and is no part of
    the history; other data that it is given is sampled anew, and its metrics start with the
    `metric_key_prefix` of the call.

    Args:
        probe: as in `CAMCallback`; `"val"` is the trainer's `eval_dataset`, `"train"` its
            `train_dataset`.
        mean, std: per channel, of the images' normalisation, where neither the data nor the
            trainer's image processor says.
        class_names: by index, where neither the data nor the model's `id2label` says.
        probe_size: number of images sampled where `probe` is not a `Probe`.
        on_alert: `"warn"`, `"stop"`, `"checkpoint"`, or a function `(alert, trainer, model)`; one
            or several.
        strict: raise instead of warn when something fails during training.
        **options: all other arguments of `CAMCallback` but `monitor` and `mode`, which
            `metric_for_best_model` takes the place of, and `progress_bar`. By default the model is
            called by the keyword `pixel_values`; `forward=` changes that.

    Raises:
        ValueError, TypeError: wrong arguments, here; what needs the model or the data, before the
            first training batch.

    {metrics}

    Example:
        >>> from lightning_cam import CAMTrainerCallback
        >>> callback = CAMTrainerCallback(method=["gradcam", "layercam"], on_alert="stop")
        >>> CAMTrainerCallback(methods="gradcam")
        Traceback (most recent call last):
        ...
        TypeError: unknown argument 'methods'. Did you mean 'method' ...
    """

    def __init__(
        self,
        probe: ProbeSource | Mapping[str, ProbeSource] | None = None,
        *,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        class_names: Sequence[str] | None = None,
        probe_size: int = PROBE_SIZE,
        on_alert: OnAlert | Sequence[OnAlert] = "warn",
        strict: bool = False,
        **options: Any,
    ) -> None:
        check_count("probe_size", probe_size)
        self._probe_size = probe_size
        self._known = {"mean": mean, "std": std, "class_names": class_names}
        self._actions = check_alert_actions(on_alert)
        self._sources = sources_in("fit", check_sources(probe))
        options["forward"] = options.get("forward") or call_with_keyword
        self._monitor = CAMMonitor(
            dict.fromkeys(self._sources), strict=strict, warn=_warn, **options
        )
        self._logged: dict[str, float] = {}  # scalars of the last evaluation, by full name
        self._last_step = -1  # of several evaluations at one step the first counts

    @property
    def config(self) -> MonitorConfig:
        """All options of the monitor."""
        return self._monitor.config

    @property
    def probes(self) -> dict[str, Probe]:
        """The probes that are evaluated, by name; empty before the training."""
        return self._monitor.probes

    @property
    def metrics(self) -> dict[str, float]:
        """All metrics of the latest evaluation by full name, such as `cam/enrichment`."""
        return dict(self._monitor.scalars.latest)

    @property
    def _state_key(self) -> str:
        """Key of the state in a checkpoint: several callbacks differ by their tag."""
        return f"lightning_cam/{self.config.tag}"

    # --- hooks ------------------------------------------------------------------------------------

    def on_train_begin(self, _args: Any, state: Any, *_: Any, **__: Any) -> None:
        """Sample the probes and check them against the model; restore what a checkpoint holds."""
        trainer = calling_trainer()
        check_sharding(trainer)
        loggers = loggers_of(trainer.callback_handler.callbacks)
        check_loggers(loggers, several_maps=self.config.has_several_maps)
        self._monitor.begin_fit(trainer.model)
        self._restore(state)
        self._monitor.start_run()
        self._last_step = -1
        announce(trainer, self._set_up_probes(trainer, self._monitor, self._sources))

    def on_evaluate(
        self,
        _args: Any,
        state: Any,
        control: Any,
        metrics: dict[str, float],
        eval_dataloader: Any = None,
        **_: Any,
    ) -> None:
        """Evaluate, log, write; add the scalars to the trainer's metrics."""
        trainer = calling_trainer()
        if not trainer.is_in_train:
            self._evaluate_outside(trainer, control, metrics, eval_dataloader)
            return
        if state.global_step != self._last_step:
            self._evaluate_in_training(trainer, control, metrics)
        metrics.update(self._scalars_to_show())

    def on_epoch_end(self, args: Any, _state: Any, control: Any, **_: Any) -> None:
        """Evaluate here where the trainer makes no evaluations."""
        if args.eval_strategy == "no":
            self._evaluate_in_training(calling_trainer(), control, {})

    def on_step_end(self, _args: Any, state: Any, *_: Any, **__: Any) -> None:
        """Log the images that were drawn beside the last batches."""
        if state.is_world_process_zero:
            self._monitor.flush()

    def on_train_end(self, _args: Any, state: Any, *_: Any, **__: Any) -> None:
        """Finish the last images and write the report."""
        self._close(state, self._monitor)

    # --- before the first batch -------------------------------------------------------------------

    def _set_up_probes(
        self, trainer: Any, monitor: CAMMonitor, sources: Mapping[str, Any]
    ) -> list[str]:
        """Set the probes that a monitor lacks; return what was taken for what."""
        size, seed = self._probe_size, self.config.seed
        for name in monitor.probe_set.unset:
            work = partial(sample_probe, trainer, sources[name], size, seed, self._known)
            monitor.set_probe(name, *DistributedContext.current().run_on_all(work))
        lines = monitor.setup(trainer.model)
        monitor.scalars.required = self._required(trainer)
        return lines

    def _required(self, trainer: Any) -> set[str]:
        """Return what `metric_for_best_model` names of this callback's metrics, by full name.

        Raises:
            ValueError: there is no such metric.
        """
        best = str(trainer.args.metric_for_best_model or "").removeprefix(f"{PREFIX}_")
        callbacks = trainer.callback_handler.callbacks
        tags = [each.config.tag for each in callbacks if isinstance(each, CAMTrainerCallback)]
        matching = [each for each in tags if best.startswith(f"{each}/")]
        if max(matching, key=len, default="") != self.config.tag:  # `cam/b` may be another one's
            return set()
        tag = f"{self.config.tag}/"
        metrics = self._monitor.probe_set.metrics
        message = metrics.missing("metric_for_best_model", best.removeprefix(tag), tag)
        if message:
            raise ValueError(message)
        return {best}

    def _restore(self, state: Any) -> None:
        kept = (state.stateful_callbacks or {}).get(self._state_key)
        if kept is not None:
            with self._monitor.errors.suppress("what a checkpoint remembers"):
                self._monitor.load_state_dict(unpacked(kept))

    # --- at an evaluation -------------------------------------------------------------------------

    def _evaluate_in_training(
        self, trainer: Any, control: Any, metrics: Mapping[str, float]
    ) -> None:
        state, self._last_step = trainer.state, trainer.state.global_step
        if not self._monitor.should_evaluate():
            return
        with self._monitor.errors.suppress("an evaluation"):
            log = partial(self._log, trainer)
            self._evaluate(trainer, control, self._monitor, log, update_history=True)
            self._monitor.settle_best(self._monitored(trainer.args, metrics))
            # Not in a file: hooks are not told which folder a training is resumed from.
            state.stateful_callbacks[self._state_key] = packed(self._monitor.state_dict())

    def _evaluate_outside(
        self, trainer: Any, control: Any, metrics: dict[str, float], loader: Any
    ) -> None:
        """Evaluate what `trainer.evaluate` was given, apart where it is not the probes' data."""
        own, monitor = self._monitor, None
        given = {
            name: each if each != "val" or loader is None else loader
            for name, each in self._sources.items()
        }
        if own.probe_set.unset:  # no training is there that an error could end
            announce(trainer, self._set_up_probes(trainer, own, given))
            monitor = own
        with own.errors.suppress("the evaluation of other data"):
            monitor = monitor or self._monitor_of(trainer, given)
        if monitor is None:
            return
        log = partial(self._log, trainer)
        if monitor is not own:
            log = partial(self._log_apart, trainer, metrics)
        with own.errors.suppress("an evaluation"):
            self._evaluate(trainer, control, monitor, log, update_history=False)
            self._close(trainer.state, monitor, report=False)
        if monitor is own:
            metrics.update(self._scalars_to_show())

    def _monitor_of(self, trainer: Any, sources: Mapping[str, Any]) -> CAMMonitor:
        """Return the training's monitor where it has the probes of some data, else another one."""
        if sources == self._sources:
            return self._monitor
        other = self._monitor.of_other_data(sources, self.config.tag)
        lines = self._set_up_probes(trainer, other, sources)
        same = same_fingerprints(other.probes, self._monitor.probes)
        if DistributedContext.current().broadcast(same):
            return self._monitor
        announce(trainer, lines)
        return other

    def _evaluate(
        self,
        trainer: Any,
        control: Any,
        monitor: CAMMonitor,
        log_scalars: LogScalars,
        *,
        update_history: bool,
    ) -> None:
        state = trainer.state
        monitor.log_dir = Path(trainer.args.output_dir)
        monitor.loggers = loggers_of(trainer.callback_handler.callbacks)
        evaluations: dict[str, Evaluation] = monitor.evaluate(
            trainer.model,
            epoch=int(state.epoch or 0),
            step=state.global_step,
            monitored_value=None,
            log_scalars=log_scalars,
            update_history=update_history,
        )
        warn = _warn if state.is_world_process_zero else _ignore
        for alert in [alert for each in evaluations.values() for alert in each.alerts]:
            for action in self._actions:
                act = partial(act_on_alert, alert, action, trainer, control, warn)
                with monitor.errors.suppress("the action of an alert"):
                    DistributedContext.current().all_gather(act)

    def _log(self, trainer: Any, scalars: Mapping[str, float]) -> None:
        if scalars:
            self._logged = dict(scalars)
            self._send(trainer, prefixed(scalars))

    def _log_apart(
        self, trainer: Any, metrics: dict[str, float], scalars: Mapping[str, float]
    ) -> None:
        """Log scalars of other data under the prefix that its own metrics have, and add them."""
        found = prefixed(scalars, prefix_of(metrics))
        metrics.update(found)
        self._send(trainer, found)

    def _send(self, trainer: Any, named: dict[str, float]) -> None:
        with self._monitor.errors.suppress("scalars in a logger"):
            trainer.log(named)

    def _scalars_to_show(self) -> dict[str, float]:
        """Return the scalars among the trainer's metrics.

        What `metric_for_best_model` names is always there: the trainer raises where it is not.
        """
        scalars = self._monitor.scalars
        required = {name: scalars.last.get(name, math.nan) for name in scalars.required}
        return prefixed({**required, **self._logged})

    def _monitored(self, args: Any, metrics: Mapping[str, float]) -> float:
        """Return what `metric_for_best_model` says of this evaluation, the higher the better."""
        name = str(args.metric_for_best_model or "").removeprefix(f"{PREFIX}_")
        value = self._monitor.scalars.latest.get(name, metrics.get(f"{PREFIX}_{name}", math.nan))
        return value if args.greater_is_better else -value

    def _close(self, state: Any, monitor: CAMMonitor, *, report: bool | None = None) -> None:
        if not state.is_world_process_zero:
            return
        monitor.close(report=report)
        for logger in monitor.loggers:
            with monitor.errors.suppress("the end of a logger"):
                logger.finish()


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=2)


def _ignore(_message: str) -> None:
    """Take the place of a warning on processes other than the first."""
