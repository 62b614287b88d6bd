"""The only room that knows Lightning's private parts and its two namespaces."""

from __future__ import annotations

import contextlib
import importlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_cam.sharding import refusal
from lightning_cam.team import Team

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lightning.pytorch import Callback as LightningCallback
    from lightning.pytorch import LightningModule, Trainer
    from torch import Tensor

    CallbackBase = LightningCallback
else:

    def _callback_base() -> type:
        """Return a base that both `lightning` and `pytorch_lightning` take for their own.

        The two packages have different class objects, and either may be the one installed.
        """
        from lightning_utilities.core import rank_zero

        bases = []
        messages = getattr(rank_zero, "log", None)
        for package in ("lightning.pytorch", "pytorch_lightning"):
            with contextlib.suppress(ImportError):
                bases.append(importlib.import_module(package).Callback)
            # The one imported last would take over the messages of both.
            messages = messages or getattr(rank_zero, "log", None)
        if messages is not None:
            rank_zero.log = messages
        if not bases:
            raise ImportError("CAMCallback needs Lightning: pip install lightning")
        return type("CallbackBase", tuple(dict.fromkeys(bases)), {})

    CallbackBase = _callback_base()

__all__ = [
    "CallbackBase",
    "agreed_log_dir",
    "as_forward",
    "check_strategy",
    "fitting",
    "has_validation",
    "info",
    "load_validation_data",
    "log_step",
    "monitored",
    "on_device",
    "save_checkpoint",
    "split_loader",
    "team",
    "warn",
]


def log_step(trainer: Trainer, *, train_epoch_end: bool = False) -> int:
    """Return the step under which Lightning logs this validation's scalars.

    Not `global_step`: with several optimizers they differ, and pictures would leave the curves.

    Args:
        trainer: who logs.
        train_epoch_end: whether this is `on_train_epoch_end`, which logs one step further back.
    """
    step = int(trainer.fit_loop.epoch_loop._batches_that_stepped)  # noqa: SLF001
    return step - 1 if train_epoch_end else step


def check_strategy(trainer: Trainer) -> None:
    """Raise ValueError where the strategy keeps the weights in a form that we cannot run."""
    if "FSDPStrategy" in {kind.__name__ for kind in type(trainer.strategy).__mro__}:
        raise ValueError(refusal("FSDPStrategy"))


def save_checkpoint(trainer: Trainer, path: Path) -> None:
    """Save a checkpoint; every rank must call.

    The others wait for the one that writes, so where that fails it must come to their barrier.
    """
    try:
        trainer.save_checkpoint(path)
    except Exception:
        trainer.strategy.barrier()
        raise


def team(trainer: Trainer) -> Team:
    """Return the processes that train together and so can look together."""
    import torch.distributed as dist

    together = dist.is_available() and dist.is_initialized()
    return Team(trainer.global_rank, trainer.world_size) if together else Team()


def load_validation_data(trainer: Trainer) -> None:
    """Load the validation dataloaders where Lightning has not yet: it waits for the first epoch.

    The same steps that its fit loop takes when validation is due in the first epoch.
    """
    wanted = has_validation(trainer) and trainer.limit_val_batches != 0
    if trainer.val_dataloaders is None and wanted:
        trainer.validating = True
        trainer.fit_loop.epoch_loop.val_loop.setup_data()
        trainer.training = True


def monitored(trainer: Trainer) -> tuple[str, str] | None:
    """Return metric and mode by which the trainer's own callbacks tell better from worse."""
    for callback in (*trainer.checkpoint_callbacks, *trainer.early_stopping_callbacks):
        monitor, mode = getattr(callback, "monitor", None), getattr(callback, "mode", "min")
        if monitor:
            return str(monitor), str(mode)
    return None


def fitting(trainer: Trainer) -> bool:
    """Tell whether `trainer.fit` is running, rather than `trainer.validate`."""
    return trainer.state.fn is not None and trainer.state.fn.value == "fit"


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


def agreed_log_dir(trainer: Trainer, tell: Callable[[str], None]) -> Path:
    """Return the run's folder; every rank must call, since Lightning broadcasts it.

    That of loggers without a folder of their own is named as `ModelCheckpoint` names it: what they
    call their folder holds all runs.
    """
    found = str(trainer.default_root_dir)
    try:
        found = _log_dir(trainer)
    except Exception as error:  # noqa: BLE001 - a logger that is down has no folder either
        tell(
            "CAMCallback writes its files into default_root_dir: the logger cannot name its "
            f"folder. {type(error).__name__}: {error}"
        )
    return Path(trainer.strategy.broadcast(found))


def _log_dir(trainer: Trainer) -> str:
    """Return this process's idea of `trainer.log_dir`, which would broadcast before we know it."""
    if not trainer.loggers:
        return str(trainer.default_root_dir)
    logger = trainer.loggers[0]
    names = {kind.__name__ for kind in type(logger).__mro__}
    own_folder = names & {"TensorBoardLogger", "CSVLogger"}
    folder = Path((logger.log_dir if own_folder else logger.save_dir) or trainer.default_root_dir)
    if own_folder or "DummyLogger" in names or logger.name is None:
        return str(folder)
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return str(folder / str(logger.name) / version)


def info(trainer: Trainer, message: str) -> None:
    """Print one line on rank zero, through Lightning's logger, which users see by default."""
    if trainer.is_global_zero:
        homes = [kind.__module__ for kind in type(trainer).__mro__]
        mirror = any(home.startswith("pytorch_lightning.") for home in homes)
        logging.getLogger("pytorch_lightning" if mirror else "lightning.pytorch").info(message)


def warn(message: str) -> None:
    """Warn on rank zero."""
    from lightning_utilities.core.rank_zero import rank_zero_warn

    rank_zero_warn(message, stacklevel=5)
