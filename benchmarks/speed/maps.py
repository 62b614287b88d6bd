"""Maps against one inference forward of the same images: time and peak memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from benchmarks.measuring import ratios
from benchmarks.speed.bench import LAYERS, Bench, Case, forward_of, maps_of

_PLAN = ((16, "fp32", 9), (1, "fp32", 25), (64, "fp32", 3), (16, "bf16", 3))  # batch, dtype, pairs
_SLOW = "vit_b_16"  # left out in large batches, where it behaves as in small ones


def cases(bench: Bench) -> Iterator[tuple[Case, int]]:
    """Yield what is measured, and how often."""
    if bench.quick:
        yield Case("resnet18", 2, "fp32", bench.device, 64), 2
        return
    for batch, dtype, pairs in _PLAN:
        for model in LAYERS:
            if bench.device == "cuda":
                yield Case(model, batch, dtype, "cuda"), 15
            elif batch < 64 or model != _SLOW:
                yield Case(model, batch, dtype), pairs


def measure(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield a row per case; `time` and `memory` are multiples of the forward's."""
    for case, pairs in cases(bench):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            forward = forward_of(case)
            sides = {"maps": maps_of(case), "chunks": forward_of(case, chunked=True)}
        found, seconds = ratios(sides, forward, pairs=pairs, synchronize=bench.synchronize)
        del sides, forward
        forward_mib = bench.peak(forward_of, case)
        yield {
            "model": case.model,
            "batch": case.batch,
            "dtype": case.dtype,
            "forward_s": seconds,
            "forward_mib": forward_mib,
            "time": asdict(found["maps"]),
            "forward_in_chunks": asdict(found["chunks"]),
            "memory": bench.peak(maps_of, case) / forward_mib,
        }
