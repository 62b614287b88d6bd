"""`TrainerProbes`: the probes that are sampled of a trainer's own data, as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lightning_cam.probe.build import ProbeContext
from lightning_cam.probe.columns import count_of
from lightning_cam.probe.origin import ProbeOrigin
from lightning_cam.probe.probe import Probe
from lightning_cam.probe.sampling import (
    ENOUGH,
    can_be_sampled,
    loaders_in,
    sample_batches,
    sample_loader,
    sample_source,
)
from lightning_cam.runtime.batch_hooks import feed_of
from lightning_cam.runtime.checks import check_count
from lightning_cam.runtime.containers import map_tensors
from lightning_cam.runtime.identity import Identity

if TYPE_CHECKING:
    from lightning_cam.probe.sources import ProbeSource

_LOADERS = {"train": "train_dataloader", "val": "val_dataloaders", "test": "test_dataloaders"}
_SPLITS = {"train": "training", "val": "validation", "test": "test"}


class TrainerProbes:
    """Samples probes, those of the trainer's data as soon as it is loaded.

    A `DataLoader` is read beside the training, in a worker process: see `read_in_worker`. Of any
    other loader, whose iteration may do anything, the batches of the first validation are taken as
    they reach the model.

    Args:
        size: number of images of each.
        seed: of their choice.
        **known: arguments of `Probe` in place of what the data says; None for none.
    """

    def __init__(self, size: int, seed: int, **known: Any) -> None:
        check_count("probe_size", size)
        self._size, self._seed, self._known = size, seed, known
        self._collected: list[Any] | None = None  # None while no loader needs it
        self._sampled: dict[str, Identity] = {}  # the data set that a split's probe is of

    def sample(
        self,
        source: ProbeSource,
        trainer: Any,
        module: Any,
        warn_once: Callable[[str], None],
        *,
        remember: bool = True,
    ) -> tuple[Probe, ProbeOrigin] | None:
        """Return a probe and how it was made, None while its data is not there.

        Args:
            source: of the probe.
            trainer: the trainer.
            module: its module, whose batch hooks the samples pass.
            warn_once: takes a warning.
            remember: whether it becomes the data that `is_of_other_data` compares with.

        Raises:
            ValueError: the data holds no images.
            Exception: whatever the data set raises.
        """
        known = {name: value for name, value in self._known.items() if value is not None}
        if isinstance(source, Probe):
            return source.replaced(**known) if known else source, ProbeOrigin()
        datamodule = getattr(trainer, "datamodule", None)
        feed = feed_of(trainer, module, warn_once)
        context = ProbeContext.of(module, datamodule, feed=feed, known=known)
        if not isinstance(source, str):
            made = sample_source(source, self._size, self._seed, context)
            return Probe(**made.values), made.origin
        loaders = getattr(trainer, _LOADERS[source])
        if loaders is None:
            return None
        if remember:
            self._sampled[source] = Identity(_data_of(source, trainer))
        return self._of_split(source, loaders_in(loaders), trainer, context)

    def is_of_other_data(self, split: str, trainer: Any) -> bool:
        """Return whether a split's data set is another object than the one that was sampled."""
        known, data = self._sampled.get(split), _data_of(split, trainer)
        return known is not None and data is not None and not known.is_of(data)

    def _of_split(
        self, split: str, loaders: list[Any], trainer: Any, context: ProbeContext
    ) -> tuple[Probe, ProbeOrigin] | None:
        if not loaders:
            raise ValueError(
                f"expected {_SPLITS[split]} data to choose a probe from, got an empty list of "
                "loaders. Give CAMCallback(probe=Probe(images, targets)), or a data set."
            )
        loader = loaders[0]
        together = split == "val" and _come_together(trainer)
        if can_be_sampled(loader) and not together:
            made = sample_loader(loader, self._size, self._seed, context)
        elif split != "val":
            raise ValueError(
                f"expected the {_SPLITS[split]} data as a torch DataLoader, which can be read "
                f"beside the training, got a {type(loader).__name__}. Give "
                "CAMCallback(probe=Probe(images, targets)), or a data set."
            )
        elif self._collected:
            batches, self._collected = self._collected, None
            holders = [getattr(loader, "dataset", None), *context.holders]
            collected = replace(context, feed=None, holders=holders)  # they passed the hooks
            made = sample_batches(batches, self._size, collected)
        else:
            self._collected = []
            return None
        facts = {"images": f"{_SPLITS[split]} data, {made.origin.facts['images']}"}
        if len(loaders) > 1:
            rest = "loader 2" if len(loaders) == 2 else f"loaders 2 to {len(loaders)}"  # noqa: PLR2004
            facts["not monitored"] = f"{rest} of the {_SPLITS[split]} data"
        return Probe(**made.values), made.origin.with_facts(facts)

    def collect(self, batch: Any, dataloader_idx: int) -> None:
        """Keep a validation batch as the model is fed it, where a probe is made of these."""
        if self._collected is None or dataloader_idx:
            return
        if sum(map(count_of, self._collected)) < ENOUGH:
            copy = map_tensors(batch, lambda _, tensor: tensor.detach().cpu().clone())
            self._collected.append(copy)


def _data_of(split: str, trainer: Any) -> object | None:
    """Return the data set of a split's first loader, or a loader that has none; None without."""
    loaders = getattr(trainer, _LOADERS[split])
    if loaders is None or not (found := loaders_in(loaders)):
        return None
    data: object | None = getattr(found[0], "dataset", None)
    return found[0] if data is None else data


def _come_together(trainer: Any) -> bool:
    """Return whether a validation batch holds those of several loaders, which hooks expect so."""
    loops = (trainer.fit_loop.epoch_loop.val_loop, trainer.validate_loop)
    combined = [getattr(loop, "_combined_loader", None) for loop in loops]
    modes = [getattr(each, "_mode", "sequential") for each in combined if each is not None]
    return any(mode != "sequential" for mode in modes)
