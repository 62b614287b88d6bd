"""The table of trainings: a new one is a line here."""

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

from benchmarks.interference import nets
from benchmarks.interference.data import Data
from benchmarks.interference.witness import counting_backend
from lightning_cam.monitor.config import PANELS

Callbacks = Callable[[], list[pl.Callback]]


@dataclass(frozen=True)
class Configuration:
    """One way of training.

    Attributes:
        name: in the table.
        module: makes the network.
        data: makes the data.
        trainer: arguments of `Trainer` beside the usual ones.
        callback: arguments of `CAMCallback` beside the usual ones.
        before: makes the user's callbacks that are listed before ours.
        after: those after it.
        resumed: stop in the middle of a window and go on from a checkpoint.
        failing: what our pass is meant to fail with.
        needs: `cuda` or `compiler`, where it does not run everywhere.
        patient: too slow for the tests.
    """

    name: str
    module: Callable[[], pl.LightningModule] = nets.Normed
    data: Callable[[], Data] = Data
    trainer: Mapping[str, Any] = field(default_factory=dict)
    callback: Mapping[str, Any] = field(default_factory=dict)
    before: Callbacks = list
    after: Callbacks = list
    resumed: bool = False
    failing: str = ""
    needs: str = ""
    patient: bool = False

    @property
    def lacking(self) -> str:
        """Why it cannot run here, or an empty string."""
        if self.needs == "cuda" and not torch.cuda.is_available():
            return "needs a CUDA device, none here"
        if self.needs == "compiler" and shutil.which("g++") is None:
            return "needs a C++ compiler, none here"
        if self.needs == "averaging" and not hasattr(pl.callbacks, "EMAWeightAveraging"):
            return f"Lightning {pl.__version__} has no EMAWeightAveraging"
        return ""


def compiled_whole(backend: Any = counting_backend) -> Any:
    """Return a compiled module, as users give it to `fit`."""
    return torch.compile(nets.Normed(), backend=backend)


def compiled_part(backend: Any = counting_backend) -> pl.LightningModule:
    """Return a module with a compiled submodule."""
    module = nets.Normed()
    module.second = torch.compile(module.second, backend=backend)  # type: ignore[assignment]
    return module


def compiled_in_place(backend: Any = counting_backend) -> pl.LightningModule:
    """Return a module of which two parts were compiled by their own method."""
    module = nets.Normed()
    module.first.compile(backend=backend)
    module.second.compile(backend=backend)
    return module


def averaging() -> list[pl.Callback]:
    """Return a moving average of the weights."""
    return [pl.callbacks.EMAWeightAveraging(decay=0.9)]


def swa() -> list[pl.Callback]:
    """Return stochastic weight averaging from the second epoch on."""
    return [StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1, annealing_epochs=1)]


def judging() -> list[pl.Callback]:
    """Return callbacks that choose and stop by the user's metric."""
    return [
        EarlyStopping("accuracy", mode="max", patience=2),
        ModelCheckpoint(monitor="accuracy", mode="max", save_top_k=1, save_last=True),
    ]


def recomputing(*parts: str, reentrant: bool) -> Callable[[], pl.LightningModule]:
    """Return what makes a network with checkpointed parts."""
    return partial(nets.Checkpointed, parts, reentrant=reentrant)


EVERYWHERE = ("first", "second", "classify")
# Where no gradient reaches the image, nothing that asks for it: the callback says so at the start.
WITHOUT_PIXELS = {
    "method": ["gradcam", "layercam", "scorecam", "eigencam"],
    "panels": tuple(panel for panel in PANELS if panel != "activation_maximization"),
}
WRITING = ["gradcam", "ablationcam", "scorecam", "guided_backprop", "fullgrad", "smoothgrad"]
WHOLE_EPOCHS = {"accumulate_grad_batches": 1, "val_check_interval": 1.0}

TABLE = [
    # precision
    Configuration("fp32"),
    Configuration("bf16-mixed", trainer={"precision": "bf16-mixed"}),
    Configuration("bf16-true", trainer={"precision": "bf16-true"}),
    Configuration("64-true", trainer={"precision": "64-true"}),
    Configuration("16-mixed", trainer={"precision": "16-mixed"}, needs="cuda"),
    Configuration("deterministic algorithms", trainer={"deterministic": True}),
    # networks
    Configuration("no normalisation, no dropout", nets.Net),
    Configuration("dropout", nets.Dropping),
    Configuration("buffers rewritten in each forward", nets.Buffered),
    Configuration("frozen body", nets.Frozen),
    Configuration("partly frozen, kept in eval", nets.PartlyFrozen),
    Configuration("shared weights and modules", nets.Shared),
    Configuration(
        "no_grad inside forward", partial(nets.Graphless, torch.no_grad), callback=WITHOUT_PIXELS
    ),
    Configuration(
        "inference_mode inside forward",
        partial(nets.Graphless, torch.inference_mode),
        callback=WITHOUT_PIXELS,
    ),
    Configuration("checkpointing", recomputing(*EVERYWHERE, reentrant=False)),
    Configuration("checkpointing, reentrant", recomputing(*EVERYWHERE, reentrant=True)),
    Configuration("checkpointing, reentrant tail", recomputing("classify", reentrant=True)),
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
        nets.TwoOptimizers,
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
    Configuration(
        "two forked workers", data=partial(Data, augmented=True, num_workers=2), patient=True
    ),
    Configuration(
        "two persistent workers",
        data=partial(Data, augmented=True, num_workers=2, persistent_workers=True),
    ),
    # other callbacks
    Configuration("EMA before ours", before=averaging, needs="averaging"),
    Configuration("EMA after ours", after=averaging, needs="averaging"),
    Configuration("SWA before ours", before=swa, trainer={"max_epochs": 3}),
    Configuration("SWA after ours", after=swa, trainer={"max_epochs": 3}),
    Configuration(
        "early stopping and checkpoints", after=judging, trainer={"enable_checkpointing": True}
    ),
    # compiled
    Configuration("compiled module", compiled_whole, patient=True),
    Configuration("compiled submodule", compiled_part),
    Configuration("compiled in place", compiled_in_place),
    Configuration(
        "compiled submodule, inductor",
        partial(compiled_part, "inductor"),
        needs="compiler",
        patient=True,
    ),
    # our own trouble
    Configuration("an exception inside our pass", nets.Raising, failing="raised inside the look"),
    Configuration("methods with hooks and masks of their own", callback={"method": WRITING}),
    Configuration(
        "those methods, checkpointing",
        recomputing(*EVERYWHERE, reentrant=False),
        callback={"method": WRITING},
    ),
]
