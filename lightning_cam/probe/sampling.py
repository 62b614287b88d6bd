"""`sample_loader`: the arguments of a probe of a dataloader's, a data set's or batches' samples."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from lightning_cam.probe.build import ProbeArguments, ProbeContext, probe_arguments
from lightning_cam.probe.columns import Items, count_of
from lightning_cam.probe.sample_reader import EMPTY, choose_of_batches
from lightning_cam.probe.worker import read_in_worker
from lightning_cam.runtime.generators import preserve_generators
from lightning_cam.runtime.messages import describe
from lightning_cam.runtime.model_state import isolated_rng

ENOUGH = 128  # samples of batches among which the probe's are chosen


def is_dataloader(source: Any) -> bool:
    """Return whether a source is a dataloader of whatever kind, rather than a data set."""
    return isinstance(source, DataLoader) or (
        hasattr(source, "dataset") and hasattr(source, "collate_fn")
    )


def can_be_sampled(loader: Any) -> bool:
    """Return whether a loader's data set can be read as the loader does, without iterating it.

    A class of the user's own may do anything in its `__iter__`, such as normalise on the GPU.
    """
    return isinstance(loader, DataLoader) and type(loader).__iter__ is DataLoader.__iter__


def first_loader(loaders: Any) -> Any:
    """Return the first dataloader of a loader, a list, a dict or a `CombinedLoader`."""
    several = loaders_in(loaders)
    if not several:
        raise ValueError("expected at least one dataloader, got none")
    return several[0]


def loader_of(datamodule: Any, split: str) -> Any:
    """Return the first dataloader of a datamodule's `train`, `val`, `test` or `predict` data.

    Raises:
        ValueError: another split.
    """
    if split not in ("train", "val", "test", "predict"):
        raise ValueError(f"expected split 'train', 'val', 'test' or 'predict', got {split!r}")
    with isolated_rng(), preserve_generators(datamodule):
        return first_loader(getattr(datamodule, f"{split}_dataloader")())


def loaders_in(loaders: Any) -> list[Any]:
    """Return all dataloaders of a loader, a list, a dict or a `CombinedLoader`."""
    if hasattr(loaders, "iterables"):
        loaders = loaders.iterables
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    if isinstance(loaders, Sequence) and not isinstance(loaders, str):
        return [loader for each in loaders for loader in loaders_in(each)]
    return [loaders]


# --- sampling ------------------------------------------------------------------------------------


def sample_source(
    source: Any, size: int, seed: int, context: ProbeContext | None = None
) -> ProbeArguments:
    """Return the arguments of a probe of a dataloader's or a dataset's samples."""
    sample = sample_loader if is_dataloader(source) else sample_dataset
    return sample(source, size, seed, context)


def sample_dataset(
    dataset: Any, size: int, seed: int, context: ProbeContext | None = None
) -> ProbeArguments:
    """Return the arguments of a probe of a dataset's samples; see `sample_loader`."""
    if not isinstance(dataset, IterableDataset) and not hasattr(dataset, "__len__"):
        dataset = _Stream(dataset)
    if hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__") and not len(dataset):
        raise ValueError(EMPTY)
    loader: Any = DataLoader(dataset, batch_size=max(1, size), collate_fn=Items)
    return sample_loader(loader, size, seed, context)


def sample_loader(
    loader: Any, size: int, seed: int, context: ProbeContext | None = None
) -> ProbeArguments:
    """Return the arguments of a probe of `size` samples of a dataloader.

    Args:
        loader: a dataloader.
        size: largest number of samples.
        seed: of their choice.
        context: what is known beside the samples.

    Raises:
        ValueError: there are no samples, or they hold no images.
        TypeError: no dataloader.
        Exception: whatever the data set raises.
    """
    if size < 1:
        raise ValueError(f"expected a probe of at least 1 image, got {size}")
    if not hasattr(loader, "__iter__") or isinstance(loader, (Tensor, str)):
        raise TypeError(f"expected a dataloader with a dataset, got {describe(loader)}")
    if not can_be_sampled(loader):
        with isolated_rng(), preserve_generators(loader):
            batches = batches_of(loader)
        return sample_batches(batches, size, context)
    data, note = read_in_worker(loader, size, seed)
    return probe_arguments(data, context).with_note(note)


def sample_batches(
    batches: Sequence[Any], size: int, context: ProbeContext | None = None
) -> ProbeArguments:
    """Return the arguments of a probe of samples chosen among batches.

    Args:
        batches: of a loader, or as the model is fed them.
        size: largest number of samples.
        context: what is known beside the samples.
    """
    data = choose_of_batches(batches, size)
    if not data.indices:
        raise ValueError("expected batches with samples, got none")
    note = "chosen among the first batches: the loader is no plain DataLoader"
    return probe_arguments(data, context).with_note(note)


def batches_of(loader: Any) -> list[Any]:
    """Return the first batches of a loader, as many as a balanced choice needs."""
    found: list[Any] = []
    total = 0
    for batch in itertools.islice(iter(loader), ENOUGH):
        found.append(batch)
        total += count_of(batch)
        if total >= ENOUGH:
            break
    return found


class _Stream(IterableDataset[Any]):
    """Any iterable as a data set."""

    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def __iter__(self) -> Any:
        return iter(self.samples)
