"""How the cost of a look grows: with images, layers, methods, and validations behind it."""

from __future__ import annotations

import itertools
import math
import tempfile
import time
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn

from benchmarks.measuring import memory_of, saved_bytes, seconds_of
from benchmarks.speed.bench import Bench
from benchmarks.speed.runs import Classifier, loader, probe_for, trainer
from lightning_cam import CAMCallback, Probe
from lightning_cam.monitor.config import Options
from lightning_cam.monitor.probe_monitor import Watch

METHODS = (
    "gradcam",
    "layercam",
    "hirescam",
    "xgradcam",
    "gradcam++",
    "eigencam",
    "eigengradcam",
    "elementwise_gradcam",
)
_SIDE, _REPEATS = 64, 5


def tiny() -> nn.Sequential:
    """Return six convolutions, whose names are 0, 2, 4, ..."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for n in range(6):
        stride = 2 if n % 2 else 1
        layers += [nn.Conv2d(8 if n else 3, 8, 3, stride=stride, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)).eval()


def look_of(probe: Probe, options: Options) -> Callable[[], object]:
    """Return one look with its drawing: maps, metrics, memory, pictures, encoding."""
    net = tiny()
    watch = Watch("cam", probe, options)
    watch.prepare(net, probe.images)
    steps = iter(range(10**9))

    def call() -> None:
        step = next(steps)
        look = watch.look(net, probe.images, step, step)
        watch.remember(look)
        for picture in watch.drawing(look)():
            picture.encode({"jpeg"})

    call()  # the baselines are measured once
    return call


def exponent(points: list[tuple[float, float]]) -> float:
    """Return the slope of a straight line through the points' logarithms."""
    xs, ys = ([math.log(point[i]) for point in points] for i in (0, 1))
    middle = sum(xs) / len(xs)
    spread = sum((x - middle) ** 2 for x in xs)
    return sum((x - middle) * y for x, y in zip(xs, ys, strict=True)) / spread


def curve(
    bench: Bench, what: str, calls: dict[int, Callable[[], object]], start: int = 1
) -> dict[str, Any]:
    """Time the sizes in turns; fit the exponent from the size `start` on."""
    seconds: dict[int, list[float]] = {size: [] for size in calls}
    for _ in range(bench.pairs(_REPEATS)):
        for size, call in calls.items():
            seconds[size].append(seconds_of(call, bench.synchronize))
    points = [(size, min(some)) for size, some in seconds.items()]
    fitted = exponent([(float(x), y) for x, y in points if x >= start])
    print(f"{what:<12} exponent {fitted:.2f} from {start} on: {points}", flush=True)
    return {"what": what, "points": points, "exponent": fitted, "fitted_from": start}


def probes(bench: Bench) -> dict[str, Any]:
    """Measure a probe of 1 to 4,096 images, of which 16 are drawn."""
    sizes = (1, 4) if bench.quick else (1, 4, 16, 64, 256, 1024, 4096)
    plain = Options(interventions_every=0, rules=())
    calls = {size: look_of(probe_for(tiny(), size, _SIDE), plain) for size in sizes}
    return curve(bench, "images", calls, start=1 if bench.quick else 256)


def layers(bench: Bench) -> dict[str, Any]:
    """Measure 1 to 6 layers."""
    probe = probe_for(tiny(), 16, _SIDE)
    calls = {}
    for count in (1, 2) if bench.quick else range(1, 7):
        names = [str(2 * n) for n in reversed(range(6))][:count]
        options = Options(layers=names, interventions_every=0, rules=())
        calls[count] = look_of(probe, options)
    return curve(bench, "layers", calls)


def methods(bench: Bench) -> dict[str, Any]:
    """Measure 1 to 8 methods at one layer."""
    probe = probe_for(tiny(), 16, _SIDE)
    calls = {}
    for count in (1, 2) if bench.quick else (1, 2, 4, 8):
        options = Options(method=METHODS[:count], interventions_every=0, rules=())
        calls[count] = look_of(probe, options)
    return curve(bench, "methods", calls)


class _Counted(pl.Callback):
    """Writes down each validation's time."""

    def __init__(self, cam: CAMCallback) -> None:
        self.cam, self.started = cam, 0.0
        self.seconds: list[float] = []
        self.sizes: dict[int, int] = {}

    def on_validation_start(self, *_: Any) -> None:
        """Start."""
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop; weigh the state now and then."""
        del trainer, pl_module
        self.seconds.append(time.perf_counter() - self.started)
        if len(self.seconds) in (10, 100, 1000):
            self.sizes[len(self.seconds)] = saved_bytes(self.cam.state_dict())


class _Weighed(pl.Callback):
    """Writes down the process's memory every so often."""

    def __init__(self) -> None:
        self.mib: list[tuple[int, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Weigh."""
        del pl_module
        epoch = trainer.current_epoch + 1
        if epoch in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
            self.mib.append((epoch, memory_of("VmRSS") / 1024))


def validations(bench: Bench) -> dict[str, Any]:
    """Measure a training of 1,000 validations: the time of each, the state, the memory.

    A training this fast waits for its drawing: two validations' pictures may be on their way.
    """
    count = 12 if bench.quick else 1000
    net = tiny()
    probe = probe_for(net, 4, 32)
    cam = CAMCallback(probe, interventions_every=0, alerts=(), report=False)
    clock, scales = _Counted(cam), _Weighed()
    with tempfile.TemporaryDirectory() as folder:
        trainer(folder, [cam, clock, scales], bench.device, max_epochs=count).fit(
            Classifier(net, 1e-3), loader(2, 32, 2), loader(2, 32, 2)
        )
    points = []
    edges = [0, 1, 5, 10] if bench.quick else [0, 10, 20, 50, 100, 200, 500, 1000]
    for low, high in itertools.pairwise(edges):
        some = sorted(clock.seconds[low:high])
        points.append((high, some[len(some) // 2]))
    # The timeline widens until it is full, so the first looks draw less.
    start = points[1][0] if bench.quick else 50
    fitted = exponent([(float(x), y) for x, y in points if x >= start])
    found = {"what": "validations", "points": points, "exponent": fitted, "fitted_from": start}
    found |= {"state_bytes": sorted(clock.sizes.items()), "resident_mib": scales.mib}
    print(f"validations  exponent {fitted:.2f}: {points}", flush=True)
    print(f"             state {clock.sizes}, resident MiB {scales.mib}", flush=True)
    return found


def measure(bench: Bench) -> list[dict[str, Any]]:
    """Return a curve each."""
    return [part(bench) for part in (probes, layers, methods, validations)]
