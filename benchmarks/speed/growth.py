"""How the cost of an evaluation grows: with images, layers, methods, and earlier evaluations."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import lightning.pytorch as pl

from benchmarks.measuring import exponent, memory_of, saved_bytes, seconds_by_size
from benchmarks.speed.bench import Bench
from benchmarks.speed.runs import loader, probe_for, tiny, trainer
from benchmarks.trainings import Classifier
from lightning_cam import CAMCallback, Probe
from lightning_cam.monitor.config import MonitorConfig
from lightning_cam.monitor.probe_monitor import ProbeMonitor
from lightning_cam.runtime.forward_context import ForwardContext

METHODS = (
    *("gradcam", "layercam", "hirescam", "xgradcam"),
    *("gradcam++", "eigencam", "eigengradcam", "elementwise_gradcam"),
)
_SIDE, _REPEATS = 64, 5
_EPOCHS_MEASURED = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def evaluation_of(probe: Probe, **options: Any) -> Callable[[], object]:
    """Return one evaluation with its drawing: maps, metrics, history, images, encoding."""
    net = tiny()
    context = ForwardContext.of(net)
    config = MonitorConfig(interventions_every=0, alerts=(), **options)
    monitor = ProbeMonitor("cam", probe, config, net, context)
    steps = itertools.count()

    def call() -> None:
        step = next(steps)
        evaluation = monitor.evaluate(net, context, step, step)
        monitor.update_history(evaluation, float("nan"))
        for picture in monitor.renderer_of(evaluation)():
            picture.encode({"jpeg"})

    call()  # the baselines are measured once
    return call


def curve(
    bench: Bench, what: str, calls: Mapping[int, Callable[[], object]], start: int = 1
) -> dict[str, Any]:
    """Return the shortest time of each size, and the exponent from the size `start` on."""
    seconds = seconds_by_size(calls, bench.pairs(_REPEATS), bench.synchronize)
    return _row(what, [(size, min(some)) for size, some in seconds.items()], start)


def _row(what: str, points: list[tuple[int, float]], start: int) -> dict[str, Any]:
    fitted = exponent([point for point in points if point[0] >= start])
    return {"what": what, "points": points, "exponent": fitted, "fitted_from": start}


def images(bench: Bench) -> dict[str, Any]:
    """Measure probes of 1 to 4,096 images, of which 16 are drawn."""
    sizes = (1, 4) if bench.quick else (1, 4, 16, 64, 256, 1024, 4096)
    calls = {size: evaluation_of(probe_for(tiny(), size, _SIDE)) for size in sizes}
    return curve(bench, "images", calls, start=1 if bench.quick else 256)


def layers(bench: Bench) -> dict[str, Any]:
    """Measure 1 to 6 layers."""
    probe, names = probe_for(tiny(), 16, _SIDE), [str(2 * n) for n in reversed(range(6))]
    counts = (1, 2) if bench.quick else range(1, 7)
    calls = {count: evaluation_of(probe, layers=names[:count]) for count in counts}
    return curve(bench, "layers", calls)


def methods(bench: Bench) -> dict[str, Any]:
    """Measure 1 to 8 methods at one layer."""
    probe = probe_for(tiny(), 16, _SIDE)
    counts = (1, 2) if bench.quick else (1, 2, 4, 8)
    calls = {count: evaluation_of(probe, method=METHODS[:count]) for count in counts}
    return curve(bench, "methods", calls)


class _Meter(pl.Callback):
    """Measures the time of each validation, the size of the state, and the process's memory."""

    def __init__(self, cam: CAMCallback) -> None:
        self.cam, self.started = cam, 0.0
        self.seconds: list[float] = []
        self.state_bytes: list[tuple[int, int]] = []
        self.resident_mib: list[tuple[int, float]] = []

    def on_validation_start(self, *_: Any) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.seconds.append(time.perf_counter() - self.started)
        count = len(self.seconds)
        if count in _EPOCHS_MEASURED:
            self.resident_mib.append((count, memory_of("VmRSS") / 1024))
        if count in (10, 100, 1000):
            self.state_bytes.append((count, saved_bytes(self.cam.state_dict())))


def validations(bench: Bench) -> dict[str, Any]:
    """Measure a training of 1,000 validations.

    A training as fast as this one waits for its drawing: the images of only two validations may be
    unfinished.
    """
    net = tiny()
    cam = CAMCallback(probe_for(net, 4, 32), interventions_every=0, alerts=(), report=False)
    meter, data = _Meter(cam), loader(2, 32, 2)
    with tempfile.TemporaryDirectory() as folder:
        epochs = 10 if bench.quick else 1000
        fitting = trainer(folder, [cam, meter], bench.device, max_epochs=epochs)
        fitting.fit(Classifier(net, 1e-3), data, data)
    edges = (0, 1, 5, 10) if bench.quick else (0, 10, 20, 50, 100, 200, 500, 1000)
    points = [
        (high, statistics.median_high(meter.seconds[low:high]))
        for low, high in itertools.pairwise(edges)
    ]
    # The timeline widens until it is full, so the first evaluations draw less.
    row = _row("validations", points, points[1][0] if bench.quick else 50)
    return {**row, "state_bytes": meter.state_bytes, "resident_mib": meter.resident_mib}


def measure(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield a row per curve."""
    return (part(bench) for part in (images, layers, methods, validations))
