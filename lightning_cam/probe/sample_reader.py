"""`read_samples`: choose a probe's samples of a dataloader and read them, in a worker process."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from lightning_cam.probe.choice import choose_balanced, has_enough, shuffled
from lightning_cam.probe.class_names import find_class_names
from lightning_cam.probe.columns import Column, columns_of_batch, columns_of_items, count_of
from lightning_cam.probe.item_reader import ItemReader
from lightning_cam.probe.labels import class_of, listed_labels, targets_of
from lightning_cam.probe.normalization import find_normalization
from lightning_cam.probe.regions import Masks, masks_of
from lightning_cam.probe.roles import find_roles
from lightning_cam.probe.sample_order import sample_order

_MAX_READ = 128  # samples that are read to find labels which the data set does not list
_MAX_BYTES = 512 * 2**20  # that these may take
_MAX_ROUNDS = 8  # of reading others in place of damaged samples

EMPTY = (
    "expected a data set with samples to choose a probe from, got an empty one. Give "
    "CAMCallback(probe=Probe(images, targets)), or probe='train'."
)

Progress = Callable[[int, int], None]  # of samples read, and at most to be read


@dataclass(frozen=True)
class Batch:
    """A collated batch, and which of its samples belong to the probe.

    Attributes:
        data: as the loader's `collate_fn` returned it, or as the model was fed it.
        rows: the samples of the probe.
        count: of all its samples.
    """

    data: Any
    rows: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class SampleData:
    """What was read of a data set for a probe, before the model's input hooks.

    Attributes:
        batches: collated; their rows, one batch after another, are the probe's samples.
        indices: of the samples in the data set, or their places in a stream.
        items: columns of the samples before they were collated; empty where that is unknown.
        listed: the samples' labels that the data set holds apart from its items, or None.
        one_hot: whether label vectors of all samples that were read have exactly one 1.
        available: how many samples there are; None for a stream.
        order: which samples these are: the sampler's class, or `stream`.
        class_names: with where they were found, or None.
        normalization: mean and std of a `Normalize` among the data set's transforms, or None.
        notes: what should be known about the choice.
    """

    batches: tuple[Batch, ...]
    indices: tuple[int, ...]
    items: Mapping[str, Column] = field(default_factory=dict)
    listed: tuple[int, ...] | None = None
    one_hot: bool | None = None
    available: int | None = None
    order: str = "stream"
    class_names: tuple[list[str], str] | None = None
    normalization: tuple[list[float], list[float]] | None = None
    notes: tuple[str, ...] = ()


def seed_everything(seed: int) -> None:
    """Seed the global random streams that transforms draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the stream that users' transforms draw from
    torch.default_generator.manual_seed(seed)


def read_samples(loader: Any, size: int, seed: int, *, progress: Progress) -> SampleData:
    """Choose samples of a loader's data set, balanced over classes, and read them here and now.

    See `worker.read_in_worker`, which calls this in a process of its own: it draws from the random
    streams and from whatever generators samplers and transforms hold.

    Args:
        loader: a `DataLoader`.
        size: largest number of samples.
        seed: of the choice and of random transforms.
        progress: is told how many samples have been read.

    Raises:
        ValueError: there are no samples.
    """
    seed_everything(seed)
    dataset = loader.dataset
    if loader.batch_sampler is None and loader.batch_size is None:
        data, highest = _read_whole_batches(loader, size, progress), -1
    elif isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        data, highest = _read_stream(loader, size, progress), -1
    else:
        data, highest = _read_indices(loader, size, seed, progress)
    if not data.indices:
        raise ValueError(EMPTY)
    return replace(
        data,
        class_names=find_class_names(dataset, highest),
        normalization=find_normalization(dataset) or find_normalization(loader.collate_fn),
    )


