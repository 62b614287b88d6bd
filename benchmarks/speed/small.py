"""Import time, time of an evaluation beside its maps, a round of interventions, disk space."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from benchmarks.measuring import Ratio, ratios, saved_bytes, seconds_of
from benchmarks.speed.bench import Bench, Case, forward_of
from benchmarks.speed.runs import classifier, loader, probe_for, tiny, trainer
from benchmarks.trainings import Classifier
from lightning_cam import CAMCallback, CAMMonitor, compute_cams
from lightning_cam.interventions import ATTRIBUTES, ExchangeBatch
from lightning_cam.interventions.image_editing import largest_rectangles
from lightning_cam.interventions.run import run_exchanges
from lightning_cam.monitor.evidence import Evidence

_IMPORTED = (
    ("torch", "import lightning_cam"),
    ("lightning.pytorch, torch", "from lightning_cam import CAMCallback"),
    ("torch", "import lightning.pytorch"),
)
_IMPORT = """
import time
import {before}
start = time.perf_counter()
{line}
print(time.perf_counter() - start)
"""
_KINDS = {".html": "report", ".jsonl": "record", ".png": "images", ".csv": "curves"}


def imports(bench: Bench) -> Iterator[dict[str, Any]]:
    """Measure what our imports add to those that every training makes."""
    for before, line in (("sys", "import json"),) if bench.quick else _IMPORTED:
        code = _IMPORT.format(before=before, line=line)
        seconds = [
            float(subprocess.check_output([sys.executable, "-W", "ignore", "-c", code]))  # noqa: S603
            for _ in range(bench.pairs(5))
        ]
        spread = {"seconds": statistics.median(seconds), "low": min(seconds), "high": max(seconds)}
        yield {"what": line, "after": before, **spread}


class _CPUTimer(pl.Callback):
    """Measures the CPU time of the training's thread from each training batch to the next.

    Between validation and batch the thread rests until the images are drawn, as they are during any
    longer epoch: what a core computes beside this thread would be part of its time.
    """

    def __init__(self, rest: float) -> None:
        self.rest = rest
        self.seconds: list[float] = []
        self.started = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        if self.started:
            self.seconds.append(time.thread_time() - self.started)
        time.sleep(self.rest)
        self.started = time.thread_time()


class _MapsAlone(pl.Callback):
    """Computes maps where `CAMCallback` does, and nothing else."""

    def __init__(self, probe: Any) -> None:
        self.probe = probe

    def on_validation_epoch_end(self, _trainer: Any, module: Any) -> None:
        compute_cams(module.net, self.probe.images, self.probe.targets)


def host(bench: Bench) -> dict[str, Any]:
    """Measure what an evaluation costs whatever the network: CPU time of the training's thread.

    All metrics are logged, to TensorBoard, and the images are handed to it. The CPU time of the
    same training without the callback is subtracted; that of one which computes the maps alone is
    told apart.
    """
    net = tiny()
    probe = probe_for(net, 2 if bench.quick else 16, 64)
    options: dict[str, Any] = {"interventions_every": 0, "alerts": (), "metrics": "all"}
    seconds: list[list[float]] = [[], [], []]
    metrics, threads = 0, torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(bench.pairs(4)):  # in turns, since machines grow faster and slower
        callbacks = ([CAMCallback(probe, **options)], [_MapsAlone(probe)], [])
        for found, monitored in zip(seconds, callbacks, strict=True):
            timer, data = _CPUTimer(0.0 if bench.quick else 0.3), loader(2, 64, 2)
            with tempfile.TemporaryDirectory() as folder:
                fitting = trainer(folder, [*monitored, timer], max_epochs=4 if bench.quick else 14)
                fitting.fit(Classifier(net, 0.0), data, data)
            found.extend(timer.seconds[2:])
            metrics = metrics or sum(name.startswith("cam/") for name in fitting.callback_metrics)
    torch.set_num_threads(threads)
    what = f"CPU time of an evaluation in the training's thread, tiny network, {metrics} metrics"
    of_all, of_maps, of_none = (statistics.median(each) * 1000 for each in seconds)
    times = {"milliseconds": of_all - of_none, "of_maps": of_maps - of_none}
    return {"what": what, **times, "metrics": metrics}


class _StepTimer(pl.Callback):
    """Measures the time of the training steps of each epoch, which follow a validation."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.started = 0.0

    def on_train_epoch_start(self, *_: Any) -> None:
        self.started = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, _m: Any, _o: Any, _b: Any, index: int) -> None:
        if index == trainer.num_training_batches - 1:
            self.seconds.append(time.perf_counter() - self.started)


def steps_after(bench: Bench) -> dict[str, Any]:
    """Measure the training steps beside which the images of an evaluation are drawn and written."""
    net, side = tiny(), 64 if bench.quick else 224
    probe, medians = probe_for(net, 2 if bench.quick else 16, side), []
    for monitored in (True, False):
        cam = [CAMCallback(probe, interventions_every=0, alerts=())] if monitored else []
        timer, data = _StepTimer(), (loader(240, 64, 8), loader(2, 64, 2))
        with tempfile.TemporaryDirectory() as folder:
            fitting = trainer(folder, [*cam, timer], max_epochs=5 if bench.quick else 20)
            fitting.fit(Classifier(net, 0.0), *data)
        medians.append(statistics.median(timer.seconds[4:]) * 1000)
    what = "30 training steps of six convolutions, beside which an evaluation is drawn and written"
    return {"what": what, "milliseconds": medians[0], "without": medians[1]}


