"""What is needed of Hugging Face's `Trainer`, in one place."""

from __future__ import annotations

import base64
import inspect
import io
import zlib
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from lightning_cam.cli.console import say
from lightning_cam.integrations.transformers_loggers import PREFIX
from lightning_cam.probe import Probe
from lightning_cam.probe.build import ProbeContext
from lightning_cam.probe.origin import ProbeOrigin
from lightning_cam.probe.sampling import is_dataloader, sample_loader
from lightning_cam.probe.sources import ProbeSource
from lightning_cam.runtime.distributed import unsupported_sharding
from lightning_cam.runtime.generators import preserve_generators
from lightning_cam.runtime.model_state import isolated_rng

_IMAGES = "pixel_values"
_SPEED = "_samples_per_second"
_ZERO_3 = 3


def calling_trainer() -> Any:
    """Return the `Trainer` whose method called a callback's hook.

    Hooks are given arguments, state and model, but neither the trainer nor its other callbacks, and
    only through these do scalars and images reach its loggers.

    Raises:
        RuntimeError: no `Trainer` called.
    """
    from transformers import Trainer

    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, Trainer):
            return caller
        frame = frame.f_back
    raise RuntimeError(
        "expected CAMTrainerCallback in Trainer(callbacks=[...]), but its hook was called by "
        "something else. In a loop of your own use CAMMonitor."
    )


def call_with_keyword(module: nn.Module, images: Tensor) -> Any:
    """Return what a model says of images (B, C, H, W), as the `Trainer` calls it.

    By the keyword `pixel_values`, which is not the first argument of every model; by position where
    its `forward` takes no such keyword.
    """
    accepted = inspect.signature(type(module).forward).parameters.values()
    named = any(each.name == _IMAGES or each.kind is each.VAR_KEYWORD for each in accepted)
    return module(**{_IMAGES: images}) if named else module(images)


def check_sharding(trainer: Any) -> None:
    """Raise ValueError where weights are kept in a form that cannot be run in a hook."""
    if trainer.is_fsdp_enabled:
        raise ValueError(unsupported_sharding("FSDP"))
    if trainer.is_deepspeed_enabled:
        plugin = trainer.accelerator.state.deepspeed_plugin
        if getattr(plugin, "zero_stage", 0) == _ZERO_3:
            raise ValueError(unsupported_sharding("DeepSpeed with ZeRO stage 3"))


def sample_probe(
    trainer: Any, source: ProbeSource, size: int, seed: int, known: Mapping[str, Any]
) -> tuple[Probe, ProbeOrigin]:
    """Return a probe and how it was made.

    Samples are collated as the trainer does it. Names of classes are those of the model's
    `config.id2label`, mean and std those of the trainer's image processor, where the data says
    nothing else.

    Args:
        trainer: the `Trainer`.
        source: a `Probe`, a data set or dataloader, `"val"` or `"train"` for the trainer's data.
        size: number of images.
        seed: of their choice.
        known: arguments of `Probe` in place of what the data says; None for none.

    Raises:
        ValueError: the trainer has no such data, or it holds no images.
        Exception: whatever the data set raises.
    """
    known = {name: value for name, value in known.items() if value is not None}
    if isinstance(source, Probe):
        return source.replaced(**known) if known else source, ProbeOrigin()
    with isolated_rng(), preserve_generators(trainer.train_dataset, trainer.eval_dataset):
        loader = _loader(trainer, source)
    processor = getattr(trainer, "processing_class", None)
    processor = getattr(processor, "image_processor", processor)
    context = ProbeContext(holders=[trainer.model, processor], known=known)
    # Accelerate's loaders do more than to read: they share batches and count them.
    made = sample_loader(getattr(loader, "base_dataloader", loader), size, seed, context)
    return Probe(**made.values), made.origin


def _loader(trainer: Any, source: Any) -> Any:
    if source == "train":
        return trainer.get_train_dataloader()
    if not isinstance(source, str):
        return source if is_dataloader(source) else trainer.get_eval_dataloader(source)
    if source == "test":
        raise ValueError(
            "expected probe 'val' or 'train', got 'test', which a Trainer does not hold. Give the "
            "data set itself."
        )
    dataset = trainer.eval_dataset
    if dataset is None:
        raise ValueError(
            "expected Trainer(eval_dataset=...) to choose a probe from, got none. Give "
            "CAMTrainerCallback(probe=Probe(images, targets)), or probe='train'."
        )
    first = next(iter(dataset.values())) if isinstance(dataset, dict) else None
    return trainer.get_eval_dataloader(first)


def announce(trainer: Any, lines: Iterable[str]) -> None:
    """Print what was taken for what, on the process that prints."""
    for line in lines if trainer.is_world_process_zero() else ():
        say(f"lightning_cam: {line}")


# --- scalars --------------------------------------------------------------------------------------


def prefixed(scalars: Mapping[str, float], prefix: str = PREFIX) -> dict[str, float]:
    """Return scalars under the names that the `Trainer` gives those of an evaluation."""
    return {f"{prefix}_{name}": value for name, value in scalars.items()}


def prefix_of(metrics: Mapping[str, float]) -> str:
    """Return the `metric_key_prefix` of an evaluation, of which hooks are told the metrics only."""
    prefixes = (name.removesuffix(_SPEED) for name in metrics if name.endswith(_SPEED))
    return next(prefixes, PREFIX)


# --- the state in a checkpoint --------------------------------------------------------------------


def packed(state: Mapping[str, Any]) -> str:
    """Return a monitor's state as text, since `trainer_state.json` holds no tensors."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return base64.b64encode(zlib.compress(buffer.getvalue())).decode("ascii")


def unpacked(text: str) -> Any:
    """Return what `packed` made text of.

    Raises:
        Exception: it is damaged, or holds more than weights.
    """
    data = zlib.decompress(base64.b64decode(text, validate=True))
    return torch.load(io.BytesIO(data), weights_only=True)


# --- alerts ---------------------------------------------------------------------------------------


def act_on_alert(
    alert: Any, action: Any, trainer: Any, control: Any, warn: Callable[[str], None]
) -> None:
    """Do what was asked for about an alert; every process must call this with the same alerts.

    Args:
        alert: an `Alert`.
        action: see `check_alert_actions`.
        trainer: the `Trainer`.
        control: its `TrainerControl`.
        warn: takes a warning.
    """
    if callable(action):
        action(alert, trainer, trainer.model)
    elif action == "stop":
        control.should_training_stop = True
    elif action == "checkpoint":
        control.should_save = True
    else:
        warn(f"CAMTrainerCallback: {alert}")