def _read_indices(loader: Any, size: int, seed: int, progress: Progress) -> tuple[SampleData, int]:
    """Choose among all samples that the sampler takes; return the highest listed label too."""
    dataset = loader.dataset
    keys, name = sample_order(loader)
    numbered = all(isinstance(key, int) for key in keys)
    taken = keys if numbered else list(range(len(keys)))
    order = [taken[place] for place in shuffled(len(taken), seed)]
    listed = listed_labels(dataset) if numbered else None
    reader = ItemReader(dataset, None if numbered else dict(enumerate(keys)))
    items = reader.items
    notes: tuple[str, ...] = ()
    one_hot = None
    if listed is not None:
        chosen = choose_balanced(order, [max(-1, listed[index]) for index in order], size)
    elif len(order) <= size:
        chosen = sorted(order)
    else:
        classes, one_hot = _scan(reader, order, size, progress)
        chosen = choose_balanced(list(items), classes, size)
        if len(items) < len(order):
            notes = _balanced(classes, f"{len(items)} of {len(order)} samples")
    seed_everything(seed)  # the same samples, however many were read before
    chosen = _read_chosen(reader, chosen, order, listed, progress)
    if not chosen and reader.error is not None:
        raise reader.error
    data = SampleData(
        batches=_collated(loader, [items[index] for index in chosen]),
        indices=tuple(chosen),
        items=_portable(columns_of_items([items[index] for index in chosen])),
        listed=None if listed is None else tuple(listed[index] for index in chosen),
        one_hot=one_hot,
        available=len(taken),
        order=name,
        notes=(*notes, *reader.note),
    )
    return data, max(listed) if listed else -1


def _read_chosen(
    reader: ItemReader,
    chosen: Sequence[int],
    order: Sequence[int],
    listed: Sequence[int] | None,
    progress: Progress,
) -> list[int]:
    """Read samples, others in place of damaged ones, and return which were read."""
    size, items = len(chosen), reader.items
    for _ in range(_MAX_ROUNDS):
        for index in [each for each in chosen if each not in items]:
            reader.read(index)
            progress(len(items), size)
        damaged = set(chosen) - set(items)
        if not damaged:
            break
        order = [index for index in order if index not in damaged]
        known = [-1 if listed is None else max(-1, listed[index]) for index in order]
        chosen = choose_balanced(order, known, size)
    return [index for index in chosen if index in items]


def _scan(
    reader: ItemReader,
    order: Sequence[int],
    size: int,
    progress: Progress,
) -> tuple[list[int], bool | None]:
    """Read samples into `items` until a balanced choice is possible; return their classes."""
    most, items = min(_MAX_READ, len(order)), reader.items
    classes: list[int] = []
    one_hot = None
    for count, index in enumerate(order[:most], start=1):
        reader.read(index)
        progress(count, most)
        too_large = count == size and _bytes_in(list(items.values())) * most / size > _MAX_BYTES
        if count % size == 0 or count == most:
            classes, one_hot = _classes_of(columns_of_items(list(items.values())), list(items))
            if too_large or has_enough(classes, size):
                break
    return classes, one_hot


def _read_stream(loader: Any, size: int, progress: Progress) -> SampleData:
    """Choose among the first samples of a stream."""
    items: list[Any] = []
    for item in itertools.islice(iter(loader.dataset), _MAX_READ):
        items += [] if item is None else [item]
        progress(len(items), _MAX_READ)
        if len(items) == size and _bytes_in(items) * _MAX_READ / size > _MAX_BYTES:
            break
    if not items:
        return SampleData((), ())
    columns = columns_of_items(items)
    classes, one_hot = _classes_of(columns, None)
    chosen = sorted(choose_balanced(range(len(items)), classes, size))
    return SampleData(
        batches=_collated(loader, [items[index] for index in chosen]),
        indices=tuple(chosen),
        items=_portable({path: column.take(chosen) for path, column in columns.items()}),
        one_hot=one_hot,
        notes=_balanced(classes, f"the first {len(items)} samples of a stream"),
    )


