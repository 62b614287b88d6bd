"""Whole trainings with and without the callback, in turns."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import asdict
from typing import Any

import lightning.pytorch as pl

from benchmarks.measuring import ratios
from benchmarks.speed.bench import Bench
from benchmarks.speed.runs import classifier, loader, trainer
from lightning_cam import CAMCallback

MODEL, SIDE, BATCH, STEPS, EPOCHS, PAIRS = "resnet18", 32, 64, 200, 3, 5


def train(bench: Bench, callbacks: int) -> None:
    """Train from fresh weights; `callbacks` is 1 for the default callback, 0 for none."""
    steps, epochs = (3, 1) if bench.quick else (STEPS, EPOCHS)
    module = classifier(MODEL).train()
    mine: list[pl.Callback] = [CAMCallback() for _ in range(callbacks)]
    with tempfile.TemporaryDirectory() as folder:
        trainer(folder, mine, bench.device, max_epochs=epochs).fit(
            module, loader(steps * BATCH, SIDE, BATCH), loader(8 * BATCH, SIDE, BATCH, seed=1)
        )
    bench.synchronize()


def measure(bench: Bench) -> list[dict[str, Any]]:
    """Return the wall time with the callback over that without, everything included."""
    times, seconds = ratios(
        {"with": functools.partial(train, bench, 1)},
        functools.partial(train, bench, 0),
        pairs=bench.pairs(PAIRS),
        warmup=1 if not bench.quick else 0,
    )
    row = {"model": MODEL, "side": SIDE, "batch": BATCH, "steps": STEPS, "epochs": EPOCHS}
    print(f"{MODEL} {SIDE}² {times['with']}  without {seconds:.1f} s", flush=True)
    return [{**row, "time": asdict(times["with"]), "without_s": seconds}]
