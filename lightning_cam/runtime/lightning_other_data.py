"""`OtherData`: what `trainer.validate` is given, where it is not the data of the probes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning_cam.runtime import lightning
from lightning_cam.runtime.distributed import DistributedContext
from lightning_cam.runtime.identity import same_fingerprints
from lightning_cam.runtime.lightning_evaluation import evaluate_once, set_probes

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

_WHAT = "the evaluation of other validation data"


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
        other = not lightning.is_fitting(trainer) and self._probes.is_of_other_data("val", trainer)
        if not DistributedContext.current().broadcast(other):
            return False
        self._is_here = True
        with monitor.errors.suppress(_WHAT):
            apart = self._sampled(trainer, module, monitor)
            # The same images may be in a data set that was made again.
            self._is_here = not same_fingerprints(apart.probes, monitor.probes)
            self._monitor = apart if self._is_here else None
        if self._monitor is not None:
            lightning.info(trainer, "lightning_cam: validates other data than the probe's, apart.")
        return self._is_here

    def _sampled(self, trainer: Trainer, module: LightningModule, monitor: Any) -> Any:
        """Return a monitor of the data's own probes."""
        apart = monitor.of_other_data(self._sources, monitor.config.tag)
        apart.scalars.required = monitor.scalars.required
        set_probes(trainer, module, apart, self._sample, self._sources)
        apart.setup(module, lightning.forward_context(trainer, module))
        return apart

    def evaluate(self, trainer: Trainer, module: LightningModule) -> bool:
        """Evaluate such data; return whether it was here."""
        if self._monitor is not None:
            monitor, self._monitor = self._monitor, None
            with monitor.errors.suppress(_WHAT):
                set_probes(trainer, module, monitor, self._sample, self._sources)
                evaluate_once(trainer, module, monitor)
        return self._is_here
