"""`StateRecorder`: copies of all state that a training depends on, at every hook.

A new item is a function `(recorder, trainer, module)` and a line in `ITEMS`.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers.logger import Logger
from robustness.non_interference import process_state
from robustness.non_interference.bitwise import snapshot

_OURS = "cam/"
_MODULE_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
_OPTIMIZER_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


class UserMetricsLogger(Logger):
    """A logger that keeps the metrics that the user logged, with their steps."""

    name = "user metrics"
    version = "0"

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Any] = []

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Ignore them."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        users = {name: value for name, value in metrics.items() if not name.startswith(_OURS)}
        if set(users) - {"epoch"}:  # Lightning adds it to every call, also for our metrics
            self.lines.append([step, users])


class StateRecorder(pl.Callback):
    """Records all `ITEMS` at every hook. Listed last, so that all other callbacks have run."""

    def __init__(self) -> None:
        self.records: list[tuple[str, dict[str, Any]]] = []
        self.batches: list[Any] = []
        self.first: dict[str, int] | None = None
        self.moment = ""
        self.threads = set(threading.enumerate())  # kept, so that no other one takes their place
        self._lines = 0

    def record(self, moment: str, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.moment = moment
        if self.first is None:
            self.first = {n: id(p) for n, p in _parameters(module).items()}
        self.records.append(
            (moment, {name: snapshot(read(self, trainer, module)) for name, read in ITEMS.items()})
        )
        self.batches = []

    def new_lines(self, trainer: pl.Trainer) -> list[Any]:
        """Return what the user has logged since the last record."""
        loggers = [each for each in trainer.loggers if isinstance(each, UserMetricsLogger)]
        lines = [line for logger in loggers for line in logger.lines]
        start, self._lines = self._lines, len(lines)
        return lines[start:]

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, _: int) -> None:
        self.batches.append(snapshot(batch))
        self.record("train batch start", trainer, pl_module)

    def on_validation_batch_start(self, _: Any, __: Any, batch: Any, *___: Any) -> None:
        self.batches.append(snapshot(batch))

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, _: Any) -> None:
        self.record("before optimizer step", trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.record("train batch end", trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.record("validation epoch end", trainer, pl_module)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.record("validation end", trainer, pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.record("train epoch end", trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.record("train end", trainer, pl_module)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self.record("fit end", trainer, pl_module)


def _parameters(module: Any) -> dict[str, Any]:
    return dict(module.named_parameters(remove_duplicate=False))


def _gradients(_: StateRecorder, __: Any, module: Any) -> Any:
    return {name: each.grad for name, each in _parameters(module).items()}


def _parameter_objects(recorder: StateRecorder, trainer: Any, module: Any) -> Any:
    """Whether parameters are still the same objects, and which of them each optimizer steps."""
    stepped = [[id(p) for g in o.param_groups for p in g["params"]] for o in trainer.optimizers]
    return {
        name: [id(each) == (recorder.first or {}).get(name), [id(each) in ids for ids in stepped]]
        for name, each in _parameters(module).items()
    }


def _module_hooks(_: StateRecorder, __: Any, module: Any) -> Any:
    return {
        name: [len(getattr(each, hooks)) for hooks in _MODULE_HOOKS]
        for name, each in module.named_modules()
    }


def _modules(_: StateRecorder, __: Any, module: Any) -> Any:
    """Names, types, attributes and small values of all submodules."""
    return {
        name: [
            type(each).__qualname__,
            getattr(each.forward, "__qualname__", ""),
            {k: v if isinstance(v, (bool, int, float, str)) else None for k, v in _own(each)},
        ]
        for name, each in module.named_modules()
    }


def _own(module: Any) -> list[tuple[str, Any]]:
    # Attributes of Lightning, and a number that torch counts up in each process.
    others = ("_current_fx_name", "_trainer", "_fabric", "_torchdynamo_wrapper_id")
    return [(k, v) for k, v in vars(module).items() if k not in others]


def _optimizers(_: StateRecorder, trainer: Any, __: Any) -> Any:
    return [
        [each.state_dict(), [len(getattr(each, hooks)) for hooks in _OPTIMIZER_HOOKS]]
        for each in trainer.optimizers
    ]


def _callback_metrics(_: StateRecorder, trainer: Any, __: Any) -> Any:
    """What other callbacks see, in order."""
    kinds = (trainer.callback_metrics, trainer.logged_metrics, trainer.progress_bar_metrics)
    return [[[k, v] for k, v in kind.items() if not k.startswith(_OURS)] for kind in kinds]


def _progress(_: StateRecorder, trainer: Any, __: Any) -> Any:
    loop = trainer.fit_loop.epoch_loop
    return {
        "step": trainer.global_step,
        "epoch": trainer.current_epoch,
        "batch": loop.batch_idx,
        "stepped": loop._batches_that_stepped,
        "stop": trainer.should_stop,
        "state": [trainer.state.fn, trainer.state.stage, trainer.state.status],
    }


def _callbacks(_: StateRecorder, trainer: Any, __: Any) -> Any:
    """States of the user's callbacks, and the averaged weights that some hold."""
    found = []
    for each in trainer.callbacks:
        if isinstance(each, (StateRecorder, ProgressBar)) or _is_ours(each):
            continue
        average = getattr(each, "_average_model", None)
        weights = average.state_dict() if average is not None else {}
        found.append([type(each).__name__, each.state_dict(), weights])
    return found