def beside_maps(bench: Bench) -> dict[str, Any]:
    """Measure an evaluation of a network whose forward takes about 10 ms against its maps alone.

    With one thread, since two that wait for each other on a busy machine would hide the difference.
    """
    side, threads = 128, torch.get_num_threads()
    torch.set_num_threads(1)
    net, quotients, forwards = tiny(), [], []
    probe, warm_up = probe_for(net, 16, side), bench.pairs(8)
    with tempfile.TemporaryDirectory() as folder:
        logger = TensorBoardLogger(folder, name="run")
        monitor = CAMMonitor(probe, loggers=[logger], interventions_every=0, alerts=())
        for turn in range(warm_up + bench.pairs(40)):
            maps = seconds_of(lambda: compute_cams(net, probe.images, probe.targets))
            evaluation = seconds_of(lambda: monitor.evaluate(net))
            monitor.close(report=False)  # wait for the drawing, which is beside the training
            with torch.inference_mode():
                net(probe.images)  # the first one after a pause is slower
                forward = seconds_of(lambda: net(probe.images))
            if turn >= warm_up:
                quotients.append(evaluation / maps)
                forwards.append(forward)
        logger.experiment.close()
    torch.set_num_threads(threads)
    row = {"what": "an evaluation without interventions", "unit": "times its maps alone"}
    time_of = {"time": asdict(Ratio.of(quotients)), "forward_s": statistics.median(forwards)}
    return {**row, "model": "six convolutions", "images": 16, **time_of}


def interventions(bench: Bench) -> dict[str, Any]:
    """Measure a round of interventions on 64 images against one forward of them."""
    case = Case("resnet18", *((8, "fp32", bench.device, 64) if bench.quick else (64,)))
    model, images, targets = case.build()
    masks = torch.zeros(case.batch, case.side, case.side, dtype=torch.bool, device=images.device)
    quarter = case.side // 4
    masks[:, quarter:-quarter, quarter:-quarter] = True
    result = compute_cams(model, images, targets, layers="layer4")
    labels = targets.cpu() % 4
    batch = ExchangeBatch(images, masks, rectangles=largest_rectangles(masks))
    clean = result.logits.cpu().softmax(dim=1)

    def one_round() -> None:
        attributes = [each for each in ATTRIBUTES.values() if each.masks is not False]
        evidence = Evidence(attributes, 0.05)
        plan = evidence.plan(batch, labels)
        assert plan is not None
        answers = run_exchanges(model, batch, labels, plan.requests)
        evidence.take_in(plan, answers, labels, clean)

    times, seconds = ratios(
        {"round": one_round},
        forward_of(case),
        pairs=bench.pairs(7),
        synchronize=bench.synchronize,
    )
    row = {"what": "a round of interventions", "model": case.model, "images": case.batch}
    return {**row, "time": asdict(times["round"]), "forward_s": seconds}


def disk(bench: Bench) -> Iterator[dict[str, Any]]:
    """Measure what 16 images of 224² leave on disk: bytes per validation, and the rest.

    The bytes per validation are the difference between trainings of 16 and of 8 validations, when
    the timeline has nearly stopped growing.
    """
    count, side, (first, last) = (2, 64, (1, 2)) if bench.quick else (16, 224, (8, 16))
    for name, logger in (("TensorBoard", TensorBoardLogger), ("CSV and PNG", CSVLogger)):
        less, more = (_bytes_left(logger, epochs, count, side) for epochs in (first, last))
        per_validation = {
            key: (size - less.get(key, 0)) / (last - first)
            for key, size in more.items()
            if key != "report"
        }
        row = {"what": name, "validations": last, "bytes": more}
        yield {**row, "bytes_per_validation": per_validation}


def _bytes_left(logger: Any, epochs: int, count: int, side: int) -> dict[str, int]:
    """Return bytes by kind of file after a training, without those of the training itself."""
    sizes: list[dict[str, int]] = []
    for monitored in (True, False):
        module = classifier("resnet18")
        callbacks = [CAMCallback(probe_for(module.net.eval(), count, side))] if monitored else []
        with tempfile.TemporaryDirectory() as folder:
            data, options = loader(2, side, 2), {"logger": logger(folder, name="run")}
            fitting = trainer(folder, callbacks, max_epochs=epochs, **options)
            fitting.fit(module.train(), data, data)
            sizes.append(_by_kind(Path(folder)))
        if callbacks:
            sizes[-1]["state in a checkpoint"] = saved_bytes(callbacks[0].state_dict())
    monitored_sizes, plain_sizes = sizes
    return {key: size - plain_sizes.get(key, 0) for key, size in monitored_sizes.items()}


def _by_kind(folder: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            name = "event file" if "tfevents" in path.name else _KINDS.get(path.suffix, "other")
            sizes[name] = sizes.get(name, 0) + path.stat().st_size
    return sizes


def measure(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield a row per measurement."""
    yield from imports(bench)
    yield host(bench)
    yield steps_after(bench)
    yield beside_maps(bench)
    yield interventions(bench)
    yield from disk(bench)
