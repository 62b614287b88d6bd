"""Inside a Lightning hook: sample probes, evaluate, and do what was asked for about alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning_cam.runtime import lightning
from lightning_cam.runtime.checks import OnAlert
from lightning_cam.runtime.distributed import DistributedContext

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


def set_probes(
    trainer: Trainer,
    module: LightningModule,
    monitor: Any,
    sample: Callable[..., Any],
    sources: Mapping[str, Any],
) -> None:
    """Set the probes of a monitor whose data is loaded; every process must call it.

    Args:
        trainer: the trainer.
        module: its module.
        monitor: a `CAMMonitor`.
        sample: `TrainerProbes.sample`.
        sources: of the probes, by name.
    """
    for name in monitor.probe_set.unset:
        work = partial(sample, sources[name], trainer, module, monitor.errors.warn_once)
        made = DistributedContext.current().run_on_all(work)
        if made is not None:
            monitor.set_probe(name, *made)


def evaluate(
    trainer: Trainer,
    module: LightningModule,
    monitor: Any,
    *,
    actions: Iterable[OnAlert] = (),
    progress_bar: str | None = None,
    step: int,
    **options: Any,
) -> None:
    """Evaluate and log; then do what was asked for about each alert.

    Args:
        trainer: the trainer.
        module: its module.
        monitor: a `CAMMonitor`.
        actions: what to do about alerts.
        progress_bar: a metric to show there, without the tag.
        step: under which scalars and images are logged.
        **options: further arguments of `CAMMonitor.evaluate`.
    """
    folder = lightning.agreed_log_dir(trainer, monitor.errors.warn_once)
    writes = not getattr(trainer, "fast_dev_run", False)
    monitor.log_dir, monitor.loggers = (folder, trainer.loggers) if writes else (None, ())
    bar, fitting = f"{monitor.config.tag}/{progress_bar}", lightning.is_fitting(trainer)
    log = partial(lightning.log_through_module, trainer, module, progress_bar=bar)
    if fitting:
        log = partial(lightning.log_to_loggers, trainer, monitor.errors, step)
    evaluations = monitor.evaluate(
        module,
        epoch=trainer.current_epoch,
        step=step,
        forward_context=lightning.forward_context(trainer, module),
        log_scalars=log,
        **options,
    )
    lightning.publish(trainer, monitor.scalars.latest)
    shown = {name: value for name, value in monitor.scalars.latest.items() if name == bar}
    if fitting:  # the loggers have it
        lightning.log_through_module(trainer, module, shown, progress_bar=bar, logger=False)
    for alert in [alert for each in evaluations.values() for alert in each.alerts]:
        for action in actions:
            act = partial(lightning.act_on_alert, trainer, module, alert, action, folder)
            with monitor.errors.suppress("the action of an alert"):
                DistributedContext.current().all_gather(act)


def evaluate_test(
    trainer: Trainer,
    module: LightningModule,
    monitor: Any,
    sample: Callable[..., Any],
    sources: Mapping[str, Any],
) -> None:
    """Evaluate probes of the test data under `<tag>/test`; a failure costs a warning.

    Apart from those of the training; see `set_probes`.
    """
    with monitor.errors.suppress("the evaluation of the test data"):
        tester = monitor.of_other_data(sources, f"{monitor.config.tag}/test")
        set_probes(trainer, module, tester, sample, sources)
        evaluate_once(trainer, module, tester)


def evaluate_once(trainer: Trainer, module: LightningModule, monitor: Any) -> None:
    """Evaluate probes that no training has, by a monitor of their own, and finish its images."""
    evaluate(trainer, module, monitor, step=lightning.log_step(trainer), update_history=False)
    monitor.close(report=False)
