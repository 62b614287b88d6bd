"""`Training`: what a stranger hands to `Trainer.fit`, and `run`, which does so and listens."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from helpers.training import Module, Squares, loader, make_trainer
from lightning.pytorch import seed_everything

from lightning_cam import CAMCallback


@dataclass
class Training:
    """Module, data, and arguments of the trainer and the callback."""

    module: Any = None
    train: Any = None
    val: Any = None
    trainer: Mapping[str, Any] = field(default_factory=dict)
    callback: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Outcome:
    """What came of it: the trainer, what was raised, our warnings, weights at the end."""

    trainer: pl.Trainer
    error: BaseException | None
    warnings: list[str]
    weights: dict[str, torch.Tensor]
    module: Any
    callback: CAMCallback | None
    pictures: int

    @property
    def metrics(self) -> dict[str, float]:
        found = self.trainer.callback_metrics.items()
        return {name: float(value) for name, value in found if name.startswith("cam/")}


def images_and_labels(count: int = 12, seed: int = 0) -> list[Any]:
    """Return a plain list of images and labels, without masks."""
    data = Squares(count, seed)
    return list(zip(data.images, data.targets, strict=True))


def run(make: Callable[[], Training], folder: Path, *, monitored: bool = True) -> Outcome:
    """Fit; return what came of it."""
    seed_everything(3, verbose=False)
    training = make()
    module = Module() if training.module is None else training.module
    options = {"probe_size": 4, "num_pictures": 2, "panels": ("overlay", "timeline")}
    callback = CAMCallback(**{**options, **training.callback}) if monitored else None
    settings = {"max_epochs": 2, **training.trainer}
    trainer = make_trainer(folder, [callback] if callback else [], **settings)
    train = loader(images_and_labels()) if training.train is None else training.train
    val = loader(images_and_labels(8, seed=1)) if training.val is None else training.val
    error: BaseException | None = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            trainer.fit(module, train, val)
        except (Exception, SystemExit, KeyboardInterrupt) as raised:  # noqa: BLE001
            error = raised
    messages = [str(each.message) for each in caught]
    ours = [m for m in messages if "lightning_cam" in m or "CAMCallback" in m]
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    pictures = len([*folder.rglob("*.png"), *folder.rglob("*.jpg")])
    return Outcome(trainer, error, ours, weights, module, callback, pictures)
