"""`OtherData`: what `trainer.validate` is given, where it is not the data of the probes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning_cam.runtime import lightning
from lightning_cam.runtime.distributed import DistributedContext
from lightning_cam.runtime.lightning_evaluation import evaluate, set_probes

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


class OtherData:
    """Evaluates the data that `trainer.validate` is given, where the probes are of other data.

    Apart from the probes of the training, which go on with their own: under the same names, but
    without what compares evaluations, since none of this data came before.

    Args:
        probes: the `TrainerProbes`, which know the data that was sampled.
        sources: of all probes, by name.
    """

    def __init__(self, probes: Any, sources: Mapping[str, Any]) -> None:
        self._probes, self._sources = probes, sources
        self._sample = partial(probes.sample, remember=False)
        self._is_here = False
        self._monitor: Any = None

    def begin(self, trainer: Trainer, module: LightningModule, monitor: Any) -> bool:
        """Return whether this is such data, and sample it then; every process must call it.

        Args:
            trainer: the trainer, at the start of a validation.
            module: its module.
            monitor: the `CAMMonitor` of the training.
        """
        self._is_here, self._monitor = False, None
        if lightning.is_fitting(trainer):
            return False
        other = self._probes.is_of_other_data("val", trainer)
        self._is_here = DistributedContext.current().broadcast(other)
        with monitor.errors.suppress("the evaluation of other validation data"):
            self._monitor = self._sampled(trainer, module, monitor) if self._is_here else None
        return self._is_here

    def _sampled(self, trainer: Trainer, module: LightningModule, monitor: Any) -> Any:
        """Return a monitor of the data; None where it is the probe's, in a data set made again."""
        apart = monitor.of_other_data(self._sources, monitor.config.tag)
        apart.scalars.required = monitor.scalars.required
        set_probes(trainer, module, apart, self._sample, self._sources)
        apart.setup(module, lightning.forward_context(trainer, module))
        found = {name: each.fingerprint for name, each in apart.probes.items()}
        known = {name: each.fingerprint for name, each in monitor.probes.items()}
        if found and found.items() <= known.items():
            self._is_here = False
            return None
        lightning.info(trainer, "lightning_cam: validates other data than the probe's, apart.")
        return apart

    def evaluate(self, trainer: Trainer, module: LightningModule) -> bool:
        """Evaluate such data; return whether it was here."""
        if self._monitor is not None:
            monitor, self._monitor = self._monitor, None
            with monitor.errors.suppress("the evaluation of other validation data"):
                set_probes(trainer, module, monitor, self._sample, self._sources)
                step = lightning.log_step(trainer)
                evaluate(trainer, module, monitor, step=step, update_history=False)
                monitor.close(report=False)
        return self._is_here
