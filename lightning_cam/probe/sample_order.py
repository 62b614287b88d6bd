"""`sample_order`: which samples of a data set a dataloader takes."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable
from typing import Any

from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

_MOST = 1_000_000  # indices that are drawn of a sampler


def sample_order(loader: Any, max_batches: int | None = None) -> tuple[list[Any], str]:
    """Return the indices that a loader's sampler or batch sampler yields, each once, and its name.

    Whatever is no number, such as an index with a size, is returned as it is.

    Of a sampler that shares the data over processes those of all processes. Draws from the
    sampler's random generator: call it where that may be, such as in a worker process.

    Args:
        loader: a `DataLoader` of a map-style data set with `__len__`.
        max_batches: how many batches of it are used; None for all.
    """
    batches = loader.batch_sampler
    if batches is not None and type(batches) is not BatchSampler:
        drawn = itertools.chain.from_iterable(itertools.islice(iter(batches), max_batches))
        return _unique(drawn, None), type(batches).__name__
    sampler = loader.sampler if batches is None else batches.sampler
    limit = None
    if max_batches is not None:
        limit = max_batches * (1 if batches is None else batches.batch_size)
    sampler = _unshared(sampler)
    if _takes_all(sampler, len(loader.dataset)):
        in_order = range(len(loader.dataset))
        if limit is None or not isinstance(sampler, RandomSampler):
            return _unique(in_order, limit), type(sampler).__name__
    return _unique(iter(sampler), limit), type(sampler).__name__


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


def _unique(indices: Iterable[Any], limit: int | None) -> list[Any]:
    bounded = itertools.islice(indices, _MOST if limit is None else min(limit, _MOST))
    keys = [_as_number(index) for index in bounded]
    try:
        return list(dict.fromkeys(keys))
    except TypeError:  # not hashable
        return keys


def _as_number(index: Any) -> Any:
    try:
        return operator.index(index)
    except TypeError:
        return index
