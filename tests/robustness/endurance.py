"""What grows over many validations: memory, threads, file handles, hooks, and what is in memory.

`python -m benchmarks.endurance [--json FILE] [--looks 1000]` trains a tiny network with a look at
every validation and everything switched on. Growth is that of the medians of the first and the last
hundredth part after a tenth of the looks, in which caches fill. It also measures the size of the
state in a checkpoint for probes of usual sizes.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import statistics
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.faults import Net, probe, squares
from benchmarks.measuring import memory_of, saved_bytes
from lightning_cam import CAMCallback
from lightning_cam.monitor import History, Threshold, Snapshot

LOOKS = 1000
MOST = 0.01  # growth that counts as none


class Meter(pl.Callback):
    """Measures the process after each validation."""

    def __init__(self, watcher: CAMCallback) -> None:
        self.watcher = watcher
        self.rows: list[dict[str, float]] = []

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        parts = list(module.modules())
        every = len(self.rows) % 10 == 0  # collecting garbage takes longer than the look
        if every:
            gc.collect()
        self.rows.append(
            {
                "resident": 1024.0 * memory_of("VmRSS"),
                "objects": float(len(gc.get_objects())) if every else float("nan"),
                "threads": float(threading.active_count()),
                "handles": float(len(list(Path("/proc/self/fd").iterdir()))),
                "hooks": float(
                    sum(len(p._forward_hooks) + len(p._backward_hooks) for p in parts)  # noqa: SLF001
                ),
                "state": float(saved_bytes(self.watcher.state_dict())) if every else float("nan"),
            }
        )


def train(folder: Path, looks: int, **options: Any) -> list[dict[str, float]]:
    """Return what was measured after each of `looks` looks."""
    callback = CAMCallback(
        **{
            "probe": probe(),
            "num_pictures": 2,
            "interventions_every": 5,
            "alerts": [Threshold("enrichment", below=1.0), Threshold("entropy", above=0.0)],
            "on_alert": (),
            "strict": False,
            **options,
        }
    )
    meter = Meter(callback)
    images, targets, _ = squares(4)
    data = DataLoader(TensorDataset(images, targets), 4)
    trainer = pl.Trainer(
        max_epochs=looks,
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=folder,
        callbacks=[callback, meter],
    )
    trainer.fit(Net(), data, data)
    return meter.rows


def growth(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return for each quantity its first and last level and the growth, a share of the first."""
    settled = rows[len(rows) // 10 :]
    part = max(10, len(settled) // 20)
    found = {}
    for name in rows[0]:
        first, last = (
            statistics.median(row[name] for row in side if row[name] == row[name])
            for side in (settled[:part], settled[-part:])
        )
        share = (last - first) / first if first else float(last > first)
        found[name] = {"first": first, "last": last, "growth": round(share, 5)}
    return found


def state_sizes() -> dict[str, int]:
    """Return the bytes of a long run's history in a checkpoint, for 32 images and one map each."""
    found = {}
    for side in (7, 16):
        history = History()
        for n in range(200):
            maps = {("gradcam", "layer4"): torch.rand(32, side, side)}
            rows = torch.arange(32)
            history.add(Snapshot(n, n, n, maps, rows, rows, rows, torch.rand(32)), n % 7)
        found[f"{side}x{side}"] = saved_bytes(history.state_dict())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--looks", type=int, default=LOOKS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        rows = train(Path(folder), arguments.looks)
    found = growth(rows)
    for name, each in found.items():
        print(f"{name:<10} {each['first']:>14,.0f} {each['last']:>14,.0f} {each['growth']:>8.2%}")
    sizes = state_sizes()
    for name, size in sizes.items():
        print(f"state of 32 images, maps {name}: {size / 1e6:.2f} MB")
    bad = [name for name, each in found.items() if each["growth"] > MOST]
    content = {
        "looks": arguments.looks,
        "seconds": round(time.perf_counter() - started, 1),
        "torch": torch.__version__,
        "lightning": pl.__version__,
        "grew": bad,
        "growth": found,
        "state_bytes_32_images": sizes,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
