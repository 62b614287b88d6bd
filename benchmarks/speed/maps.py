"""Maps against one inference forward of the same images, at once or in parts: time and memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from benchmarks.measuring import ratios
from benchmarks.speed.bench import LAYERS, Bench, Case, forward_of, maps_of, memory

_PLAN = ((16, "fp32", 9), (1, "fp32", 25), (64, "fp32", 3), (16, "bf16", 3))  # batch, dtype, pairs
_SLOW = "vit_b_16"  # its large batches say nothing that the small ones do not


def cases(bench: Bench) -> Iterator[tuple[Case, int]]:
    """Yield what is measured and how often."""
    if bench.quick:
        yield Case("resnet18", 2, "fp32", bench.device, 64), 2
        return
    for batch, dtype, pairs in _PLAN:
        for model in LAYERS:
            if bench.device == "cuda":
                yield Case(model, batch, dtype, "cuda"), 15
            elif batch < 64 or model != _SLOW:
                yield Case(model, batch, dtype), pairs


def measure(bench: Bench) -> list[dict[str, Any]]:
    """Return a row a case; `time` and `memory` are multiples of the forward's."""
    rows = []
    for case, pairs in cases(bench):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            floor = forward_of(case)
            sides = {"maps": maps_of(case), "parts": forward_of(case, parts=True)}
        found, seconds = ratios(sides, floor, pairs=pairs, synchronize=bench.synchronize, warmup=1)
        del sides, floor
        least = memory(bench, forward_of, case)
        row = {
            "model": case.model,
            "batch": case.batch,
            "dtype": case.dtype,
            "forward_s": seconds,
            "forward_mib": least,
            "time": asdict(found["maps"]),
            "forward_in_parts": asdict(found["parts"]),
            "memory": memory(bench, maps_of, case) / least,
        }
        rows.append(row)
        print(
            f"{case.model:<14} {case.batch:>3} {case.dtype}  time {found['maps']!s:<32} "
            f"forward in parts {found['parts'].median:.3f}  "
            f"memory {row['memory']:.3f}  forward {seconds:.3f} s",
            flush=True,
        )
    return rows
