"""Metrics that Lightning's callbacks and schedulers monitor, and the one that says what is best."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from lightning_cam.runtime.checks import check_type
from lightning_cam.runtime.messages import unknown_name

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from lightning_cam.runtime.errors import ErrorPolicy

# Of two names, from which one is a misspelling of the other: `val_los` and `val_loss`, but not
# `train_loss` and `val_loss`.
_MISSPELT = 0.85
_IN_TEMPLATE = re.compile(r"\{([^{}:]+)")  # names in `{epoch}-{cam/enrichment:.2f}`


class Monitored(NamedTuple):
    """A metric that a callback or a scheduler reads.

    Attributes:
        by: the class that reads it.
        name: of the metric.
        needed: whether it cannot do without.
    """

    by: str
    name: str
    needed: bool


def monitored_metrics(trainer: Trainer, tag: str) -> list[Monitored]:
    """Return the metrics of a tag that callbacks and schedulers of the fit read.

    Args:
        trainer: the trainer; only in `fit` these are read.
        tag: of a `CAMCallback`. What another one with a longer tag logs is left out.
    """
    if trainer.state.fn is None or trainer.state.fn.value != "fit":
        return []
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    tags = {str(getattr(getattr(each, "config", None), "tag", "")) for each in callbacks}
    others = tuple(f"{other}/" for other in tags if other.startswith(f"{tag}/"))
    return [
        each
        for each in _read_by(trainer, callbacks)
        if each.name.startswith(f"{tag}/") and not each.name.startswith(others)
    ]


def require_metrics(trainer: Trainer, monitor: Any, progress_bar: str | None) -> None:
    """Check the metrics that the trainer needs by name, and have them logged.

    Args:
        trainer: the trainer.
        monitor: a `CAMMonitor`.
        progress_bar: a metric to show there, without the tag.

    Raises:
        ValueError: see `LoggedMetrics.check_names`.
    """
    tag = monitor.config.tag
    monitored = monitored_metrics(trainer, tag)
    monitor.probe_set.metrics.check_names(progress_bar, monitored, monitor.errors)
    bar = [f"{tag}/{progress_bar}"] if progress_bar else []
    monitor.scalars.required = {*bar, *(each.name for each in monitored)}


def _read_by(trainer: Trainer, callbacks: Iterable[object]) -> Iterator[Monitored]:
    for callback in callbacks:
        name = getattr(callback, "monitor", None)
        if isinstance(name, str):
            yield Monitored(type(callback).__name__, name, bool(getattr(callback, "strict", True)))
        for name in _IN_TEMPLATE.findall(str(getattr(callback, "filename", None) or "")):
            # Of a metric that is not there Lightning writes 0 into the name.
            yield Monitored(f"{type(callback).__name__}(filename=)", name, needed=True)
    for config in trainer.lr_scheduler_configs:
        if config.reduce_on_plateau and config.monitor:
            yield Monitored(type(config.scheduler).__name__, config.monitor, config.strict)


def restore_metrics(trainer: Trainer, scalars: Mapping[str, float]) -> None:
    """Put the last values of scalars where callbacks read them, and not into loggers again.

    Lightning keeps a value until the next one is logged, but not over a resume.

    Args:
        trainer: the trainer.
        scalars: by full name. Those that have a value keep it.
    """
    metrics = trainer.callback_metrics
    for name, value in scalars.items():
        if name not in metrics:
            metrics[name] = torch.tensor(value, device=trainer.strategy.root_device)


class BestMetric:
    """The trainer's metric that says which evaluation was the best.

    Args:
        name: of the metric; None for what the trainer's own callbacks monitor.
        mode: whether the smallest (`min`) or the largest (`max`) is the best.
        tag: of the `CAMCallback`, whose own metrics messages leave out.

    Raises:
        ValueError: another mode.
        TypeError: no name.
    """

    def __init__(self, name: str | None, mode: str, tag: str) -> None:
        check_type("monitor", name or "", str)
        if mode not in ("min", "max"):
            raise ValueError(f"expected mode 'min' or 'max', got {mode!r}")
        self._given = (name, mode) if name else None
        self._tag = tag
        self._first_epoch = 0
        self._pending = False

    def start(self, trainer: Trainer) -> None:
        """Take note of the epoch that the training begins in."""
        self._first_epoch = trainer.current_epoch

    def value_at_evaluation(self, trainer: Trainer) -> float | None:
        """Return NaN where there is no such metric, None where `settle` says its value.

        The module may log it after the hook that evaluates.
        """
        self._pending = bool(self._given or _monitored(trainer))
        return None if self._pending else math.nan

    def settle(self, trainer: Trainer, monitor: Any, *, at_end: bool = False) -> None:
        """Tell a `CAMMonitor` the value at the last evaluation, where that is still open.

        Args:
            trainer: the trainer, at the end of a validation.
            monitor: the `CAMMonitor`.
            at_end: whether this is the end of the training.

        Raises:
            ValueError: see `_check`.
        """
        self._check(trainer, monitor.errors, at_end=at_end)
        pending, self._pending = self._pending, False
        if pending:
            monitor.settle_best(self._value(trainer))

    def _value(self, trainer: Trainer) -> float:
        """Return the value, the higher the better; NaN where it is not logged."""
        name, mode = self._given or _monitored(trainer) or ("", "min")
        if name not in trainer.callback_metrics:
            return math.nan
        value = float(trainer.callback_metrics[name])
        return -value if mode == "min" else value

    def _check(self, trainer: Trainer, errors: ErrorPolicy, *, at_end: bool) -> None:
        """Warn where the metric that the user gave is not logged.

        Metrics of the training are logged at the end of the first epoch, so before that a missing
        one is no error, unless it is a misspelling of another one.

        Raises:
            ValueError: it is a misspelling of another metric, and the training has not begun.
        """
        known = trainer.callback_metrics
        if self._given is None or self._given[0] in known:
            return
        name, own = self._given[0], f"{self._tag}/"
        names = [each for each in known if name.startswith(own) or not each.startswith(own)]
        message = unknown_name("metric in CAMCallback(monitor=...)", name, names)
        if trainer.sanity_checking:
            if difflib.get_close_matches(name, names, n=1, cutoff=_MISSPELT):
                raise ValueError(message)
        elif at_end or trainer.current_epoch > self._first_epoch:
            errors.warn_once(message, kind="monitor")


def _monitored(trainer: Trainer) -> tuple[str, str] | None:
    """Return metric and mode by which the trainer's own callbacks tell better from worse."""
    for callback in (*trainer.checkpoint_callbacks, *trainer.early_stopping_callbacks):
        monitor, mode = getattr(callback, "monitor", None), getattr(callback, "mode", "min")
        if monitor:
            return str(monitor), str(mode)
    return None
