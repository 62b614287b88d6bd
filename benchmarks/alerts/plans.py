"""The runs: those that the limits were tuned on, those that are reported, and quick ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

from benchmarks.shortcut.data import RECIPES
from benchmarks.shortcut.networks import NETWORKS
from benchmarks.shortcut.runs import BATCH, Plan

# The limits were chosen on the first eight recipes, with other seeds than those reported.
TUNED_ON = tuple(RECIPES)[:8]
HELD_OUT = tuple(RECIPES)[8:]
_CORRELATIONS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
_LONG = 100
_STEPS = 300  # of a run on a folder, at least
_FEWEST_EPOCHS, _MOST_EPOCHS = 12, 60


def tuning() -> list[Plan]:
    """Return the runs that limits were chosen on, with interventions at every evaluation."""
    return [
        Plan(data, correlation, network, seed, every=1)
        for data, correlation, network, seed in itertools.product(
            TUNED_ON, _CORRELATIONS, NETWORKS, (0,)
        )
    ]


def reported(long_seeds: int = 2) -> list[Plan]:
    """Return runs that no limit was chosen on: other data and other seeds, default options."""
    other_data = itertools.product(HELD_OUT, _CORRELATIONS, NETWORKS, (20,))
    other_seeds = itertools.product(TUNED_ON, (0.0, 0.6, 0.85, 1.0), ("residual",), (21,))
    plans = [Plan(*choice) for choice in (*other_data, *other_seeds)]
    seeds = range(300, 300 + long_seeds)
    return plans + [
        _long(data, network, seed)
        for data, network, seed in itertools.product(RECIPES, NETWORKS, seeds)
    ]


def quick() -> list[Plan]:
    """Return a few short runs, which show that everything works."""
    plans = [
        Plan("shapes-photos", correlation, "residual", 20, epochs=4, train=160, val=60)
        for correlation in (0.0, 1.0)
    ]
    return [
        *plans,
        Plan("shapes-patch", 0.0, "plain", 300, epochs=6, train=160, val=60, steady=True),
    ]


def of_folders(folders: Sequence[Path], seeds: int, epochs: int | None = None) -> list[Plan]:
    """Return runs of the user's own data: each folder with both networks and several seeds.

    Args:
        folders: in the layout of `data.folder_splits`.
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


def _long(data: str, network: str, seed: int) -> Plan:
    """Return a clean run of a hundred short epochs at one learning rate."""
    return Plan(data, 0.0, network, seed, _LONG, train=320, val=120, steady=True)
