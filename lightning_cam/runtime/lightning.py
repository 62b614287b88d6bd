"""What is needed of Lightning, in one place: its two namespaces and its private attributes."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch.nn.parameter import is_lazy

from lightning_cam.runtime.checks import OnAlert
from lightning_cam.runtime.distributed import unsupported_sharding
from lightning_cam.runtime.files import safe_name
from lightning_cam.runtime.forward_context import ForwardContext

if TYPE_CHECKING:
    from lightning.pytorch import Callback as LightningCallback
    from lightning.pytorch import LightningModule, Trainer

    from lightning_cam.runtime.errors import ErrorPolicy

    CallbackBase = LightningCallback
else:

    def _callback_base() -> type:
        """Return a base class that both `lightning` and `pytorch_lightning` accept.

        The two packages have different class objects, and either may be the one installed.
        """
        from lightning_utilities.core import rank_zero

        bases = []
        messages = getattr(rank_zero, "log", None)
        for package in ("lightning.pytorch", "pytorch_lightning"):
            with contextlib.suppress(ImportError):
                bases.append(importlib.import_module(package).Callback)
            # The package imported last would take over the messages of both.
            messages = messages or getattr(rank_zero, "log", None)
        if messages is not None:
            rank_zero.log = messages
        if not bases:
            raise ImportError("CAMCallback needs Lightning: pip install lightning")
        return type("CallbackBase", tuple(dict.fromkeys(bases)), {})

    CallbackBase = _callback_base()


_LOGGING = ("log", "log_dict")
# The run's folder by trainer, with the loggers that it was found for.
_FOLDERS: WeakKeyDictionary[Any, tuple[tuple[Any, ...], Path]] = WeakKeyDictionary()

# --- before the training -----------------------------------------------------------------------


def check_strategy(trainer: Trainer) -> None:
    """Raise ValueError where the strategy keeps weights in a form that cannot be run in a hook."""
    names = {kind.__name__ for kind in type(trainer.strategy).__mro__}
    if "FSDPStrategy" in names:
        raise ValueError(unsupported_sharding("FSDPStrategy"))
    if "DeepSpeedStrategy" in names and getattr(trainer.strategy, "zero_stage_3", False):
        raise ValueError(unsupported_sharding("DeepSpeedStrategy with ZeRO stage 3"))


def check_validation(trainer: Trainer, *, needs_data: bool) -> None:
    """Check that there will be validations to evaluate at.

    Args:
        trainer: the trainer.
        needs_data: whether a probe is sampled from the validation data.

    Raises:
        ValueError: a probe needs validation data, and there is none.
    """
    if needs_data and not has_validation(trainer):
        raise ValueError(
            "expected validation data to choose a probe from, got a module or data without a "
            "validation loop. Give CAMCallback(probe=Probe(images, targets)), probe='train', or "
            "define validation_step and val_dataloader."
        )
    if trainer.limit_val_batches == 0:
        warn(
            "CAMCallback evaluates at validation, and limit_val_batches=0 turns that off: nothing "
            "will be logged."
        )


def has_validation(trainer: Trainer) -> bool:
    """Return whether the module and its data define a validation loop, of 0 batches or more."""
    loop = trainer.fit_loop.epoch_loop.val_loop
    module = type(trainer.lightning_module)
    overridden = module.validation_step.__module__.split(".")[0] not in (
        "lightning",
        "pytorch_lightning",
    )
    return bool(loop._data_source.is_defined()) and overridden  # noqa: SLF001


def is_initialized(module: LightningModule) -> bool:
    """Return whether lazy modules have their weights, which their first pass in training makes."""
    return not any(is_lazy(each) for each in (*module.parameters(), *module.buffers()))


# --- at a validation ---------------------------------------------------------------------------


def is_fitting(trainer: Trainer) -> bool:
    """Return whether `trainer.fit` is running, rather than `trainer.validate`."""
    return trainer.state.fn is not None and trainer.state.fn.value == "fit"


def synchronize(trainer: Trainer) -> None:
    """Wait for what is queued on a GPU, so that its time is not counted as the monitor's."""
    if trainer.strategy.root_device.type == "cuda":
        torch.cuda.synchronize(trainer.strategy.root_device)


def forward_context(trainer: Trainer, module: LightningModule) -> ForwardContext:
    """Return the device, dtype and precision in which the trainer runs the module.

    Autocast is off inside the hooks of callbacks, so it is entered again.
    """
    precision = trainer.precision_plugin

    def to_model(images: torch.Tensor) -> torch.Tensor:
        converted: torch.Tensor = precision.convert_input(images.to(module.device))
        return converted

    @contextlib.contextmanager
    def run() -> Iterator[None]:
        with without_logging(module), precision.forward_context():
            yield

    return ForwardContext(to_model, run)


@contextlib.contextmanager
def without_logging(module: LightningModule) -> Iterator[None]:
    """Ignore what a module logs in its `forward`: our passes are no part of its averages.

    Outside of its steps logging would raise. The instance has functions of its own meanwhile.
    """
    own = vars(module)
    before = {name: own[name] for name in _LOGGING if name in own}
    own.update(dict.fromkeys(_LOGGING, _log_nothing))
    try:
        yield
    finally:
        for name in _LOGGING:
            del own[name]
        own.update(before)


def _log_nothing(*_: Any, **__: Any) -> None:
    """Take the place of `LightningModule.log`."""


