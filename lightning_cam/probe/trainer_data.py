"""`TrainerProbes`: the probes that are sampled of a trainer's own data, as soon as it is there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lightning_cam.probe.build import SampledProbe
from lightning_cam.probe.reading import count_of
from lightning_cam.probe.sources import (
    ENOUGH,
    can_be_sampled,
    loaders_in,
    sample_batches,
    sample_source,
)
from lightning_cam.runtime.batch_hooks import feed_of
from lightning_cam.runtime.containers import map_tensors

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from lightning_cam.probe.sources import ProbeSource

_SPLITS = {"train": "training", "val": "validation"}


class TrainerProbes:
    """Samples probes by name, those of the trainer's data as soon as it is loaded.

    A `DataLoader` is read beside the training, in a worker process: see `read_in_worker`. Of any
    other loader, whose iteration may do anything, the batches of the first validation are taken as
    they reach the model.

    Args:
        sources: of the probes, by name.
        size: number of images of each.
        seed: of their choice.
        known: arguments of `Probe` in place of what the data says; None for none.
    """

    def __init__(
        self, sources: Mapping[str, ProbeSource], size: int, seed: int, known: Mapping[str, Any]
    ) -> None:
        self._sources = sources
        self._size, self._seed, self._known = size, seed, known
        self._collected: list[Any] | None = None  # None while no loader needs it

    @property
    def needs_validation_data(self) -> bool:
        """Whether a probe is sampled from the validation data."""
        return any(isinstance(each, str) and each == "val" for each in self._sources.values())

    def sample(
        self,
        name: str,
        trainer: Trainer,
        module: LightningModule,
        warn_once: Callable[[str], None],
    ) -> SampledProbe | None:
        """Return a probe, None while its data is not there.

        Args:
            name: of the probe.
            trainer: the trainer.
            module: its module, whose batch hooks the samples pass.
            warn_once: takes a warning.

        Raises:
            ValueError: the data holds no images.
            Exception: whatever the data set raises.
        """
        source = self._sources[name]
        split = source if isinstance(source, str) else None
        loaders: list[Any] = []
        if split is not None:
            found = trainer.train_dataloader if split == "train" else trainer.val_dataloaders
            if found is None:
                return None
            loaders = loaders_in(found)
            source = loaders[0]
        datamodule = getattr(trainer, "datamodule", None)
        arguments: dict[str, Any] = {
            "holders": [datamodule, module, *module.children()],
            "known": self._known,
        }
        if split is not None and not can_be_sampled(source):
            made = self._of_collected(split, arguments)
        else:
            limit = _max_batches(trainer, source) if split == "val" else None
            feed = feed_of(trainer, module, warn_once)
            made = sample_source(
                source, self._size, self._seed, max_batches=limit, feed=feed, **arguments
            )
        return None if made is None else _with_facts(made, split, loaders)

    def collect(self, batch: Any, dataloader_idx: int) -> None:
        """Keep a validation batch as the model is fed it, where a probe is made of these."""
        if self._collected is None or dataloader_idx:
            return
        if sum(map(count_of, self._collected)) < ENOUGH:
            copy = map_tensors(batch, lambda _, tensor: tensor.detach().cpu().clone())
            self._collected.append(copy)

    def _of_collected(self, split: str, arguments: Mapping[str, Any]) -> SampledProbe | None:
        if split != "val":
            raise ValueError(
                f"expected the {_SPLITS[split]} data as a torch DataLoader, which can be read "
                "beside the training, got a loader of another kind. Give "
                "CAMCallback(probe=Probe(images, targets)), or a data set."
            )
        if not self._collected:
            self._collected = []
            return None
        batches, self._collected = self._collected, None
        return sample_batches(batches, self._size, self._seed, **arguments)


def _max_batches(trainer: Trainer, loader: Any) -> int | None:
    """Return how many batches of the first validation loader are used, None for all."""
    counts = trainer.num_val_batches
    count = counts[0] if isinstance(counts, list) and counts else counts
    if not isinstance(count, (int, float)) or not math.isfinite(count) or not count:
        return None
    try:
        return int(count) if count < len(loader) else None
    except TypeError:  # a stream
        return None


def _with_facts(made: SampledProbe, split: str | None, loaders: list[Any]) -> SampledProbe:
    facts = dict(made.facts)
    if split is not None:
        facts["images"] = f"{_SPLITS[split]} data, {facts['images']}"
    if len(loaders) > 1:
        rest = "loader 2" if len(loaders) == 2 else f"loaders 2 to {len(loaders)}"  # noqa: PLR2004
        facts["not monitored"] = f"{rest} of the {_SPLITS[split or 'val']} data"
    return replace(made, facts=facts)
