"""`FAULTS`: what can be injected into a training. A new fault is a function and a decorator."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustness.fault_injection.training import EPOCHS, FaultyModule

from lightning_cam import Threshold

ALWAYS_TRIGGERED = Threshold("entropy", above=0.0, patience=1, warmup=0)


@dataclass
class TrainingSetup:
    """What one training consists of; faults change it.

    Attributes:
        folder: for files.
        options: arguments of `CAMCallback`.
        module: makes the network.
        settings: arguments of `Trainer`.
        contexts: in which the training runs.
        alter_state: alters the callback's state in a checkpoint, from which training is resumed
            after one epoch.
        resumed_options: arguments of the callback of the resumed training, in place of `options`.
    """

    folder: Path
    options: dict[str, Any] = field(default_factory=dict)
    module: Callable[[], FaultyModule] = FaultyModule
    settings: dict[str, Any] = field(default_factory=dict)
    contexts: list[contextlib.AbstractContextManager[Any]] = field(default_factory=list)
    alter_state: Callable[[dict[str, Any]], Any] | None = None
    resumed_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """A row of the table.

    Attributes:
        description: what is done to the training.
        inject: does it.
        warning: words of the one warning; empty where there is none, because nothing is lost.
        ends_with: the exception that ends the training, as it would without the callback.
        strict_raises: whether `strict=True` raises.
        epochs: number of epochs that are trained.
    """

    description: str
    inject: Callable[[TrainingSetup], None]
    warning: str = ""
    ends_with: type[BaseException] | tuple[type[BaseException], ...] | None = None
    strict_raises: bool = True
    epochs: int = EPOCHS


FAULTS: dict[str, Fault] = {}


def fault(
    description: str, warning: str = "", **other: Any
) -> Callable[[Callable[[TrainingSetup], None]], Callable[[TrainingSetup], None]]:
    """Return a decorator that adds a function to `FAULTS`: see `Fault`."""

    def register(inject: Callable[[TrainingSetup], None]) -> Callable[[TrainingSetup], None]:
        FAULTS[inject.__name__] = Fault(description, inject, warning, **other)
        return inject

    return register
