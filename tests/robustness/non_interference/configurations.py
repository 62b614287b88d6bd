"""`CONFIGURATIONS`: the trainings to compare. A new one is a line here."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import (
    EarlyStopping,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from robustness.non_interference import modules
from robustness.non_interference.data import Data
from robustness.non_interference.process_state import counting_backend

from lightning_cam.output.panels import PANELS

Callbacks = Callable[[], list[pl.Callback]]


@dataclass(frozen=True)
class Configuration:
    """A way to train.

    Attributes:
        name: in the table.
        module: makes the Lightning module.
        data: makes the data module.
        trainer: arguments of `Trainer` beside the common ones.
        callback: arguments of `CAMCallback` beside the common ones.
        before: makes the callbacks listed before `CAMCallback`.
        after: makes those listed after it.
        resumed: stop within an accumulation window and resume from a checkpoint.
        expected_error: message with which the pass of the callback fails.
        needs: `cuda`, `compiler` or `averaging`, where it does not run everywhere.
    """

    name: str
    module: Callable[[], pl.LightningModule] = modules.Normed
    data: Callable[[], Data] = Data
    trainer: Mapping[str, Any] = field(default_factory=dict)
    callback: Mapping[str, Any] = field(default_factory=dict)
    before: Callbacks = list
    after: Callbacks = list
    resumed: bool = False
    expected_error: str = ""
    needs: str = ""

    @property
    def skip_reason(self) -> str:
        """Why it cannot run on this machine, or an empty string."""
        if self.needs == "cuda" and not torch.cuda.is_available():
            return "needs a CUDA device, none here"
        if self.needs == "compiler" and shutil.which("g++") is None:
            return "needs a C++ compiler, none here"
        if self.needs == "logging compiled" and torch.__version__ < (2, 7):
            return f"torch {torch.__version__} cannot compile a module that logs"
        if self.needs == "averaging" and not hasattr(pl.callbacks, "EMAWeightAveraging"):
            return f"Lightning {pl.__version__} has no EMAWeightAveraging"
        return ""


def compiled_whole(backend: Any = counting_backend) -> Any:
    """Return a compiled module."""
    return torch.compile(modules.Normed(), backend=backend)


def compiled_part(backend: Any = counting_backend) -> pl.LightningModule:
    """Return a module with a compiled submodule."""
    module = modules.Normed()
    module.second = torch.compile(module.second, backend=backend)  # type: ignore[assignment]
    return module


def compiled_in_place(backend: Any = counting_backend) -> pl.LightningModule:
    """Return a module with two submodules compiled by `Module.compile`."""
    module = modules.Normed()
    module.first.compile(backend=backend)
    module.second.compile(backend=backend)
    return module


def averaging() -> list[pl.Callback]:
    """Return an exponential moving average of the weights."""
    return [pl.callbacks.EMAWeightAveraging(decay=0.9)]


def swa() -> list[pl.Callback]:
    """Return stochastic weight averaging from the second epoch on."""
    return [StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1, annealing_epochs=1)]


def stopping_and_checkpoints() -> list[pl.Callback]:
    """Return early stopping and checkpoints by a metric of the user."""
    return [
        EarlyStopping("accuracy", mode="max", patience=2),
        ModelCheckpoint(monitor="accuracy", mode="max", save_top_k=1, save_last=True),
    ]


def checkpointed(*parts: str, reentrant: bool) -> Callable[[], pl.LightningModule]:
    """Return a function that makes a module with checkpointed parts."""
    return partial(modules.Checkpointed, parts, reentrant=reentrant)


ALL_PARTS = ("first", "second", "classify")
# For modules where no gradient reaches the image: no method or panel that needs one.
WITHOUT_PIXELS = {
    "method": ["gradcam", "layercam", "scorecam", "eigencam"],
    "panels": tuple(panel for panel in PANELS if panel != "activation_maximization"),
}
HOOKING_METHODS = [
    "gradcam",
    "ablationcam",
    "scorecam",
    "guided_backprop",
    "fullgrad",
    "smoothgrad",
]
WHOLE_EPOCHS = {"accumulate_grad_batches": 1, "val_check_interval": 1.0}

CONFIGURATIONS = [
    # precision
    Configuration("fp32"),
    Configuration("bf16-mixed", trainer={"precision": "bf16-mixed"}),
    Configuration("bf16-true", trainer={"precision": "bf16-true"}),
    Configuration("64-true", trainer={"precision": "64-true"}),
    Configuration("16-mixed", trainer={"precision": "16-mixed"}, needs="cuda"),
    Configuration("deterministic algorithms", trainer={"deterministic": True}),
    # networks
    Configuration("no normalization, no dropout", modules.Net),
    Configuration("dropout", modules.WithDropout),
    Configuration("buffers rewritten in each forward", modules.Buffered),
    Configuration("frozen body", modules.Frozen),
    Configuration("partly frozen, kept in eval", modules.PartlyFrozen),
    Configuration("shared weights and modules", modules.Shared),
    Configuration(
        "no_grad inside forward",
        partial(modules.WithoutGraph, torch.no_grad),
        callback=WITHOUT_PIXELS,
    ),
    Configuration(
        "inference_mode inside forward",
        partial(modules.WithoutGraph, torch.inference_mode),
        callback=WITHOUT_PIXELS,
    ),
    Configuration("checkpointing", checkpointed(*ALL_PARTS, reentrant=False)),
    Configuration("checkpointing, reentrant", checkpointed(*ALL_PARTS, reentrant=True)),
    Configuration("checkpointing, reentrant tail", checkpointed("classify", reentrant=True)),
    # loops
    Configuration("validation after each epoch", trainer=WHOLE_EPOCHS),
    Configuration("no sanity check", trainer={"num_sanity_val_steps": 0}),
    Configuration("gradient clipping by norm", trainer={"gradient_clip_val": 0.1, **WHOLE_EPOCHS}),
    Configuration(
        "gradient clipping by value",
        trainer={"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
    ),
    Configuration(
        "manual optimization, two optimizers",
        modules.TwoOptimizers,
        trainer={"accumulate_grad_batches": 1},
    ),
    Configuration("three validation loaders", data=partial(Data, 3)),
    Configuration("resumed in the middle", resumed=True),
    Configuration(
        "resumed, bf16-mixed, EMA",
        trainer={"precision": "bf16-mixed"},
        before=averaging,
        resumed=True,
        needs="averaging",
    ),
    # data
    Configuration("random augmentation", data=partial(Data, augmented=True)),
    Configuration("two forked workers", data=partial(Data, augmented=True, num_workers=2)),
    Configuration(
        "two persistent workers",
        data=partial(Data, augmented=True, num_workers=2, persistent_workers=True),
    ),
    # other callbacks
    Configuration("EMA before CAMCallback", before=averaging, needs="averaging"),
    Configuration("EMA after CAMCallback", after=averaging, needs="averaging"),
    Configuration("SWA before CAMCallback", before=swa, trainer={"max_epochs": 3}),
    Configuration("SWA after CAMCallback", after=swa, trainer={"max_epochs": 3}),
    Configuration(
        "early stopping and checkpoints",
        after=stopping_and_checkpoints,
        trainer={"enable_checkpointing": True},
    ),
    # compiled
    Configuration("compiled module", compiled_whole, needs="logging compiled"),
    Configuration("compiled submodule", compiled_part),
    Configuration("compiled in place", compiled_in_place),
    Configuration(
        "compiled submodule, inductor",
        partial(compiled_part, "inductor"),
        needs="compiler",
    ),
    # inside the callback
    Configuration(
        "an exception in the evaluation", modules.Raising, expected_error="raised in the evaluation"
    ),
    Configuration(
        "methods with hooks and masks of their own", callback={"method": HOOKING_METHODS}
    ),
    Configuration(
        "methods with hooks, checkpointing",
        checkpointed(*ALL_PARTS, reentrant=False),
        callback={"method": HOOKING_METHODS},
    ),
]
