"""`feed_of`: pass a batch through the hooks that stand between a dataloader and the model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from lightning_cam.runtime.model_state import preserve_model_state


def feed_of(trainer: Any, module: Any, warn_once: Callable[[str], None]) -> Callable[[Any], Any]:
    """Return a function from a collated batch to the batch that `validation_step` would get.

    It calls what Lightning's evaluation loop does: the precision's `convert_input`, the
    `on_before_batch_transfer`, `transfer_batch_to_device` and `on_after_batch_transfer` of module
    or datamodule. The trainer is in its validation stage meanwhile and the module in evaluation
    mode, so that augmentation for training is left out, and both are as before afterwards. Where a
    hook fails, there is a warning and the batch stays as the loader made it.

    Args:
        trainer: the trainer.
        module: its module.
        warn_once: takes a warning.
    """

    def feed(batch: Any) -> Any:
        try:
            with _validating(trainer), preserve_model_state(module, module.device):
                fed = trainer.precision_plugin.convert_input(batch)
                fed = module._on_before_batch_transfer(fed, dataloader_idx=0)  # noqa: SLF001
                return trainer.strategy.batch_to_device(fed, dataloader_idx=0)
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
