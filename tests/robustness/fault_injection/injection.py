"""Train with a fault, and return what the user sees and what is left behind."""

from __future__ import annotations

import contextlib
import importlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from helpers.training import squares_probe
from lightning.pytorch.callbacks import ModelCheckpoint
from robustness.fault_injection.fault import FAULTS, TrainingSetup
from robustness.fault_injection.training import FaultyModule, state_of, train
from torch import Tensor

from lightning_cam import CAMCallback

__all__ = ["FAULTS", "Outcome", "inject"]

for _module in ("output_faults", "model_faults", "checkpoint_faults"):  # the order of the table
    importlib.import_module(f"robustness.fault_injection.{_module}")

_STEPS_PER_EPOCH = 4


@dataclass(frozen=True)
class Outcome:
    """What a training with a fault led to.

    Attributes:
        warnings: of the callback.
        state: weights, buffers and momenta at the end.
        epochs: number of epochs trained.
        incomplete_files: names of files that are not complete.
        error: the exception that ended the training.
        hooks: number of hooks left on the network.
    """

    warnings: list[str]
    state: list[Tensor]
    epochs: int
    incomplete_files: list[str]
    error: BaseException | None
    hooks: int


class _TrainerKeeper(pl.Callback):
    """Keeps the trainer, also where `fit` raises."""

    def __init__(self) -> None:
        self.trainer: pl.Trainer | None = None

    def setup(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        self.trainer = trainer


def inject(name: str, folder: Path, *, strict: bool = False) -> Outcome:
    """Run a training with a fault.

    Args:
        name: of the fault, in `FAULTS`.
        folder: for files.
        strict: argument of `CAMCallback`.
    """
    options = {"probe": squares_probe(), "num_pictures": 2, "interventions_every": 1, "alerts": ()}
    setup = TrainingSetup(folder, {**options, "panels": ("overlay", "timeline"), "strict": strict})
    FAULTS[name].inject(setup)
    resume = _checkpoint(setup) if setup.alter_state else None
    error, module, keeper = None, setup.module(), _TrainerKeeper()
    with warnings.catch_warnings(record=True) as caught, contextlib.ExitStack() as stack:
        warnings.simplefilter("always")
        for context in setup.contexts:
            stack.enter_context(context)
        others = setup.settings.pop("callbacks", [])
        try:
            callback = CAMCallback(**{**setup.options, **setup.resumed_options})
            train(folder, module, keeper, callback, *others, resume=resume, **setup.settings)
        except BaseException as raised:
            if keeper.trainer is None:
                raise
            error = raised
    assert keeper.trainer is not None
    return Outcome(
        warnings=[str(w.message) for w in caught if "lightning_cam" in str(w.message)],
        state=state_of(keeper.trainer),
        epochs=keeper.trainer.global_step // _STEPS_PER_EPOCH,
        incomplete_files=_incomplete_files(folder),
        error=error,
        hooks=sum(len(m._forward_hooks) for m in module.modules()),
    )


def _checkpoint(setup: TrainingSetup) -> Path:
    """Train one epoch, and alter the callback's state in the checkpoint."""
    saver = ModelCheckpoint(setup.folder / "saved", save_last=True, save_top_k=0)
    callback = CAMCallback(**{**setup.options, "report": False})
    train(setup.folder, FaultyModule(), callback, saver, epochs=1, enable_checkpointing=True)
    path = setup.folder / "saved" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    (key,) = [key for key in content["callbacks"] if "CAMCallback" in key]
    assert setup.alter_state is not None
    setup.alter_state(content["callbacks"][key])
    torch.save(content, path)
    return path


def _incomplete_files(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [path.name for path in files if not _is_complete(path)]


def _is_complete(path: Path) -> bool:
    if path.suffix == ".png":
        return path.read_bytes().endswith(b"IEND\xaeB`\x82")
    if path.suffix == ".jsonl":
        lines = path.read_text().split("\n")[:-1]
        return all(json.loads(line) for line in lines) and path.read_bytes()[-1:] in (b"", b"\n")
    if path.suffix == ".html":
        return path.read_text().rstrip().endswith("</html>")
    return path.suffix != ".part"
