"""`sample_order`: which samples of a data set a dataloader takes."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable
from typing import Any

from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

_MOST = 1_000_000  # indices that are drawn of a sampler
_SHARE_OF_BATCHES = "BatchSamplerShard"  # Accelerate's, which gives each process some batches


def sample_order(loader: Any) -> tuple[list[Any], str]:
    """Return the indices that a loader's sampler or batch sampler yields, each once, and its name.

    Whatever is no number, such as an index with a size, is returned as it is. Of a sampler that
    shares the data over processes those of all processes. Draws from the sampler's random
    generator: call it where that may be, such as in a worker process.

    Args:
        loader: a `DataLoader` of a map-style data set with `__len__`.
    """
    batches = loader.batch_sampler
    while type(batches).__name__ == _SHARE_OF_BATCHES:
        batches = batches.batch_sampler
    if batches is not None and type(batches) is not BatchSampler:
        return _unique(itertools.chain.from_iterable(batches)), type(batches).__name__
    sampler = _unshared(loader.sampler if batches is None else batches.sampler)
    count = len(loader.dataset)
    drawn = range(count) if _takes_all(sampler, count) else iter(sampler)
    return _unique(drawn), type(sampler).__name__


def _unshared(sampler: Any) -> Any:
    """Return what is behind a sampler that gives each process its share; others as they are."""
    if not isinstance(sampler, DistributedSampler):
        return sampler
    dataset: Any = sampler.dataset
    wrapped = getattr(dataset, "_sampler", None)  # Lightning's, around a user's sampler
    return SequentialSampler(dataset) if wrapped is None else wrapped


def _takes_all(sampler: Any, count: int) -> bool:
    """Return whether it is known, without drawing, that a sampler takes every sample."""
    if type(sampler) is RandomSampler:
        return not sampler.replacement and len(sampler) >= count
    return type(sampler) is SequentialSampler and len(sampler) == count


def _unique(indices: Iterable[Any]) -> list[Any]:
    keys = [_as_number(index) for index in itertools.islice(indices, _MOST)]
    try:
        return list(dict.fromkeys(keys))
    except TypeError:  # not hashable
        return keys


def _as_number(index: Any) -> Any:
    try:
        return operator.index(index)
    except TypeError:
        return index
