"""Inside a Lightning hook: sample probes, evaluate, and do what was asked for about alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning_cam.runtime import lightning
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
    actions: Iterable[lightning.OnAlert] = (),
    progress_bar: str | None = None,
    **options: Any,
) -> None:
    """Evaluate and log through the module; then do what was asked for about each alert.

    Args:
        trainer: the trainer.
        module: its module.
        monitor: a `CAMMonitor`.
        actions: what to do about alerts.
        progress_bar: a metric to show there, without the tag.
        **options: further arguments of `CAMMonitor.evaluate`.
    """
    folder = lightning.agreed_log_dir(trainer, monitor.errors.warn_once)
    writes = not getattr(trainer, "fast_dev_run", False)
    monitor.log_dir, monitor.loggers = (folder, trainer.loggers) if writes else (None, ())
    bar = f"{monitor.config.tag}/{progress_bar}"
    evaluations = monitor.evaluate(
        module,
        epoch=trainer.current_epoch,
        forward_context=lightning.forward_context(trainer, module),
        log_scalars=partial(lightning.log_scalars, trainer, module, progress_bar=bar),
        **options,
    )
    for alert in [alert for each in evaluations.values() for alert in each.alerts]:
        for action in actions:
            act = partial(lightning.act_on_alert, trainer, module, alert, action, folder)
            with monitor.errors.suppress("the action of an alert"):
                DistributedContext.current().all_gather(act)
