"""Train twice, with and without the callback, and compare."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from benchmarks.interference.configurations import Configuration
from benchmarks.interference.witness import (
    COMPILED,
    ITEMS,
    Book,
    Witness,
    differences,
    size_of,
)
from lightning_cam import CAMCallback, Threshold
from lightning_cam.monitor.config import PANELS


@dataclass(frozen=True)
class Effort:
    """How much is asked of the callback.

    Attributes:
        callback: its arguments.
        trainer: arguments of `Trainer` that go with them.
    """

    callback: Mapping[str, Any]
    trainer: Mapping[str, Any] = field(default_factory=dict)


EVERYTHING = Effort(
    {
        "probe": {"train": "train", "val": "val"},  # the one without masks, which are estimated
        "estimate_masks": True,
        "method": ["gradcam", "layercam", "smoothgrad", "scorecam", "eigencam"],
        "layers": ["first", "second"],
        "panels": PANELS,
        "feature_channels": 2,
        "preferred": [0, "second:1"],
        "slow_panels_every": 2,
        "interventions_every": 1,
        "fuse_layers": True,
        "aug_smooth": True,
        "eigen_smooth": True,
        "alerts": [
            Threshold("enrichment", below=99.0, patience=1),
            Threshold("gap/entropy", above=-99.0, patience=1),
        ],
        "on_alert": ["warn", "checkpoint"],
        "probe_size": 4,
        "num_pictures": 2,
        "scale": "run",
    }
)
QUICK = Effort(
    {
        "method": ["gradcam", "layercam"],
        "layers": "second",
        "panels": ("overlay", "timeline", "features"),
        "feature_channels": 2,
        "slow_panels_every": 99,
        "interventions_every": 1,
        "alerts": [Threshold("enrichment", below=99.0, patience=1)],
        "probe_size": 4,
        "num_pictures": 1,
    },
    {"val_check_interval": 5},
)
_TRAINER: dict[str, Any] = {
    "max_epochs": 2,
    "accumulate_grad_batches": 4,
    "val_check_interval": 3,  # in the middle of windows
    "accelerator": "cpu",
    "devices": 1,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "log_every_n_steps": 1,
}


@dataclass(frozen=True)
class Training:
    """What one training left behind.

    Attributes:
        records: what the witness wrote down, moment by moment.
        looks: looks that the callback remembers, of all probes.
        skipped: warnings of the callback that it left something out.
        report: whether its report is there.
    """

    records: list[tuple[str, dict[str, Any]]]
    looks: int = 0
    skipped: tuple[str, ...] = ()
    report: bool = False


@dataclass(frozen=True)
class Comparison:
    """Two trainings side by side.

    Attributes:
        name: of the configuration.
        moments: at how many everything was compared.
        values: how many single values that were.
        differing: by item, the first places at which the trainings differ.
        looks: of the watched training.
        trouble: why the comparison says nothing, such as a callback that did not look.
        lacking: why there is none.
    """

    name: str
    moments: int = 0
    values: int = 0
    differing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    looks: int = 0
    trouble: str = ""
    lacking: str = ""

    @property
    def identical(self) -> bool:
        """Whether both trainings were the same, bit for bit."""
        return bool(self.moments) and not self.differing and not self.trouble


def compare(configuration: Configuration, folder: Path, effort: Effort = EVERYTHING) -> Comparison:
    """Return how a watched training differs from an preserve_model_state one."""
    if configuration.lacking:
        return Comparison(configuration.name, lacking=configuration.lacking)
    place = folder / "run"  # one after the other in the same: paths are part of some states
    if configuration.needs == "compiler":  # its threads start once a process
        train(configuration, folder / "first", effort, watched=False)
    plain = train(configuration, place, effort, watched=False)
    place.rename(folder / "plain")
    watched = train(configuration, place, effort)
    return Comparison(
        configuration.name,
        moments=len(plain.records),
        values=size_of([record for _, record in plain.records]),
        differing=differing_items(plain.records, watched.records),
        looks=watched.looks,
        trouble=_trouble(configuration, watched),
    )


def _trouble(configuration: Configuration, watched: Training) -> str:
    """Return why a watched training was not watched as it should have been."""
    unmeant = [
        line
        for line in watched.skipped
        if not configuration.failing or configuration.failing not in line
    ]
    if unmeant:
        return unmeant[0]
    if configuration.failing and not watched.skipped:
        return f"expected our pass to fail with {configuration.failing!r}, it did not"
    if not watched.looks:
        return "the callback did not look"
    return "" if watched.report else "there is no report"


def differing_items(
    ours: Sequence[tuple[str, dict[str, Any]]], theirs: Sequence[tuple[str, dict[str, Any]]]
) -> dict[str, list[str]]:
    """Return the items that differ at any moment, each with the first few places."""
    found: dict[str, list[str]] = {}
    if [moment for moment, _ in ours] != [moment for moment, _ in theirs]:
        found["moments"] = [f"{len(ours)} and {len(theirs)} of them, or in another order"]
    for n, ((moment, mine), (_, other)) in enumerate(zip(ours, theirs, strict=False)):
        for item in ITEMS:
            places = differences(mine[item], other[item])
            found.setdefault(item, []).extend(f"{n} {moment}: {place}" for place in places)
    return {item: places[:5] for item, places in found.items() if places}


def train(
    configuration: Configuration,
    folder: Path,
    effort: Effort,
    *others: pl.Callback,
    watched: bool = True,
) -> Training:
    """Train by a configuration.

    Args:
        configuration: how.
        folder: for files.
        effort: how much is asked of the callback.
        others: callbacks beside the configuration's, where ours stands.
        watched: whether ours is there.
    """
    _begin()
    witness = Witness()
    limits: list[dict[str, Any]] = [{"max_steps": 1}, {}] if configuration.resumed else [{}]
    looks, checkpoint = 0, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for limit in limits:
            settings = {**effort.callback, **configuration.callback}
            ours = [CAMCallback(**settings)] if watched else []
            callbacks = [*configuration.before(), *ours, *others, *configuration.after(), witness]
            chosen = {**_TRAINER, **effort.trainer, **configuration.trainer, **limit}
            if configuration.needs == "cuda":
                chosen["accelerator"] = "gpu"
            loggers = [TensorBoardLogger(folder, name="tb"), Book()]
            trainer = pl.Trainer(
                **chosen, callbacks=callbacks, logger=loggers, default_root_dir=folder
            )
            trainer.fit(configuration.module(), configuration.data(), ckpt_path=checkpoint)
            looks += sum(_looks(callback) for callback in ours)
            checkpoint = folder / "middle.ckpt"
            if limit:
                trainer.save_checkpoint(checkpoint)
    said = [str(each.message) for each in caught]
    return Training(
        witness.records,
        looks,
        tuple(line for line in said if "CAMCallback skipped" in line),
        any(folder.rglob("report.html")),
    )


def _looks(callback: CAMCallback) -> int:
    probes = callback.state_dict()["probes"].values()
    return sum(int(probe["history"]["count"]) for probe in probes)


def _begin() -> None:
    """Start every training from the same place."""
    pl.seed_everything(7, workers=True, verbose=False)
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    from torch._dynamo.utils import counters

    torch.compiler.reset()
    counters.clear()
    COMPILED["graphs"] = 0
