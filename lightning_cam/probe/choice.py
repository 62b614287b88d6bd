"""`choose_balanced`: which samples to take, as equally spread over classes as possible."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

_MIN_PAIRED_PROBE = 8  # images
_MAX_CLASSES_PER_IMAGE = 0.75  # up to which enough classes have two images


def shuffled(count: int, seed: int) -> list[int]:
    """Return the numbers below `count` in an order that depends on the seed alone."""
    return [int(number) for number in np.random.default_rng(seed).permutation(count)]


def choose_balanced(order: Sequence[int], classes: Sequence[int], size: int) -> list[int]:
    """Return up to `size` entries of `order`, of each class about the same number.

    Args:
        order: samples, the first of a class are preferred.
        classes: the class of each, -1 where it has none; such samples are taken only where there
            are no others.
        size: number of samples.

    Returns:
        One of each class, then another one of each, and so on: the first few are balanced too.
    """
    queues: dict[int, list[int]] = defaultdict(list)
    for sample, label in zip(order, classes, strict=True):
        queues[label].append(sample)
    if len(queues) > 1:
        queues.pop(-1, None)
    queues = _paired(queues, size)
    # Classes take turns in random order, so that of a thousand classes random ones are taken.
    turns = itertools.chain.from_iterable(itertools.zip_longest(*queues.values()))
    chosen = set(itertools.islice((sample for sample in turns if sample is not None), size))
    ranked = [
        (turn, label, sample)
        for label, queue in queues.items()
        for turn, sample in enumerate(sample for sample in queue if sample in chosen)
    ]
    return [sample for *_, sample in sorted(ranked)]


def has_enough(classes: Sequence[int], size: int) -> bool:
    """Return whether the samples read so far suffice for a balanced choice.

    They do where the last `size` of them brought no new class and each class has its share.
    """
    if len(classes) <= size:
        return False
    counts = Counter(classes)
    no_new_class = set(classes) == set(classes[:-size])
    return no_new_class and min(counts.values()) >= size // len(counts)


def _paired(queues: dict[int, list[int]], size: int) -> dict[int, list[int]]:
    """Return fewer classes where there are too many for most of them to have two images.

    Interventions exchange backgrounds within a class, which needs two images of it. A small probe
    keeps all classes, since it would show hardly any otherwise.
    """
    if size < _MIN_PAIRED_PROBE or len(queues) <= _MAX_CLASSES_PER_IMAGE * size:
        return queues
    pairs = [label for label, queue in queues.items() if len(queue) > 1][: size // 2]
    return {label: queues[label] for label in pairs} if len(pairs) == size // 2 else queues
