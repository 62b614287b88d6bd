"""What must be the same, moment by moment: copies of all state that a training depends on."""

# ruff: noqa: SLF001 - what nobody should notice lies in private places too

from __future__ import annotations

import os
import random
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers.logger import Logger
from torch.nn.modules import module as torch_module

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
_GLOBAL_HOOKS = tuple(
    name for name in vars(torch_module) if name.startswith("_global_") and name.endswith("hooks")
)
_OPTIMIZER_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


class Book(Logger):
    """A logger that keeps what the user logged, with its steps."""

    name = "book"
    version = "0"

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Any] = []

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Take none."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        users = {name: value for name, value in metrics.items() if not name.startswith(_OURS)}
        if set(users) - {"epoch"}:  # Lightning adds the epoch to everything, our metrics too
            self.lines.append([step, users])


class Witness(pl.Callback):
    """Writes down everything at every hook; stands last, so that all others have been there."""

    def __init__(self) -> None:
        self.records: list[tuple[str, dict[str, Any]]] = []
        self.seen: list[Any] = []
        self.first: dict[str, int] | None = None
        self.moment = ""
        self.threads = {thread.ident for thread in threading.enumerate()}
        self._lines = 0

    def note(self, moment: str, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.moment = moment
        if self.first is None:
            self.first = {n: id(p) for n, p in _parameters(module).items()}
        self.records.append(
            (moment, {name: copied(read(self, trainer, module)) for name, read in ITEMS.items()})
        )
        self.seen = []

    def new_lines(self, trainer: pl.Trainer) -> list[Any]:
        """Return what the user has logged since the last moment."""
        lines = [line for each in trainer.loggers if isinstance(each, Book) for line in each.lines]
        start, self._lines = self._lines, len(lines)
        return lines[start:]

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, _: int) -> None:
        self.seen.append(copied(batch))
        self.note("a batch begins", trainer, pl_module)

    def on_validation_batch_start(self, _: Any, __: Any, batch: Any, *___: Any) -> None:
        self.seen.append(copied(batch))

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, _: Any) -> None:
        self.note("an optimizer steps", trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.note("a batch ends", trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.note("validation ends", trainer, pl_module)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.note("validation is over", trainer, pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.note("an epoch ends", trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.note("training ends", trainer, pl_module)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self.note("fit ends", trainer, pl_module)


def _parameters(module: Any) -> dict[str, Any]:
    return dict(module.named_parameters(remove_duplicate=False))


def _gradients(_: Witness, __: Any, module: Any) -> Any:
    return {name: each.grad for name, each in _parameters(module).items()}


def _identity(witness: Witness, trainer: Any, module: Any) -> Any:
    """Which of the first parameters are there, and which of them each optimizer steps."""
    stepped = [[id(p) for g in o.param_groups for p in g["params"]] for o in trainer.optimizers]
    return {
        name: [id(each) == (witness.first or {}).get(name), [id(each) in ids for ids in stepped]]
        for name, each in _parameters(module).items()
    }


def _module_hooks(_: Witness, __: Any, module: Any) -> Any:
    return {
        name: [len(getattr(each, hooks)) for hooks in _MODULE_HOOKS]
        for name, each in module.named_modules()
    }


def _global_hooks(_: Witness, __: Any, ___: Any) -> Any:
    optimizer = sys.modules["torch.optim.optimizer"]
    return {
        **{name: len(getattr(torch_module, name)) for name in _GLOBAL_HOOKS},
        "before steps": len(optimizer._global_optimizer_pre_hooks),
        "after steps": len(optimizer._global_optimizer_post_hooks),
        "modes": len(torch.utils._python_dispatch._get_current_dispatch_mode_stack()),
        "saved tensors": torch._C._autograd._top_saved_tensors_default_hooks(True) is not None,  # noqa: FBT003
        "checkpoints": torch.utils.checkpoint.CheckpointFunction.__module__,
    }


def _modules(_: Witness, __: Any, module: Any) -> Any:
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
    # Lightning's own, and a number that torch counts up in each process.
    others = ("_current_fx_name", "_trainer", "_fabric", "_torchdynamo_wrapper_id")
    return [(k, v) for k, v in vars(module).items() if k not in others]


def _optimizers(_: Witness, trainer: Any, __: Any) -> Any:
    return [
        [each.state_dict(), [len(getattr(each, hooks)) for hooks in _OPTIMIZER_HOOKS]]
        for each in trainer.optimizers
    ]


def _cuda_random(_: Witness, __: Any, ___: Any) -> Any:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None


def _modes(_: Witness, __: Any, ___: Any) -> Any:
    return {
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "multithreading": torch.autograd.is_multithreading_enabled(),
    }


def _settings(_: Witness, __: Any, ___: Any) -> Any:
    cudnn, matmul, cuda = torch.backends.cudnn, torch.backends.cuda.matmul, torch.backends.cuda
    return {
        "cudnn": [cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32],
        "cudnn limit": cudnn.benchmark_limit,
        "matmul": [
            matmul.allow_tf32,
            matmul.allow_fp16_reduced_precision_reduction,
            matmul.allow_bf16_reduced_precision_reduction,
        ],
        "precision": torch.get_float32_matmul_precision(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "attention": [
            cuda.flash_sdp_enabled(),
            cuda.mem_efficient_sdp_enabled(),
            cuda.math_sdp_enabled(),
            cuda.cudnn_sdp_enabled(),
        ],
        "deterministic": [
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
        ],
        "stance": torch._dynamo.eval_frame._stance.stance,
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads(), cv2.getNumThreads()],
    }


def _autocast(_: Witness, __: Any, ___: Any) -> Any:
    depth = torch.autocast_increment_nesting()
    torch.autocast_decrement_nesting()
    kinds = ("cpu", "cuda")
    return {
        "cache": torch.is_autocast_cache_enabled(),
        "depth": depth,  # above 1 the cache is kept
        **{
            kind: [torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)]
            for kind in kinds
        },
    }


def _known_metrics(_: Witness, trainer: Any, __: Any) -> Any:
    """What other callbacks see; their order counts too."""
    kinds = (trainer.callback_metrics, trainer.logged_metrics, trainer.progress_bar_metrics)
    return [[[k, v] for k, v in kind.items() if not k.startswith(_OURS)] for kind in kinds]


def _progress(_: Witness, trainer: Any, __: Any) -> Any:
    loop = trainer.fit_loop.epoch_loop
    return {
        "step": trainer.global_step,
        "epoch": trainer.current_epoch,
        "batch": loop.batch_idx,
        "stepped": loop._batches_that_stepped,
        "stop": trainer.should_stop,
        "state": [trainer.state.fn, trainer.state.stage, trainer.state.status],
    }


def _callbacks(_: Witness, trainer: Any, __: Any) -> Any:
    """States of the user's callbacks, and the averaged weights that some hold."""
    found = []
    for each in trainer.callbacks:
        if isinstance(each, (Witness, ProgressBar)) or _is_ours(each):
            continue
        average = getattr(each, "_average_model", None)
        weights = average.state_dict() if average is not None else {}
        found.append([type(each).__name__, each.state_dict(), weights])
    return found


def _is_ours(callback: Any) -> bool:
    return type(callback).__module__.startswith("lightning_cam")


def _checkpoint(witness: Witness, trainer: Any, __: Any) -> Any:
    """What would be saved at the end, without our own part."""
    if witness.moment != "training ends":
        return None
    content = trainer._checkpoint_connector.dump_checkpoint()
    states = content.get("callbacks", {})
    content["callbacks"] = {k: v for k, v in states.items() if "CAMCallback" not in k}
    return content


def _graphs(_: Witness, __: Any, ___: Any) -> Any:
    from torch._dynamo.utils import counters

    return [
        COMPILED["graphs"],
        {k: dict(v) for k, v in counters.items() if k in ("stats", "frames")},
    ]


def _process(_: Witness, __: Any, ___: Any) -> Any:
    return {
        "signals": [_named(signal.getsignal(each)) for each in (signal.SIGINT, signal.SIGTERM)],
        "folder": str(Path.cwd()),
        "environment": {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")},
        "numpy errors": np.geterr(),
    }


def _named(handler: Any) -> str:
    return str(getattr(handler, "__qualname__", type(handler).__qualname__))


def _threads(witness: Witness, _: Any, __: Any) -> Any:
    """Threads that are left when the training is over; while it runs, one of ours may draw."""
    if witness.moment != "fit ends":
        return None
    started = [each for each in threading.enumerate() if each.ident not in witness.threads]
    # Dataloaders' own threads end with their garbage, whenever that is.
    names = (re.sub(r"\d+", "", each.name) for each in started)
    return sorted(name for name in names if not name.startswith("QueueFeeder"))


COMPILED = {"graphs": 0}


def counting_backend(graph: Any, _: Any) -> Any:
    """Run a captured graph as it is, and count that it was made."""
    COMPILED["graphs"] += 1
    return graph.forward


Read = Callable[[Witness, Any, Any], Any]
ITEMS: dict[str, Read] = {
    "parameters": lambda _, __, m: _parameters(m),
    "parameter objects": _identity,
    "buffers": lambda _, __, m: dict(m.named_buffers(remove_duplicate=False)),
    "gradients": _gradients,
    "requires_grad": lambda _, __, m: {n: p.requires_grad for n, p in _parameters(m).items()},
    "training flags": lambda _, __, m: {n: each.training for n, each in m.named_modules()},
    "module hooks": _module_hooks,
    "global hooks": _global_hooks,
    "modules": _modules,
    "optimizers": _optimizers,
    "schedulers": lambda _, t, __: [c.scheduler.state_dict() for c in t.lr_scheduler_configs],
    "loss scale": lambda _, t, __: t.precision_plugin.state_dict(),
    "random (Python)": lambda *_: random.getstate(),
    "random (NumPy)": lambda *_: list(np.random.get_state()),  # noqa: NPY002
    "random (torch, CPU)": lambda *_: torch.get_rng_state(),
    "random (torch, CUDA)": _cuda_random,
    "data": lambda w, *_: list(w.seen),
    "grad mode": _modes,
    "settings": _settings,
    "autocast": _autocast,
    "logged metrics": lambda w, t, _: w.new_lines(t),
    "known metrics": _known_metrics,
    "progress": _progress,
    "other callbacks": _callbacks,
    "checkpoint": _checkpoint,
    "compiled graphs": _graphs,
    "process": _process,
    "threads": _threads,
}
"""What is compared, by name; a new item is a function and a line."""


def copied(value: Any) -> Any:
    """Return a copy that later writes do not reach."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return torch.as_tensor(value.copy())
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [copied(each) for each in value]
    return value


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Return the paths at which two copies differ by a single bit, a type or an order."""
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        return [] if _same_bits(ours, theirs) else [path]
    if isinstance(ours, dict) and isinstance(theirs, dict) and list(ours) == list(theirs):
        pairs = [(ours[key], theirs[key], f"{path}.{key}") for key in ours]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = [(a, b, f"{path}[{n}]") for n, (a, b) in enumerate(zip(ours, theirs, strict=True))]
    else:
        return [] if type(ours) is type(theirs) and _same(ours, theirs) else [path]
    return [found for pair in pairs for found in differences(*pair)]


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and ours != ours:  # noqa: PLR0124 - NaN
        return bool(theirs != theirs)  # noqa: PLR0124
    return bool(ours == theirs)


def _same_bits(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    if (ours.shape, ours.dtype, ours.device) != (theirs.shape, theirs.dtype, theirs.device):
        return False
    return torch.equal(_bits(ours), _bits(theirs))


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def size_of(value: Any) -> int:
    """Return how many single values a copy holds."""
    if isinstance(value, torch.Tensor):
        return value.numel()
    if isinstance(value, dict):
        return sum(size_of(each) for each in value.values())
    if isinstance(value, list):
        return sum(size_of(each) for each in value)
    return 1
