"""Train twice, with and without `CAMCallback`, and compare all recorded state."""

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
from robustness.non_interference.bitwise import count_values, differences
from robustness.non_interference.configurations import Configuration
from robustness.non_interference.process_state import COMPILED
from robustness.non_interference.state_snapshot import ITEMS, StateRecorder, UserMetricsLogger

from lightning_cam import CAMCallback, Threshold
from lightning_cam.output.panels import PANELS

Records = Sequence[tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class Options:
    """How much the callback has to do.

    Attributes:
        callback: its arguments.
        trainer: arguments of `Trainer` that belong to them.
    """

    callback: Mapping[str, Any]
    trainer: Mapping[str, Any] = field(default_factory=dict)


FULL = Options(
    {
        "probe": {"train": "train", "val": "val"},  # training data has no masks: they are estimated
        "estimate_masks": True,
        "method": ["gradcam", "layercam", "smoothgrad", "scorecam", "eigencam"],
        "layers": ["first", "second"],
        "panels": tuple(PANELS),
        "feature_channels": 2,
        "activation_maximization": [0, "second:1"],
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
SMALL = Options(
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
    "val_check_interval": 3,  # within accumulation windows
    "accelerator": "cpu",
    "devices": 1,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "log_every_n_steps": 1,
}


@dataclass(frozen=True)
class Training:
    """The outcome of one training.

    Attributes:
        records: recorded state, hook by hook.
        evaluations: of all probes, as the callback counts them.
        skipped: warnings of the callback that it skipped something.
        report: whether its report was written.
    """

    records: Records
    evaluations: int = 0
    skipped: tuple[str, ...] = ()
    report: bool = False


@dataclass(frozen=True)
class Comparison:
    """Two trainings of one configuration compared.

    Attributes:
        name: of the configuration.
        hooks: number of hooks at which all items were compared.
        values: number of single values compared.
        differing: by item, the first places at which the trainings differ.
        evaluations: of the training with the callback.
        problem: why the comparison is void, such as a callback that did not evaluate.
        skipped: why there is none.
    """

    name: str
    hooks: int = 0
    values: int = 0
    differing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    evaluations: int = 0
    problem: str = ""
    skipped: str = ""

    @property
    def identical(self) -> bool:
        """Whether both trainings were the same, bit for bit."""
        return bool(self.hooks) and not self.differing and not self.problem


def compare(configuration: Configuration, folder: Path, options: Options = FULL) -> Comparison:
    """Return how a training with the callback differs from one without."""
    if configuration.skip_reason:
        return Comparison(configuration.name, skipped=configuration.skip_reason)
    place = folder / "run"  # the same for both: paths are part of some states
    if configuration.needs == "compiler":  # its threads start once per process
        train(configuration, folder / "first", options, monitored=False)
    plain = train(configuration, place, options, monitored=False)
    place.rename(folder / "plain")
    monitored = train(configuration, place, options)
    return Comparison(
        configuration.name,
        hooks=len(plain.records),
        values=count_values([record for _, record in plain.records]),
        differing=differing_items(plain.records, monitored.records),
        evaluations=monitored.evaluations,
        problem=_problem(configuration, monitored),
    )


def _problem(configuration: Configuration, training: Training) -> str:
    """Return why a training was not monitored as it should have been."""
    expected = configuration.expected_error
    unexpected = [line for line in training.skipped if not expected or expected not in line]
    if unexpected:
        return unexpected[0]
    if expected and not training.skipped:
        return f"expected the evaluation to fail with {expected!r}, it did not"
    if not training.evaluations:
        return "there was no evaluation"
    return "" if training.report else "there is no report"


def differing_items(first: Records, second: Records) -> dict[str, list[str]]:
    """Return the items that differ at any hook, each with the first few places."""
    found: dict[str, list[str]] = {}
    if [hook for hook, _ in first] != [hook for hook, _ in second]:
        found["hooks"] = [f"{len(first)} and {len(second)} of them, or in another order"]
    for n, ((hook, one), (_, other)) in enumerate(zip(first, second, strict=False)):
        for item in ITEMS:
            places = differences(one[item], other[item])
            found.setdefault(item, []).extend(f"{n} {hook}: {place}" for place in places)
    return {item: places[:5] for item, places in found.items() if places}


def train(
    configuration: Configuration,
    folder: Path,
    options: Options,
    *others: pl.Callback,
    monitored: bool = True,
) -> Training:
    """Train by a configuration and record all state.

    Args:
        configuration: how to train.
        folder: for files.
        options: how much the callback has to do.
        others: further callbacks, listed where `CAMCallback` is.
        monitored: whether `CAMCallback` is among the callbacks.
    """
    _reset()
    recorder = StateRecorder()
    limits: list[dict[str, Any]] = [{"max_steps": 1}, {}] if configuration.resumed else [{}]
    evaluations, checkpoint = 0, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for limit in limits:
            settings = {**options.callback, **configuration.callback}
            ours = [CAMCallback(**settings)] if monitored else []
            callbacks = [*configuration.before(), *ours, *others, *configuration.after(), recorder]
            chosen = {**_TRAINER, **options.trainer, **configuration.trainer, **limit}
            if configuration.needs == "cuda":
                chosen["accelerator"] = "gpu"
            loggers = [TensorBoardLogger(folder, name="tb"), UserMetricsLogger()]
            trainer = pl.Trainer(
                **chosen, callbacks=callbacks, logger=loggers, default_root_dir=folder
            )
            trainer.fit(configuration.module(), configuration.data(), ckpt_path=checkpoint)
            evaluations += sum(_evaluations(callback) for callback in ours)
            checkpoint = folder / "middle.ckpt"
            if limit:
                trainer.save_checkpoint(checkpoint)
    messages = [str(each.message) for each in caught]
    return Training(
        recorder.records,
        evaluations,
        tuple(message for message in messages if "lightning_cam skipped" in message),
        any(folder.rglob("report.html")),
    )


def _evaluations(callback: CAMCallback) -> int:
    probes = callback.state_dict()["probes"].values()
    return sum(int(probe["history"]["count"]) for probe in probes)


def _reset() -> None:
    """Reset all random streams and what torch compiled."""
    pl.seed_everything(7, workers=True, verbose=False)
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    from torch._dynamo.utils import counters

    torch.compiler.reset()
    counters.clear()
    COMPILED["graphs"] = 0
