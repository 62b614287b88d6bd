"""Whole trainings with and without the callback, in turns."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import lightning.pytorch as pl

from benchmarks.measuring import ratios
from benchmarks.speed.bench import Bench
from benchmarks.speed.runs import classifier, loader, trainer
from lightning_cam import CAMCallback

MODEL, SIDE, BATCH, STEPS, EPOCHS, PAIRS = "resnet18", 32, 64, 200, 3, 5


def train(bench: Bench, *, monitored: bool) -> None:
    """Train from initial weights, with the default callback or without."""
    batch, steps, epochs = (4, 2, 1) if bench.quick else (BATCH, STEPS, EPOCHS)
    module = classifier(MODEL).train()
    callbacks: list[pl.Callback] = [CAMCallback()] if monitored else []
    with tempfile.TemporaryDirectory() as folder:
        trainer(folder, callbacks, bench.device, max_epochs=epochs).fit(
            module, loader(steps * batch, SIDE, batch), loader(8 * batch, SIDE, batch, seed=1)
        )
    bench.synchronize()


def measure(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield the wall time with the callback over that without, everything included."""
    times, seconds = ratios(
        {"with": functools.partial(train, bench, monitored=True)},
        functools.partial(train, bench, monitored=False),
        pairs=bench.pairs(PAIRS),
        warmup=0 if bench.quick else 1,
    )
    row = {"model": MODEL, "side": SIDE, "batch": BATCH, "steps": STEPS, "epochs": EPOCHS}
    yield {**row, "time": asdict(times["with"]), "without_s": seconds}
