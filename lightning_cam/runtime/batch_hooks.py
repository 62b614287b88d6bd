"""`feed_of`: pass a batch through the hooks that stand between a dataloader and the model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from lightning_cam.runtime.generators import preserve_generators
from lightning_cam.runtime.model_state import preserve_model_state


def feed_of(trainer: Any, module: Any, warn_once: Callable[[str], None]) -> Callable[[Any], Any]:
    """Return a function from a collated batch to the batch that `validation_step` would get.

    It calls what Lightning's evaluation loop does: the precision's `convert_input`, the
    `on_before_batch_transfer`, `transfer_batch_to_device` and `on_after_batch_transfer` of module
    or datamodule. The trainer is in its validation stage meanwhile and the module in evaluation
    mode, so that augmentation for training is left out, and both are as before afterwards, the
    random generators of module and datamodule included. Where a hook fails, there is a warning and
    the batch stays as the loader made it.

    Args:
        trainer: the trainer.
        module: its module.
        warn_once: takes a warning.
    """

    def run_hooks(batch: Any) -> Any:
        with _validating(trainer):
            fed = trainer.precision_plugin.convert_input(batch)
            fed = module._on_before_batch_transfer(fed, dataloader_idx=0)  # noqa: SLF001
            return trainer.strategy.batch_to_device(fed, dataloader_idx=0)

    return _guarded(run_hooks, module, warn_once, getattr(trainer, "datamodule", None))


def feed_without_trainer(
    module: Any, datamodule: Any, warn_once: Callable[[str], None]
) -> Callable[[Any], Any]:
    """Return the same for a module that has no trainer, such as one of a checkpoint.

    Args:
        module: a `LightningModule`, or any other module, which has no hooks.
        datamodule: whose hooks come before the module's, or None.
        warn_once: takes a warning.
    """

    def run_hooks(batch: Any) -> Any:
        for hook in ("on_before_batch_transfer", "on_after_batch_transfer"):
            holder = datamodule if _overrides(datamodule, hook) else module
            if hasattr(holder, hook):
                batch = getattr(holder, hook)(batch, 0)
        return batch

    return _guarded(run_hooks, module, warn_once, datamodule)


def _overrides(holder: Any, hook: str) -> bool:
    """Return whether a class has a hook that is not Lightning's own."""
    origin = getattr(getattr(type(holder), hook, None), "__module__", "lightning")
    return origin.split(".")[0] not in ("lightning", "pytorch_lightning")


def _guarded(
    run_hooks: Callable[[Any], Any], module: Any, warn_once: Callable[[str], None], datamodule: Any
) -> Callable[[Any], Any]:
    """Return a function that runs hooks and leaves the module as it was, also where they fail."""
    weight = next(module.parameters(), torch.zeros(()))

    def feed(batch: Any) -> Any:
        try:
            untouched = preserve_model_state(module, weight.device)
            with untouched, preserve_generators(module, datamodule):
                return run_hooks(batch)
        except Exception as error:  # noqa: BLE001 - a hook of the user's may raise anything
            warn_once(
                "lightning_cam could not pass the probe through the batch hooks of the module, and "
                f"takes it as the dataloader made it. {type(error).__name__}: {error}. Give "
                "CAMCallback(probe=Probe(images, targets)) with images as the model is fed them."
            )
            return batch

    return feed


@contextlib.contextmanager
def _validating(trainer: Any) -> Iterator[None]:
    stage = trainer.state.stage
    trainer.validating = True
    try:
        yield
    finally:
        trainer.state.stage = stage