def _is_ours(callback: Any) -> bool:
    return type(callback).__module__.startswith("lightning_cam")


def _checkpoint(recorder: StateRecorder, trainer: Any, __: Any) -> Any:
    """What would be saved at the end, without the state of `CAMCallback`."""
    if recorder.moment != "train end":
        return None
    content = trainer._checkpoint_connector.dump_checkpoint()
    states = content.get("callbacks", {})
    content["callbacks"] = {k: v for k, v in states.items() if "CAMCallback" not in k}
    return content


def _threads(recorder: StateRecorder, _: Any, __: Any) -> Any:
    """Threads that are left at the end; during the training, one of ours may be drawing."""
    if recorder.moment != "fit end":
        return None
    started = [each for each in threading.enumerate() if each not in recorder.threads]
    # Threads of dataloaders end when those are garbage collected.
    names = (re.sub(r"\d+", "", each.name) for each in started)
    return sorted(name for name in names if not name.startswith("QueueFeeder"))


Read = Callable[[StateRecorder, Any, Any], Any]
ITEMS: dict[str, Read] = {
    "parameters": lambda _, __, m: _parameters(m),
    "parameter objects": _parameter_objects,
    "buffers": lambda _, __, m: dict(m.named_buffers(remove_duplicate=False)),
    "gradients": _gradients,
    "requires_grad": lambda _, __, m: {n: p.requires_grad for n, p in _parameters(m).items()},
    "training flags": lambda _, __, m: {n: each.training for n, each in m.named_modules()},
    "module hooks": _module_hooks,
    "global hooks": lambda *_: process_state.global_hooks(),
    "modules": _modules,
    "optimizers": _optimizers,
    "schedulers": lambda _, t, __: [c.scheduler.state_dict() for c in t.lr_scheduler_configs],
    "loss scale": lambda _, t, __: t.precision_plugin.state_dict(),
    "random (Python)": lambda *_: random.getstate(),
    "random (NumPy)": lambda *_: list(np.random.get_state()),  # noqa: NPY002
    "random (torch, CPU)": lambda *_: torch.get_rng_state(),
    "random (torch, CUDA)": lambda *_: process_state.cuda_random(),
    "batches": lambda r, *_: list(r.batches),
    "grad mode": lambda *_: process_state.grad_mode(),
    "settings": lambda *_: process_state.settings(),
    "autocast": lambda *_: process_state.autocast(),
    "logged metrics": lambda r, t, _: r.new_lines(t),
    "callback metrics": _callback_metrics,
    "progress": _progress,
    "other callbacks": _callbacks,
    "checkpoint": _checkpoint,
    "compiled graphs": lambda *_: process_state.compiled_graphs(),
    "process": lambda *_: process_state.process(),
    "threads": _threads,
}
"""What is compared, by name."""
