"""State of the process that a training depends on: modes, settings, hooks, compiled graphs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn.modules import module as torch_module

_GLOBAL_HOOKS = tuple(
    name for name in vars(torch_module) if name.startswith("_global_") and name.endswith("hooks")
)
COMPILED = {"graphs": 0}  # captured by `counting_backend`


def counting_backend(graph: Any, _: Any) -> Any:
    """Run a captured graph as it is, and count it."""
    COMPILED["graphs"] += 1
    return graph.forward


def global_hooks() -> Any:
    optimizer = sys.modules["torch.optim.optimizer"]
    return {
        **{name: len(getattr(torch_module, name)) for name in _GLOBAL_HOOKS},
        "before steps": len(optimizer._global_optimizer_pre_hooks),
        "after steps": len(optimizer._global_optimizer_post_hooks),
        "modes": len(torch.utils._python_dispatch._get_current_dispatch_mode_stack()),
        "saved tensors": saved_tensors_hooks(),
        "checkpoints": torch.utils.checkpoint.CheckpointFunction.__module__,
    }


def saved_tensors_hooks() -> bool:
    top = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)  # torch 2.7
    return top is not None and top(True) is not None  # noqa: FBT003


def cuda_random() -> Any:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None


def grad_mode() -> Any:
    return {
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "multithreading": torch.autograd.is_multithreading_enabled(),
    }


def settings() -> Any:
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


def autocast() -> Any:
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


def compiled_graphs() -> Any:
    from torch._dynamo.utils import counters

    return [
        COMPILED["graphs"],
        {k: dict(v) for k, v in counters.items() if k in ("stats", "frames")},
    ]


def process() -> Any:
    return {
        "signals": [
            _qualified_name(signal.getsignal(each)) for each in (signal.SIGINT, signal.SIGTERM)
        ],
        "folder": str(Path.cwd()),
        "environment": {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")},
        "numpy errors": np.geterr(),
    }


def _qualified_name(handler: Any) -> str:
    return str(getattr(handler, "__qualname__", type(handler).__qualname__))
