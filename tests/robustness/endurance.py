"""Train through many evaluations, and print what grows: memory, threads, files, hooks, state.

    python -m robustness.endurance [--evaluations 1000] [--json FILE]   # in tests/

A tiny network is trained with one evaluation per epoch. The first tenth, in which caches are
filled, is left out; growth is that from the median of the first part of the rest to that of its
last part. The exit status is 1 where anything grows by more than one per cent.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from helpers.result_files import be_quiet, environment, markdown_table, write_json
from helpers.training import Module, Squares, loader, make_trainer, squares_probe

from lightning_cam import CAMCallback, Threshold
from lightning_cam.monitor import History, Snapshot

EVALUATIONS = 1000
TOLERANCE = 0.01  # relative growth that counts as none
_ARENA_MAX = -8  # of <malloc.h>
_EVERY = 10  # evaluations between two slow measurements
_TITLES = {
    "resident": "resident memory, bytes",
    "objects": "Python objects",
    "threads": "threads",
    "handles": "open files",
    "hooks": "hooks on the network",
    "state": "state in the checkpoint, bytes",
}

Row = dict[str, float]


class ProcessMeter(pl.Callback):
    """Measures the process after each validation; NaN where a slow measurement is not due."""

    def __init__(self, callback: CAMCallback) -> None:
        self.callback = callback
        self.rows: list[Row] = []

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        modules = list(module.modules())
        due = len(self.rows) % _EVERY == 0
        if due:
            gc.collect()
        self.rows.append(
            {
                "resident": resident_memory(),
                "objects": float(len(gc.get_objects())) if due else float("nan"),
                "threads": float(threading.active_count()),
                "handles": float(len(list(Path("/proc/self/fd").iterdir()))),
                "hooks": float(
                    sum(len(m._forward_hooks) + len(m._backward_hooks) for m in modules)
                ),
                "state": float(saved_bytes(self.callback.state_dict())) if due else float("nan"),
            }
        )


def resident_memory() -> float:
    """Return the resident memory of this process in bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * float(next(line.split()[1] for line in status if line.startswith("VmRSS")))


def saved_bytes(state: object) -> int:
    """Return how many bytes a state takes in a checkpoint."""
    file = BytesIO()
    torch.save(state, file)
    return file.tell()


def use_one_arena() -> None:
    """Let all threads share one arena of glibc's allocator.

    Otherwise memory that one thread frees is not used by another one, and the resident memory also
    depends on the order in which threads allocate.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def train(folder: Path, evaluations: int, **options: Any) -> list[Row]:
    """Return the measurements after each evaluation.

    Args:
        folder: for files.
        evaluations: number of epochs with one evaluation each.
        **options: arguments of `CAMCallback` in place of the usual ones.
    """
    defaults: dict[str, Any] = {
        "probe": squares_probe(),
        "num_pictures": 2,
        "interventions_every": 5,
        "alerts": [Threshold("enrichment", below=1.0), Threshold("entropy", above=0.0)],
        "on_alert": (),
    }
    callback = CAMCallback(**{**defaults, **options})
    meter = ProcessMeter(callback)
    data = loader(Squares(4))
    make_trainer(folder, [callback, meter], max_epochs=evaluations).fit(Module(), data, data)
    return meter.rows


def growth(rows: Sequence[Row]) -> dict[str, Row]:
    """Return for each quantity the first and the last level and the relative growth."""
    settled = rows[len(rows) // 10 :]
    part = max(_EVERY, len(settled) // 20)
    found = {}
    for name in rows[0]:
        first, last = (
            statistics.median(row[name] for row in side if row[name] == row[name])
            for side in (settled[:part], settled[-part:])
        )
        relative = (last - first) / first if first else float(last > first)
        found[name] = {"first": first, "last": last, "growth": round(relative, 5)}
    return found


def state_sizes() -> dict[str, int]:
    """Return the bytes of a long run's history in a checkpoint, for 32 images with one map each."""
    sizes = {}
    for side in (7, 16):
        history = History()
        rows = torch.arange(32)
        for n in range(200):
            maps = {("gradcam", "layer4"): torch.rand(32, side, side)}
            history.add(Snapshot(n, n, n, maps, rows, rows, rows, torch.rand(32)), n % 7)
        sizes[f"{side}x{side}"] = saved_bytes(history.state_dict())
    return sizes


def table(results: Mapping[str, Any]) -> str:
    """Return the table of docs/promises.md."""
    rows = [
        (_TITLES[name], f"{each['first']:,.0f}", f"{each['last']:,.0f}", f"{each['growth']:.2%}")
        for name, each in results["growth"].items()
    ]
    return markdown_table(("", "first 5 %", "last 5 %", "growth"), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="robustness.endurance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--evaluations", type=int, default=EVALUATIONS)
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args(arguments)
    be_quiet()
    use_one_arena()
    warnings.simplefilter("ignore")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        rows = train(Path(folder), args.evaluations)
    found = growth(rows)
    results = {
        "environment": environment(),
        "evaluations": args.evaluations,
        "seconds": round(time.perf_counter() - started, 1),
        "grew": [name for name, each in found.items() if each["growth"] > TOLERANCE],
        "growth": found,
        "state_bytes_32_images": state_sizes(),
    }
    print(table(results))
    for name, size in results["state_bytes_32_images"].items():
        print(f"state of 32 images with maps of {name}: {size / 1e6:.2f} MB")
    write_json(args.json, results)
    return int(bool(results["grew"]))


if __name__ == "__main__":
    sys.exit(main())
