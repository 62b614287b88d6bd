"""Maps of a network in other forms: channels last, compiled, compiled into CUDA graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from benchmarks.measuring import ratios
from benchmarks.speed.bench import Bench, Case
from lightning_cam import compute_cams

_COMPILED: dict[str, dict[str, Any]] = {
    "compiled": {},
    "compiled, reduce-overhead": {"mode": "reduce-overhead"},
}


def measure(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield a row per form; `time` is that of the maps in forwards of the same form."""
    sizes = (2, "fp32", bench.device, 64) if bench.quick else (16, "bf16", bench.device)
    case = Case("resnet18" if bench.quick else "resnet50", *sizes)
    for form in ("eager", "channels last", *_COMPILED):
        model, images, targets = case.build()
        if form == "channels last":
            model = model.to(memory_format=torch.channels_last)
            images = images.contiguous(memory_format=torch.channels_last)
        if form in _COMPILED:
            options = {"backend": "aot_eager"} if bench.quick else _COMPILED[form]
            model.compile(**options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found, seconds = ratios(
                {"maps": lambda m=model, x=images, t=targets: compute_cams(m, x, t)},
                _forward(model, images),
                pairs=bench.pairs(25),
                warmup=3,
                synchronize=bench.synchronize,
            )
        yield {"form": form, "model": case.model, "dtype": case.dtype,
               "forward_s": seconds, "time": asdict(found["maps"])}  # fmt: skip


def _forward(model: nn.Module, images: torch.Tensor) -> Callable[[], object]:
    @torch.inference_mode()
    def call() -> object:
        return model(images)

    return call
