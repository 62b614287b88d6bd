"""The runs: those that the limits were tuned on, those that are reported, and quick ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.alerts.cues import CUES
from benchmarks.alerts.pasted import RECIPES
from benchmarks.alerts.runs import BATCH, SUBCLASSES, Plan

TUNED_ON = tuple(RECIPES)[:8]
HELD_OUT = tuple(RECIPES)[8:12]
TUNED_CLASSES = (0, 2, 3, 5, 8)  # of ten: limits were chosen on pairs of these
NETWORKS = ("residual", "plain")
STRENGTHS = (0.8, 0.95, 1.0)
_CORRELATIONS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
_CLASSES = 10
_EACH, _EACH_OF_TEN, _EACH_OF_HUNDRED = 900, 400, 100  # training images
_STEPS = 300  # of a run on a folder, at least
_FEWEST_EPOCHS, _MOST_EPOCHS = 12, 60


def natural(source: str, *, tuning: bool = False) -> list[Plan]:
    """Return runs on photographs, with and without planted cues.

    Args:
        source: of the photographs, of ten classes.
        tuning: the runs that limits were chosen on; by default others, of other classes and seeds.
    """
    pairs = list(itertools.combinations(range(_CLASSES), 2))
    pairs = [pair for pair in pairs if (set(pair) <= set(TUNED_CLASSES)) == tuning]
    return [*_unplanted(source, pairs, tuning=tuning), *_planted(source, pairs, tuning=tuning)]


def _unplanted(source: str, pairs: Sequence[tuple[int, ...]], *, tuning: bool) -> Iterator[Plan]:
    first = 0 if tuning else 1000
    for n, (pair, network) in enumerate(itertools.product(pairs, NETWORKS)):
        # Every third with four times as many images of one class, every fourth with a large probe.
        imbalance, probe = 0.25 if n % 3 == 2 else 1.0, 128 if n % 4 == 3 else 32
        yield Plan(source, 0.0, network, first + n, train=_EACH, classes=pair,
                   imbalance=imbalance, probe=probe)  # fmt: skip
    every = tuple(range(_CLASSES))
    seeds = range(first + 200, first + (202 if tuning else 207))
    for seed, network in itertools.product(seeds, NETWORKS):
        probe = 128 if seed % 2 else 32
        yield Plan(source, 0.0, network, seed, train=_EACH_OF_TEN, classes=every, probe=probe)
        yield Plan(source, 0.0, network, seed, train=_EACH_OF_HUNDRED, classes=SUBCLASSES,
                   epochs=5, probe=probe)  # fmt: skip
    for n, pair in enumerate(pairs[:: max(1, len(pairs) // 5)]):
        yield Plan(source, 0.0, "pretrained", first + 300 + n, epochs=6, train=_EACH, classes=pair)


def _planted(source: str, pairs: Sequence[tuple[int, ...]], *, tuning: bool) -> Iterator[Plan]:
    first, repeats = (500, 2) if tuning else (1500, 4)
    rotating = itertools.cycle(pairs[::3] + pairs[1::3] + pairs[2::3])
    every = tuple(range(_CLASSES))
    for k, cue in enumerate(CUES):
        for n, strength in enumerate(STRENGTHS):
            for repeat in range(repeats):
                seed = first + 100 * k + 10 * n + repeat
                yield Plan(source, strength, NETWORKS[repeat % 2], seed, train=_EACH,
                           classes=next(rotating), cue=cue)  # fmt: skip
        seed = first + 100 * k + 90
        yield Plan(source, 0.95, NETWORKS[k % 2], seed, train=_EACH_OF_TEN, classes=every, cue=cue)
        yield Plan(source, 0.95, "pretrained", seed + 1, epochs=6, train=_EACH,
                   classes=next(rotating), cue=cue)  # fmt: skip


def pasted(*, tuning: bool = False) -> list[Plan]:
    """Return runs on pasted objects with masks; by default of other recipes and seeds."""
    if tuning:
        choices = itertools.product(TUNED_ON, _CORRELATIONS, NETWORKS, (0,))
        return [Plan(*choice) for choice in choices]
    other_data = itertools.product(HELD_OUT, _CORRELATIONS, NETWORKS, (20,))
    other_seeds = itertools.product(TUNED_ON, (0.0, 0.6, 0.85, 1.0), ("residual",), (21,))
    return [Plan(*choice) for choice in (*other_data, *other_seeds)]


def long(source: str, count: int = 200) -> list[Plan]:
    """Return clean runs of a hundred short epochs at one learning rate."""
    pairs = list(itertools.combinations(range(_CLASSES), 2))
    return [
        Plan(source, 0.0, NETWORKS[n % 2], 5000 + n, 100, train=160, steady=True,
             classes=pairs[n % len(pairs)])
        for n in range(count)
    ]  # fmt: skip


def silhouettes(count: int = 50) -> list[Plan]:
    """Return runs on evenly coloured shapes before textures that tell nothing."""
    return [Plan("silhouettes", 0.0, NETWORKS[n % 2], 7000 + n) for n in range(count)]


def quick() -> list[Plan]:
    """Return a few short runs, which show that everything works."""
    return [
        Plan("shapes-photos", correlation, "residual", 20, epochs=4, train=160, val=60)
        for correlation in (0.0, 1.0)
    ]


def of_folders(folders: Sequence[Path], seeds: int, epochs: int | None = None) -> list[Plan]:
    """Return runs of the user's own data: each folder with both networks and several seeds.

    Args:
        folders: in the layout of `pasted.folder_splits`, or of Waterbirds.
        seeds: runs per folder and network.
        epochs: passes over the training images; by default at least 300 steps.
    """
    choices = itertools.product(folders, NETWORKS, range(seeds))
    return [
        Plan(str(f), math.nan, network, seed, epochs or _enough(f)) for f, network, seed in choices
    ]


def _enough(folder: Path) -> int:
    images = sum(1 for file in (folder / "train").glob("*/*") if file.is_file())
    return min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, _STEPS * BATCH // max(images, 1)))