def log_step(trainer: Trainer, *, train_epoch_end: bool = False) -> int:
    """Return the step under which Lightning logs the scalars of this validation.

    Not `global_step`, which differs with several optimizers: images would be at other steps than
    the curves.

    Args:
        trainer: the trainer.
        train_epoch_end: whether this is `on_train_epoch_end`, which logs one step earlier.
    """
    step = int(trainer.fit_loop.epoch_loop._batches_that_stepped)  # noqa: SLF001
    return step - 1 if train_epoch_end else step


def log_to_loggers(
    trainer: Trainer, errors: ErrorPolicy, step: int, scalars: Mapping[str, float]
) -> None:
    """Log scalars by one call for each logger; every rank calls it, as Lightning does.

    `LightningModule.log` would make a tensor of each value, read each back from the device, and
    reduce each over the processes, which all know it.

    Args:
        trainer: the trainer.
        errors: what to do about exceptions of loggers.
        step: under which Lightning logs its own.
        scalars: by full name.
    """
    metrics = {**scalars, "epoch": trainer.current_epoch}  # as Lightning's own calls have it
    for logger in trainer.loggers:
        with errors.suppress("scalars in a logger"):
            logger.log_metrics(metrics, step)


def log_through_module(
    trainer: Trainer,
    module: LightningModule,
    scalars: Mapping[str, float],
    *,
    progress_bar: str = "",
    logger: bool | None = None,
) -> None:
    """Log scalars by `LightningModule.log`: they are in what `trainer.validate` returns and prints.

    Args:
        trainer: the trainer.
        module: its module.
        scalars: by full name; equal in all processes.
        progress_bar: the one to show there. Lightning takes each name once only.
        logger: whether the loggers get them; by default where there are any.
    """
    several = trainer.world_size > 1
    for name, value in scalars.items():
        # Both together: neither a reduction over the processes nor a warning that there is none.
        module.log(
            name,
            value,
            prog_bar=name == progress_bar,
            logger=logger,
            on_step=False,
            on_epoch=True,
            sync_dist=several,
            rank_zero_only=several,
        )


def publish(trainer: Trainer, scalars: Mapping[str, float]) -> None:
    """Put scalars where `EarlyStopping`, `ModelCheckpoint` and schedulers read them.

    Not through `trainer.callback_metrics`: to read that property computes the module's own
    metrics, before the module's last hook of the validation has updated them.

    Args:
        trainer: the trainer.
        scalars: by full name.
    """
    if scalars:
        values = torch.tensor(list(scalars.values()), dtype=torch.float32).unbind()
        known = trainer._logger_connector._callback_metrics  # noqa: SLF001
        known.update(zip(scalars, values, strict=True))


def act_on_alert(
    trainer: Trainer, module: LightningModule, alert: Any, action: OnAlert, folder: Path
) -> None:
    """Do what was asked for; every rank must call this with the same alerts.

    Args:
        trainer: the trainer.
        module: its module.
        alert: an `Alert`.
        action: what to do.
        folder: of the run, for checkpoints.
    """
    if callable(action):
        action(alert, trainer, module)
    elif action == "warn":
        warn(f"CAMCallback: {alert}")
    elif action == "stop":
        trainer.should_stop = True
    elif action == "checkpoint":
        name = f"alert-{safe_name(alert.metric)}-step={alert.step:08d}.ckpt"
        save_checkpoint(trainer, folder / "checkpoints" / name)


def save_checkpoint(trainer: Trainer, path: Path) -> None:
    """Save a checkpoint; every rank must call.

    The others wait at a barrier for the one that writes, so where that fails it must reach it too.
    """
    try:
        trainer.save_checkpoint(path)
    except Exception:
        trainer.strategy.barrier()
        raise


# --- files and messages --------------------------------------------------------------------------


def agreed_log_dir(trainer: Trainer, warn_once: Callable[[str], None]) -> Path:
    """Return the folder of the run; every rank must call, since it is broadcast the first time.

    For loggers whose folder holds all runs it is named as `ModelCheckpoint` names it.
    """
    loggers = tuple(trainer.loggers)
    known = _FOLDERS.get(trainer)
    if known is not None and known[0] == loggers:
        return known[1]
    found = str(trainer.default_root_dir)
    try:
        found = _log_dir(trainer)
    except Exception as error:  # noqa: BLE001 - a logger that is down has no folder either
        warn_once(
            "lightning_cam writes its files into default_root_dir: the logger cannot name its "
            f"folder. {type(error).__name__}: {error}"
        )
    folder = Path(trainer.strategy.broadcast(found))
    _FOLDERS[trainer] = loggers, folder
    return folder


def _log_dir(trainer: Trainer) -> str:
    """Return this process's idea of the folder; `trainer.log_dir` would broadcast an error too."""
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
    """Log one line on rank zero through Lightning's logger, which prints it by default."""
    if trainer.is_global_zero:
        modules = [kind.__module__ for kind in type(trainer).__mro__]
        mirror = any(module.startswith("pytorch_lightning.") for module in modules)
        logging.getLogger("pytorch_lightning" if mirror else "lightning.pytorch").info(message)


def warn(message: str) -> None:
    """Warn on rank zero."""
    from lightning_utilities.core.rank_zero import rank_zero_warn

    rank_zero_warn(message, stacklevel=5)
