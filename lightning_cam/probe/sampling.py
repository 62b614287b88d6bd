"""`sample_dataset`: a class-balanced sample of a dataset, without side effects on it."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lightning_cam.probe.generators import preserve_generators
from lightning_cam.probe.normalization import find_normalization
from lightning_cam.probe.samples import Sample, read_sample
from lightning_cam.runtime.model_state import isolated_rng

_LABEL_HOLDERS = ("targets", "labels", "_labels", "y")
_MAX_SCANNED = 512  # samples that are loaded to find labels which the dataset does not list
_MIN_PAIRED_PROBE = 8  # images
_MAX_CLASSES_PER_IMAGE = 0.75  # up to which enough classes have two images
_CLASS_HOLDERS = ("classes", "class_names", "categories")


def sample_dataset(
    dataset: Any,
    size: int,
    seed: int,
    collate: Callable[[list[Any]], Any] | None = None,
) -> dict[str, Any]:
    """Return the arguments of a `Probe` for `size` samples of a dataset.

    See `Probe.from_dataset`, which takes the same arguments and documents the errors.
    """
    if size < 1:
        raise ValueError(f"expected a probe of at least 1 image, got {size}")
    with isolated_rng(), preserve_generators(dataset):
        _seed_everything(seed)  # random transforms draw from the global streams
        stream = isinstance(dataset, torch.utils.data.IterableDataset)
        if not stream and hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):
            indices = choose_indices(dataset, size, seed)
            _seed_everything(seed)  # choosing may have loaded samples too
            items = [dataset[index] for index in indices]
        else:
            items = list(itertools.islice(iter(dataset), size))
            indices = list(range(len(items)))
        if not items:
            raise ValueError("expected a dataset with samples, got an empty one")
        samples = [_read(item, collate) for item in items]
    return _probe_arguments(samples, indices, dataset)


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the stream that users' transforms draw from
    torch.default_generator.manual_seed(seed)  # the CPU's alone; others are not restored here


def choose_indices(dataset: Any, size: int, seed: int) -> list[int]:
    """Return indices of samples, as equally spread over classes as possible, classes in turn."""
    count = len(dataset)
    order = np.random.default_rng(seed).permutation(count).tolist()
    listed = labels_of(dataset)
    if listed is None and count > size:
        order = order[:_MAX_SCANNED]
    queues: dict[int, list[int]] = defaultdict(list)
    for index in order:
        if listed is not None:
            label: Any = listed[index]
        else:
            label = read_sample(dataset[index]).label if count > size else None
        queues[_class_of(label)].append(index)
    if len(queues) > 1:
        queues.pop(-1, None)  # a label of -1 is to be ignored
    queues = _paired(queues, size)
    # Classes take turns in random order, so that of a thousand classes random ones are taken.
    turns = itertools.chain.from_iterable(itertools.zip_longest(*queues.values()))
    chosen = set(itertools.islice((index for index in turns if index is not None), size))
    # One of each class, then another one of each, so that the first few images are balanced too.
    ranked = [
        (turn, label, index)
        for label, queue in queues.items()
        for turn, index in enumerate(index for index in queue if index in chosen)
    ]
    return [index for *_, index in sorted(ranked)]


def _paired(queues: dict[int, list[int]], size: int) -> dict[int, list[int]]:
    """Return fewer classes where there are too many for most of them to have two images.

    Interventions exchange backgrounds within a class, which needs two images of it. A small probe
    keeps all classes, since it would show hardly any otherwise.
    """
    if size < _MIN_PAIRED_PROBE or len(queues) <= _MAX_CLASSES_PER_IMAGE * size:
        return queues
    pairs = [label for label, queue in queues.items() if len(queue) > 1][: size // 2]
    return {label: queues[label] for label in pairs} if len(pairs) == size // 2 else queues


def _class_of(label: Any) -> int:
    """Return the class that a sample is balanced by: the first of several, -1 without a label."""
    if isinstance(label, torch.Tensor):
        positive = label.nonzero()
        return int(positive[0, 0]) if len(positive) else -1
    return -1 if label is None else max(-1, int(label))


def labels_of(dataset: Any) -> Sequence[int] | None:
    """Return the labels that a dataset holds apart from its images, or None."""
    if hasattr(dataset, "indices") and hasattr(dataset, "dataset"):  # torch's Subset
        inner = labels_of(dataset.dataset)
        return None if inner is None else [inner[int(i)] for i in dataset.indices]
    if isinstance(dataset, torch.utils.data.ConcatDataset):
        parts = [labels_of(part) for part in dataset.datasets]
        listed = [part for part in parts if part is not None]
        whole = len(listed) == len(parts)
        return list(itertools.chain.from_iterable(listed)) if whole else None
    held = [getattr(dataset, name, None) for name in _LABEL_HOLDERS]
    held.append(getattr(dataset, "tensors", (None, None))[1:2])  # torch's TensorDataset
    pairs = getattr(dataset, "samples", None)  # torchvision's ImageFolder
    if isinstance(pairs, Sequence) and pairs and isinstance(pairs[0], tuple):
        held.append([pair[-1] for pair in pairs])
    for values in held:
        labels = _as_labels(values, len(dataset))
        if labels is not None:
            return labels
    return None


def _as_labels(values: Any, count: int) -> list[int] | None:
    if isinstance(values, tuple) and len(values) == 1:
        values = values[0]
    try:
        labels = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        return None
    if labels.shape != (count,) or labels.is_floating_point():
        return None
    return [int(label) for label in labels.tolist()]


def _read(item: Any, collate: Callable[[list[Any]], Any] | None) -> Sample:
    """Return the sample in an item, collated as a batch of one where the item holds no image."""
    sample = read_sample(item)
    if sample.image is not None or collate is None:
        return sample
    batch = collate([item])  # some loaders convert images to tensors only here
    return read_sample(_first_of(batch))


def _first_of(batch: Any) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch[0]
    if isinstance(batch, Mapping):
        return {key: _first_of(value) for key, value in batch.items()}
    if isinstance(batch, Sequence) and not isinstance(batch, str):
        return [_first_of(value) for value in batch]
    return batch


def _probe_arguments(samples: list[Sample], indices: list[int], dataset: Any) -> dict[str, Any]:
    images = [sample.image for sample in samples if sample.image is not None]
    if len(images) != len(samples):
        raise ValueError(
            "expected the dataset's items to hold an image as a floating point tensor (C, H, W), "
            "alone, in a tuple or under a key such as 'image'; found none. Add a transform to "
            "tensors, or build Probe(images, targets) yourself."
        )
    if len({image.shape for image in images}) > 1:
        shapes = sorted({str(tuple(image.shape)) for image in images})
        raise ValueError(
            f"expected probe images of one size, got {', '.join(shapes)}. Resize them in the "
            "dataset's transform, or build Probe(images, targets) yourself."
        )
    found: dict[str, Any] = {"images": torch.stack(images)}
    labels = _all_or_none(sample.label for sample in samples)
    several = labels is not None and isinstance(labels[0], torch.Tensor)
    found["targets"] = torch.stack(labels) if labels is not None and several else labels
    masks = _all_or_none(sample.mask for sample in samples)
    if masks is not None and all(mask.shape == images[0].shape[1:] for mask in masks):
        found["masks"] = torch.stack(masks)
    found["boxes"] = _all_or_none(sample.boxes for sample in samples)
    highest = -1 if several or labels is None else max(labels)
    found["class_names"] = names = _class_names(dataset, highest)
    # The class first, so that loggers that sort by name keep a class together.
    found["ids"] = [
        f"{names[label] if names else label}-{index:05d}" if highest >= 0 else f"{index:05d}"
        for label, index in zip(labels or indices, indices, strict=True)
    ]
    normalization = find_normalization(dataset)
    if normalization is not None and len(normalization[0]) in (1, len(images[0])):
        found["mean"], found["std"] = normalization
    return found


def _all_or_none(values: Iterable[Any]) -> list[Any] | None:
    listed = list(values)
    return None if any(value is None for value in listed) else listed


def _class_names(dataset: Any, highest: int) -> list[str] | None:
    while dataset is not None:
        for holder in _CLASS_HOLDERS:
            names = getattr(dataset, holder, None)
            if isinstance(names, Sequence) and not isinstance(names, str):
                return [str(name) for name in names] if highest < len(names) else None
        parts = getattr(dataset, "datasets", None)
        dataset = parts[0] if parts else getattr(dataset, "dataset", None)
    return None
