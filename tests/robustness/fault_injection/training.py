"""The training that faults are injected into, and the state that is compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from helpers.training import Module, Squares, loader, make_trainer
from torch import Tensor

EPOCHS = 3
FAULTY_EPOCH = 1  # in whose validation faults of the network occur, counted from 0

Forward = Callable[["FaultyModule", Tensor], Any]


class FaultyModule(Module):
    """A small classifier whose `forward` fails in one validation.

    Its own steps call `self.net`, so only the pass of `CAMCallback` is affected.

    Args:
        faulty_forward: replaces `forward` in the validation of `FAULTY_EPOCH`.
    """

    def __init__(self, faulty_forward: Forward | None = None) -> None:
        super().__init__()
        self.faulty_forward = faulty_forward

    @property
    def is_faulty(self) -> bool:
        trainer = self._trainer
        if trainer is None or trainer.sanity_checking:
            return False
        return bool(trainer.current_epoch == FAULTY_EPOCH)

    def forward(self, images: Tensor) -> Any:
        if self.faulty_forward is not None and self.is_faulty:
            return self.faulty_forward(self, images)
        return self.net(images)


class StateOfEpochs(pl.Callback):
    """Keeps a copy of weights and momenta at the end of each epoch."""

    def __init__(self) -> None:
        self.states: list[list[Tensor]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        self.states.append(state_of(trainer))


def state_of(trainer: pl.Trainer) -> list[Tensor]:
    """Return copies of all weights, buffers and momenta."""
    states = [s for optimizer in trainer.optimizers for s in optimizer.state.values()]
    momenta = [state["momentum_buffer"] for state in states]
    return [t.clone() for t in (*trainer.lightning_module.state_dict().values(), *momenta)]


def is_same_state(first: list[Tensor], second: list[Tensor]) -> bool:
    """Return whether two states are equal, bit for bit."""
    return len(first) == len(second) and all(map(torch.equal, first, second))


def train(
    folder: Path,
    module: FaultyModule,
    *callbacks: pl.Callback,
    epochs: int = EPOCHS,
    resume: Path | None = None,
    **settings: Any,
) -> pl.Trainer:
    """Train on sixteen small images.

    Args:
        folder: for files.
        module: the network.
        callbacks: of the trainer.
        epochs: number of epochs.
        resume: checkpoint to resume from.
        **settings: further arguments of `Trainer`.
    """
    trainer = make_trainer(folder, callbacks, **{"max_epochs": epochs, **settings})
    trainer.fit(module, loader(Squares(16)), loader(Squares(8, seed=2)), ckpt_path=resume)
    return trainer


def reference_states(folder: Path) -> list[list[Tensor]]:
    """Return the state after each epoch of a training without `CAMCallback`."""
    states = StateOfEpochs()
    train(folder, FaultyModule(), states)
    return states.states
