"""The only room that knows Lightning's private parts and its two namespaces."""

from __future__ import annotations

import contextlib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightning.pytorch import Callback as LightningCallback
    from lightning.pytorch import LightningModule, Trainer
    from torch import Tensor

    CallbackBase = LightningCallback
else:

    def _callback_base() -> type:
        """Return a base that both `lightning` and `pytorch_lightning` take for their own.

        The two packages have different class objects, and either may be the one installed.
        """
        bases = []
        for package in ("lightning.pytorch", "pytorch_lightning"):
            with contextlib.suppress(ImportError):
                bases.append(importlib.import_module(package).Callback)
        if not bases:
            raise ImportError("CAMCallback needs Lightning: pip install lightning")
        return type("CallbackBase", tuple(dict.fromkeys(bases)), {})

    CallbackBase = _callback_base()

__all__ = [
    "CallbackBase",
    "agreed_log_dir",
    "as_forward",
    "has_validation",
    "info",
    "log_step",
    "split_loader",
    "warn",
]


def log_step(trainer: Trainer) -> int:
    """Return the step under which Lightning logs this validation's scalars.

    Not `global_step`: with several optimizers they differ, and pictures would leave the curves.
    """
    return int(trainer.fit_loop.epoch_loop._batches_that_stepped)  # noqa: SLF001


def has_validation(trainer: Trainer) -> bool:
    """Tell whether the module and its data define a validation loop, of 0 batches or more."""
    loop = trainer.fit_loop.epoch_loop.val_loop
    module = type(trainer.lightning_module)
    overridden = module.validation_step.__module__.split(".")[0] not in (
        "lightning",
        "pytorch_lightning",
    )
    return bool(loop._data_source.is_defined()) and overridden  # noqa: SLF001


def split_loader(trainer: Trainer, split: str) -> Any:
    """Return the trainer's `train` or `val` dataloaders, None before they are loaded."""
    return trainer.train_dataloader if split == "train" else trainer.val_dataloaders


@contextlib.contextmanager
def as_forward(trainer: Trainer) -> Iterator[None]:
    """Run the body in the trainer's precision: autocast is off inside callback hooks."""
    with trainer.precision_plugin.forward_context():
        yield


def on_device(trainer: Trainer, module: LightningModule, images: Tensor) -> Tensor:
    """Return images on the module's device in the dtype that its precision feeds it."""
    converted: Tensor = trainer.precision_plugin.convert_input(images.to(module.device))
    return converted


def agreed_log_dir(trainer: Trainer) -> Path:
    """Return the run's folder; every rank must call, since Lightning broadcasts it."""
    return Path(trainer.log_dir or trainer.default_root_dir)


def info(message: str) -> None:
    """Print one line on rank zero, through Lightning's logger, which users see by default."""
    from lightning_utilities.core.rank_zero import rank_zero_only

    if getattr(rank_zero_only, "rank", 0) in (0, None):
        import logging

        logging.getLogger("lightning.pytorch").info(message)


def warn(message: str) -> None:
    """Warn on rank zero."""
    from lightning_utilities.core.rank_zero import rank_zero_warn

    rank_zero_warn(message, stacklevel=5)
