"""The checkpoints of a past training, in the order in which they were saved."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from lightning_cam.cli import model_loading
from lightning_cam.cli.console import listed, note, progress
from lightning_cam.runtime.checkpoints import (
    TrainingTime,
    match_weights,
    monitored_value_of,
    training_time_of,
)


@dataclass(frozen=True)
class SavedModel:
    """A checkpoint.

    Attributes:
        file: its path.
        time: epoch and step at which it was saved.
        monitored_value: how good the model was, the higher the better; NaN where unknown.
    """

    file: Path
    time: TrainingTime
    monitored_value: float


def find(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder and its subfolders, ordered by the numbers in their names.

    Raises:
        ValueError: no folder, or none in it.
    """
    if not folder.is_dir():
        raise ValueError(f"expected a folder of checkpoints, got {folder}: no such folder")
    for suffixes in ((".ckpt",), (".pt", ".pth")):
        found = [p for p in folder.rglob("*") if p.suffix in suffixes and p.is_file()]
        if found:
            return sorted(found, key=_natural)
    raise ValueError(f"expected *.ckpt, *.pt or *.pth files in {folder}, got none")


def in_order(files: Sequence[Path], model: nn.Module, args: argparse.Namespace) -> list[SavedModel]:
    """Return the checkpoints by the step that they were saved at, one per step, checked to fit.

    Raises:
        ValueError: weights that do not fit the model, or a step that only some checkpoints hold.
    """
    saved = []
    without_step = []
    for number, file in enumerate(progress(files, "read", len(files))):
        checkpoint = model_loading.open_checkpoint(file, args)
        model_loading.check_fit(match_weights(model, checkpoint), partial=args.partial, file=file)
        time = training_time_of(checkpoint)
        if time is None:
            without_step.append(file.name)
        known = time or TrainingTime(number, number)
        saved.append(SavedModel(file, known, monitored_value_of(checkpoint)))
    if without_step and len(without_step) < len(files):
        raise ValueError(
            f"expected checkpoints that hold their step, got none in {listed(without_step)}"
        )
    if without_step:
        note("the checkpoints hold no step: taken in the order of their names")
    saved.sort(key=lambda each: (each.time.step, each.time.epoch))
    return _one_per_step(saved)


def _one_per_step(saved: Sequence[SavedModel]) -> list[SavedModel]:
    kept: list[SavedModel] = []
    for each in saved:
        if kept and kept[-1].time == each.time:
            note(f"{each.file.name} is left out: of the same step as {kept[-1].file.name}")
        else:
            kept.append(each)
    return kept


def _natural(path: Path) -> list[tuple[str, int]]:
    """Return a key that sorts `epoch=9` before `epoch=10`."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d*)", str(path))]
