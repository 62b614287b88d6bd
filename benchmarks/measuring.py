"""How times and memory are measured: in turns, repeated, as ratios with their spread."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import io
import math
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
    """Times of one call divided by those of another, pair by pair.

    Attributes:
        median: of all pairs.
        low: lower quartile.
        high: upper quartile.
        pairs: number of pairs.
    """

    median: float
    low: float
    high: float
    pairs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Ratio:
        """Return the median and the quartiles of some ratios."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(statistics.median(values), low, high, len(values))

    def text(self, digits: int = 2) -> str:
        """Return the median with the quartiles."""
        return f"{self.median:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def ratios(
    sides: Mapping[str, Callable[[], object]],
    reference: Callable[[], object],
    *,
    pairs: int = 15,
    warmup: int = 1,
    synchronize: Callable[[], None] = lambda: None,
) -> tuple[dict[str, Ratio], float]:
    """Return time(side) / time(reference) of several sides, and the reference's median seconds.

    In each round every call is timed once; the order rotates from round to round.
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
    found = {name: Ratio.of(some) for name, some in zip(sides, quotients, strict=True)}
    return found, statistics.median(each[0] for each in rounds)


def seconds_by_size(
    calls: Mapping[int, Callable[[], object]],
    repeats: int,
    synchronize: Callable[[], None] = lambda: None,
) -> dict[int, list[float]]:
    """Return the times of calls of several sizes, taken in turns."""
    seconds: dict[int, list[float]] = {size: [] for size in calls}
    for _ in range(repeats):
        for size, call in calls.items():
            seconds[size].append(seconds_of(call, synchronize))
    return seconds


def seconds_of(call: Callable[[], object], synchronize: Callable[[], None] = lambda: None) -> float:
    """Return how long a call takes."""
    synchronize()
    start = time.perf_counter()
    call()
    synchronize()
    return time.perf_counter() - start


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Return the exponent of a power law fitted to points (size, time)."""
    sizes, times = ([math.log(value) for value in values] for values in zip(*points, strict=True))
    return statistics.linear_regression(sizes, times).slope


def memory_of(field: str) -> int:
    """Return the memory of this process in KiB: `VmRSS` now, `VmHWM` at most."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field))


def saved_bytes(state: object) -> int:
    """Return how many bytes a state takes in a checkpoint."""
    file = io.BytesIO()
    torch.save(state, file)
    return file.tell()


def keep_memory() -> None:
    """Let the C library keep freed memory, as it does by itself after some training steps.

    Otherwise the reference is too slow: the activations of a large batch are new pages each time,
    which may take as long as the computation.
    """
    for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
        _mallopt(option, 2**31 - 1)


def _mallopt(option: int, value: int) -> None:
    """Set an option of glibc's allocator, where the C library is glibc."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(option, value)


def peak_memory(build: Callable[[], Callable[[], object]]) -> float:
    """Return the MiB by which a call raises a new process's peak, without model and inputs.

    Args:
        build: makes model and inputs and returns the call to measure; importable by name.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=_peak_in_child, args=(build, sender))
    child.start()
    before, after = receiver.recv()
    child.join()
    return float(after - before) / 1024


def _peak_in_child(build: Callable[[], Callable[[], object]], pipe: Any) -> None:
    torch.set_num_threads(2)
    # Each tensor is a mapping of its own: the peak is what is alive, whatever is on the heap.
    _mallopt(_MMAP_THRESHOLD, 2**17)
    call = build()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # reset the peak
    before = memory_of("VmRSS")
    call()
    pipe.send((before, memory_of("VmHWM")))


def environment(device: str = "cpu") -> dict[str, str]:
    """Return machine, versions and day, to be stored with every result."""
    name = torch.cuda.get_device_name() if device == "cuda" else _cpu_name()
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


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        return next(iter(names), "CPU")
    return platform.processor() or "CPU"