def _read_whole_batches(loader: Any, size: int, progress: Progress) -> SampleData:
    """Choose among the first batches of a data set that makes its batches itself."""
    batches: list[Any] = []
    total = 0
    dataset = loader.dataset
    stream = isinstance(dataset, IterableDataset)
    source = iter(dataset) if stream else (dataset[i] for i in sample_order(loader)[0])
    for item in source:
        batch = loader.collate_fn(item)
        batches.append(batch)
        total += count_of(batch)
        progress(min(total, _MAX_READ), _MAX_READ)
        if total >= _MAX_READ or _bytes_in(batches) > _MAX_BYTES:
            break
    return choose_of_batches(batches, size)


def choose_of_batches(batches: Sequence[Any], size: int) -> SampleData:
    """Choose samples, balanced over classes, the first of each, of batches that are there already.

    Args:
        batches: as the model is fed them, or before.
        size: largest number of samples.
    """
    classes: list[int] = []
    one_hot = None
    for batch in batches:
        count = count_of(batch)
        of_batch, one_hot = _classes_of(columns_of_batch(batch, count), None, count)
        classes += of_batch
    chosen = sorted(choose_balanced(range(len(classes)), classes, size))
    parts, start = [], 0
    for batch in batches:
        count = count_of(batch)
        rows = tuple(place - start for place in chosen if start <= place < start + count)
        parts += [Batch(batch, rows, count)] if rows else []
        start += count
    notes = _balanced(classes, f"the first {len(classes)} samples")
    return SampleData(tuple(parts), tuple(chosen), one_hot=one_hot, notes=notes)


def _balanced(classes: Sequence[int], among: str) -> tuple[str, ...]:
    """Return the note of a choice that was balanced, none where no class is known."""
    return (f"classes balanced among {among}",) if any(each >= 0 for each in classes) else ()


def _classes_of(
    columns: Mapping[str, Column], indices: Sequence[int] | None, count: int | None = None
) -> tuple[list[int], bool | None]:
    """Return the class of each sample, -1 where unknown, and whether label vectors are one hot."""
    some = next(iter(columns.values()), None)
    unknown = [-1] * (len(some.values) if some is not None else count or 0)
    roles = find_roles(columns, indices=indices)
    if roles.label is None and roles.box_labels is not None:
        first = [t.flatten()[0] if t.numel() else None for t in roles.box_labels.tensors or ()]
        return [class_of(label) for label in first], None
    targets = None if roles.label is None else targets_of(roles.label)
    if targets is None or roles.label is None:
        masks = None if roles.mask is None else masks_of(roles.mask, None)
        of_masks = masks.labels if isinstance(masks, Masks) else None
        return (unknown if of_masks is None else of_masks.tolist()), None
    one_hot = targets.values.ndim == 1 if roles.label.vectors is not None else None
    return [class_of(label) for label in targets.values], one_hot


def _collated(loader: Any, items: Sequence[Any]) -> tuple[Batch, ...]:
    """Return items in batches no larger than the loader's own; one by one where that fails."""
    most = int(getattr(loader, "batch_size", None) or len(items))
    try:
        return _in_parts(loader.collate_fn, items, most)
    except (RuntimeError, TypeError, ValueError):
        if most == 1:
            raise
        return _in_parts(loader.collate_fn, items, 1)  # images of different sizes


def _in_parts(collate: Callable[[Any], Any], items: Sequence[Any], most: int) -> tuple[Batch, ...]:
    parts = [items[start : start + most] for start in range(0, len(items), most)]
    return tuple(Batch(collate(list(p)), tuple(range(len(p))), len(p)) for p in parts)


def _portable(columns: Mapping[str, Column]) -> dict[str, Column]:
    kept = {path: column.portable() for path, column in columns.items()}
    return {path: column for path, column in kept.items() if column is not None}


def _bytes_in(value: Any) -> int:
    """Return the memory of the tensors and arrays inside a value."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if hasattr(value, "getbands"):  # PIL
        return int(value.width * value.height * len(value.getbands()))
    if isinstance(value, Mapping):
        return sum(map(_bytes_in, value.values()))
    return sum(map(_bytes_in, value)) if isinstance(value, (list, tuple)) else 0
