"""Import time, state, disk, and a round of interventions."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from benchmarks.measuring import ratios, saved_bytes
from benchmarks.speed.bench import Bench, Case, forward_of
from benchmarks.speed.growth import tiny
from benchmarks.speed.runs import Classifier, classifier, loader, probe_for, trainer
from lightning_cam import CAMCallback, Probe, compute_cams
from lightning_cam.monitor.config import Options
from lightning_cam.interventions.run import ask_reliance

_IMPORT = """
import time
import {before}
start = time.perf_counter()
{line}
print(time.perf_counter() - start)
"""


def imports(bench: Bench) -> list[dict[str, Any]]:
    """Measure what our imports add to those that a training has made anyway."""
    rows = []
    for before, line in (
        ("torch", "import lightning_cam"),
        ("lightning.pytorch, torch", "from lightning_cam import CAMCallback"),
        ("torch", "import lightning.pytorch"),
    ):
        code = _IMPORT.format(before=before, line=line)
        seconds = [
            float(subprocess.check_output([sys.executable, "-W", "ignore", "-c", code]))  # noqa: S603
            for _ in range(bench.pairs(5))
        ]
        row = {"what": line, "after": before, "seconds": statistics.median(seconds)}
        rows.append(row | {"low": min(seconds), "high": max(seconds)})
        print(f"{line:<40} {row['seconds'] * 1000:.0f} ms after {before}", flush=True)
    return rows


def disk(bench: Bench) -> list[dict[str, Any]]:
    """Measure what 16 images of 224² leave behind: bytes a validation, and the rest.

    A validation's share is the difference between trainings of 16 and 8 validations, past those
    whose timeline still grows the most.
    """
    side, lengths = (64, (2, 4)) if bench.quick else (224, (8, 16))
    found: dict[str, dict[int, dict[str, int]]] = {}
    for name, kind in (("TensorBoard", TensorBoardLogger), ("CSV and PNG", CSVLogger)):
        found[name] = {epochs: _left(kind, epochs, side) for epochs in lengths}
    first, last = lengths
    rows = []
    for name, sizes in found.items():
        more = {key: sizes[last].get(key, 0) - sizes[first].get(key, 0) for key in sizes[last]}
        each = {key: value / (last - first) for key, value in more.items() if key != "report"}
        rows.append(
            {"what": name, "validations": last, "bytes": sizes[last], "bytes_a_validation": each}
        )
        print(f"{name}: {sizes[last]}, a validation {each}", flush=True)
    return rows


def _left(kind: Any, epochs: int, side: int) -> dict[str, int]:
    """Return bytes by kind of file after a training; the same training's own taken off."""
    sizes: list[dict[str, int]] = []
    for watched in (True, False):
        module = classifier("resnet18")
        callbacks = [CAMCallback(probe_for(module.net.eval(), 16, side))] if watched else []
        with tempfile.TemporaryDirectory() as folder:
            logger = kind(folder, name="run")
            data = loader(2, side, 2)
            trainer(folder, callbacks, max_epochs=epochs, logger=logger).fit(
                module.train(), data, data
            )
            sizes.append(_by_kind(Path(folder)))
        if watched:
            state = saved_bytes(callbacks[0].state_dict())
    without = sizes[1]
    return {
        **{key: size - without.get(key, 0) for key, size in sizes[0].items()},
        "state in a checkpoint": state,
    }


def _by_kind(folder: Path) -> dict[str, int]:
    kinds = {".html": "report", ".jsonl": "record", ".png": "pictures", ".csv": "curves"}
    sizes: dict[str, int] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            name = "event file" if "tfevents" in path.name else kinds.get(path.suffix, "other")
            sizes[name] = sizes.get(name, 0) + path.stat().st_size
    return sizes


def interventions(bench: Bench) -> list[dict[str, Any]]:
    """Measure a round of interventions on 64 images against one forward of them."""
    case = Case("resnet18", 8 if bench.quick else 64, device=bench.device)
    model, images, targets = case.build()
    targets = targets.cpu() % 10
    masks = torch.zeros(case.batch, case.side, case.side, dtype=torch.bool)
    masks[:, 56:168, 56:168] = True
    probe, options = Probe(images.cpu(), targets, masks=masks), Options()
    result = compute_cams(model, images, targets, layers="layer4")
    times, seconds = ratios(
        {"round": lambda: ask_reliance(model, probe, images, result, options)},
        forward_of(case),
        pairs=bench.pairs(7),
        synchronize=bench.synchronize,
    )
    print(f"interventions on {case.batch} images: {times['round']} forwards", flush=True)
    row = {"what": "a round of interventions", "model": case.model, "images": case.batch}
    return [{**row, "time": asdict(times["round"]), "forward_s": seconds}]


class _Timer(pl.Callback):
    """Adds up the CPU time that the training's thread spends in each validation."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.started = 0.0

    def on_validation_start(self, *_: Any) -> None:
        """Start."""
        self.started = time.thread_time()

    def on_validation_end(self, *_: Any) -> None:
        """Stop."""
        self.seconds.append(time.thread_time() - self.started)


def host(bench: Bench) -> list[dict[str, Any]]:
    """Measure what a look costs whatever the network: CPU time of the training's thread.

    The network is so small that its forward hardly counts; it is taken off with what a validation
    takes anyway.
    """
    net = tiny()
    probe = probe_for(net, 16, 64)
    medians, names = [], 0
    torch.set_num_threads(1)
    for watched in (True, False):
        cam = [CAMCallback(probe, interventions_every=0, alerts=())] if watched else []
        clock, data = _Timer(), loader(2, 64, 2)
        with tempfile.TemporaryDirectory() as folder:
            fitted = trainer(folder, [*cam, clock], max_epochs=4 if bench.quick else 30)
            fitted.fit(Classifier(net, 0.0), data, data)
        medians.append(statistics.median(clock.seconds[2:]))
        names = names or sum(name.startswith("cam/") for name in fitted.callback_metrics)
    torch.set_num_threads(2)
    spent = (medians[0] - medians[1]) * 1000
    print(f"a look's CPU time beside the network: {spent:.1f} ms, {names} metrics", flush=True)
    words = f"CPU time of a look in the training's thread, tiny network, {names} metrics"
    return [{"what": words, "milliseconds": spent, "metrics": names}]


def measure(bench: Bench) -> list[dict[str, Any]]:
    """Return all of it."""
    return [*imports(bench), *host(bench), *interventions(bench), *disk(bench)]
