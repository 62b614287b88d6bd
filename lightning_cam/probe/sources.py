"""Where a probe comes from: a `Probe`, a dataset, a dataloader or a split of the trainer's data."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from lightning_cam.probe.build import Feed, SampledProbe, build_probe
from lightning_cam.probe.columns import Items
from lightning_cam.probe.generators import preserve_generators
from lightning_cam.probe.probe import Probe
from lightning_cam.probe.reading import choose_of_batches, count_of
from lightning_cam.probe.worker import read_in_worker
from lightning_cam.runtime.messages import describe
from lightning_cam.runtime.model_state import isolated_rng

# Any: a dataset or a dataloader.
ProbeSource: TypeAlias = "Probe | Literal['train', 'val'] | Any"
_SPLITS = ("train", "val")
ENOUGH = 128  # samples of batches among which the probe's are chosen


def check_sources(probe: Any) -> dict[str, ProbeSource]:
    """Return the sources of probes by name, checked as far as possible without data.

    Args:
        probe: a source, a mapping of them by name, or None for the validation data.

    Raises:
        ValueError: an empty mapping, or an unknown split.
        TypeError: no source.
    """
    if isinstance(probe, Mapping):
        sources = dict(probe)
    else:
        sources = {"val": "val" if probe is None else probe}
    if not sources:
        raise ValueError("expected at least one probe, got an empty dict")
    for name, source in sources.items():
        if isinstance(source, str) and source not in _SPLITS:
            raise ValueError(f"expected probe 'train' or 'val', got {source!r}")
        known = isinstance(source, (str, Probe)) or hasattr(source, "__getitem__")
        if isinstance(source, Tensor) or not (known or hasattr(source, "__iter__")):
            raise TypeError(
                f"expected probe {name!r} as a Probe, a dataset, a dataloader, 'train' or 'val', "
                f"got a {type(source).__name__}. Wrap tensors: Probe(images, targets)."
            )
    return sources


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
    source: Any,
    size: int,
    seed: int,
    *,
    max_batches: int | None = None,
    feed: Feed | None = None,
    holders: Sequence[Any] = (),
    known: Mapping[str, Any] | None = None,
) -> SampledProbe:
    """Return the probe of a source: itself, or `size` samples of its data.

    Args:
        source: a `Probe`, a dataset or a dataloader.
        size: number of samples.
        seed: of their choice.
        max_batches: how many batches of a loader are used; None for all.
        feed: passes a batch through the hooks that stand between the loader and the model.
        holders: objects that may know class names or the normalisation.
        known: arguments of `Probe` in place of what is read.

    Raises:
        ValueError: there are no samples, or they hold no images.
        Exception: whatever the data set raises.
    """
    if isinstance(source, Probe):
        changes = {k: v for k, v in (known or {}).items() if v is not None}
        return SampledProbe(source.replaced(**changes) if changes else source)
    sample = sample_loader if is_dataloader(source) else sample_dataset
    limit = {"max_batches": max_batches} if is_dataloader(source) else {}
    return sample(source, size, seed, feed=feed, holders=holders, known=known, **limit)


def sample_dataset(
    dataset: Any,
    size: int,
    seed: int,
    *,
    feed: Feed | None = None,
    holders: Sequence[Any] = (),
    known: Mapping[str, Any] | None = None,
) -> SampledProbe:
    """Sample a dataset; see `sample_source`."""
    if not isinstance(dataset, IterableDataset) and not hasattr(dataset, "__len__"):
        dataset = _Stream(dataset)
    if hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__") and not len(dataset):
        raise ValueError("expected a data set with samples, got an empty one")
    loader: Any = DataLoader(dataset, batch_size=max(1, size), collate_fn=Items)
    return sample_loader(loader, size, seed, feed=feed, holders=holders, known=known)


def sample_loader(
    loader: Any,
    size: int,
    seed: int,
    *,
    max_batches: int | None = None,
    feed: Feed | None = None,
    holders: Sequence[Any] = (),
    known: Mapping[str, Any] | None = None,
) -> SampledProbe:
    """Sample a dataloader; see `sample_source`."""
    if size < 1:
        raise ValueError(f"expected a probe of at least 1 image, got {size}")
    if not hasattr(loader, "__iter__") or isinstance(loader, (Tensor, str)):
        raise TypeError(f"expected a dataloader with a dataset, got {describe(loader)}")
    if not can_be_sampled(loader):
        with isolated_rng(), preserve_generators(loader):
            batches = list(batches_of(loader))
        return sample_batches(batches, size, seed, feed=feed, holders=holders, known=known)
    reading, note = read_in_worker(loader, size, seed, max_batches=max_batches)
    made = build_probe(reading, feed=feed, holders=holders, known=known)
    return made.with_note(note)


def sample_batches(
    batches: Sequence[Any],
    size: int,
    seed: int,
    *,
    feed: Feed | None = None,
    holders: Sequence[Any] = (),
    known: Mapping[str, Any] | None = None,
) -> SampledProbe:
    """Return the probe of samples chosen among batches.

    Args:
        batches: of a loader, or as the model is fed them.
        size: largest number of samples.
        seed: of the choice.
        feed: as in `sample_source`.
        holders: as in `sample_source`.
        known: as in `sample_source`.
    """
    reading = choose_of_batches(batches, size, seed)
    if not reading.indices:
        raise ValueError("expected batches with samples, got none")
    made = build_probe(reading, feed=feed, holders=holders, known=known)
    return made.with_note("chosen among the first batches: the loader is no plain DataLoader")


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
