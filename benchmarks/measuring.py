"""How things are measured here: interleaved, repeated, as ratios with their spread."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import io
import json
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of <malloc.h>


@dataclass(frozen=True)
class Ratio:
    """One side's time over the other's, pair by pair."""

    median: float
    low: float
    high: float
    pairs: int

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f}–{self.high:.3f}, {self.pairs} pairs)"


def ratios(
    sides: Mapping[str, Callable[[], object]],
    reference: Callable[[], object],
    *,
    pairs: int = 15,
    warmup: int = 1,
    synchronize: Callable[[], None] = lambda: None,
) -> tuple[dict[str, Ratio], float]:
    """Return time(side) / time(reference) of several sides, and the reference's median seconds.

    A round times each once; who begins changes from round to round.
    """
    calls = [reference, *sides.values()]
    for call in calls * warmup:
        call()
    rounds = []
    for start in range(pairs):
        seconds = [0.0] * len(calls)
        for turn in range(len(calls)):
            which = (start + turn) % len(calls)
            seconds[which] = seconds_of(calls[which], synchronize)
        rounds.append(seconds)
    quotients = zip(*([one / each[0] for one in each[1:]] for each in rounds), strict=True)
    found = {name: spread(some) for name, some in zip(sides, quotients, strict=True)}
    return found, statistics.median(each[0] for each in rounds)


def seconds_of(call: Callable[[], object], synchronize: Callable[[], None] = lambda: None) -> float:
    """Return how long a call takes."""
    synchronize()
    start = time.perf_counter()
    call()
    synchronize()
    return time.perf_counter() - start


def spread(values: Sequence[float]) -> Ratio:
    """Return the median and the quartiles of some quotients."""
    if len(values) < 2:
        return Ratio(values[0], values[0], values[0], 1)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return Ratio(statistics.median(values), low, high, len(values))


def memory_of(field: str) -> int:
    """Return a KiB figure of this process, as Linux counts it: `VmRSS` now, `VmHWM` at most."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field))


def saved_bytes(state: object) -> int:
    """Return how many bytes a state takes in a checkpoint."""
    file = io.BytesIO()
    torch.save(state, file)
    return file.tell()


def keep_memory() -> None:
    """Let the C library keep what is freed, as it does by itself after some training steps.

    Else the floor is too high: a large batch's activations are new pages each time, which may take
    as long as the computation.
    """
    for what in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
        _mallopt(what, 2**31 - 1)


def _mallopt(what: int, value: int) -> None:
    """Tell the C library how to hold memory, where it is glibc."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(what, value)


def _peak_in_child(build: Callable[[], Callable[[], object]], pipe: Any) -> None:
    torch.set_num_threads(2)
    # Tensors as mappings of their own: the peak is what is alive, whatever the heap looks like.
    _mallopt(_MMAP_THRESHOLD, 2**17)
    call = build()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forget the peak of building
    before = memory_of("VmRSS")
    call()
    pipe.send((before, memory_of("VmHWM")))


def peak_memory(build: Callable[[], Callable[[], object]]) -> float:
    """Return the MiB by which a call raises a fresh process's peak, model and inputs built before.

    Args:
        build: makes everything and returns the call to be measured; importable by name.
    """
    here, there = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=_peak_in_child, args=(build, there))
    child.start()
    before, after = here.recv()
    child.join()
    return float(after - before) / 1024


def processor() -> str:
    """Return the CPU's name, as Linux knows it."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        return next(iter(names), "CPU")
    return platform.processor() or "CPU"


def environment(device: str) -> dict[str, str]:
    """Return machine, versions and date, to stand beside every figure."""
    name = torch.cuda.get_device_name() if device == "cuda" else processor()
    versions = {
        package: importlib.metadata.version(package)
        for package in ("torch", "torchvision", "lightning")
    }
    return {
        "device": f"{name}, {torch.get_num_threads()} threads",
        "python": platform.python_version(),
        **versions,
        "date": date.today().isoformat(),  # noqa: DTZ011 - the day, for readers
    }


def write_json(path: str | None, content: dict[str, Any]) -> None:
    """Write results where `--json` says, if it does."""
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        print(f"wrote {path}")
