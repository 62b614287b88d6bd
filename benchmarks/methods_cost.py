"""What several methods and layers cost together, and how Score-CAM grows with its channels.

python -m benchmarks.methods_cost [--pairs N] [--json FILE]
"""

from __future__ import annotations

import argparse
import functools
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
import torchvision
from torch import nn

from benchmarks.measuring import environment, peak_memory, ratios, write_json
from lightning_cam import compute_cams

BATCH, SIZE = 16, 224
FOUR = ("gradcam", "gradcam++", "hirescam", "layercam")
THREE = {
    "the last stage's blocks": ("layer4.0", "layer4.1", "layer4.2"),
    "the last stage and the one before": ("layer3", "layer4.1", "layer4"),
    "three stages": ("layer2", "layer3", "layer4"),
}
CHANNELS = (64, 128, 256, 512)
IMAGES, PIXELS = 4, 112


def maps_of(methods: tuple[str, ...], layers: tuple[str, ...]) -> Callable[[], object]:
    """Return maps of ResNet-50, ready to be called."""
    torch.manual_seed(0)
    model = torchvision.models.resnet50(weights=None).eval()
    images, targets = torch.randn(BATCH, 3, SIZE, SIZE), torch.arange(BATCH)
    return lambda: compute_cams(model, images, targets, method=methods, layers=list(layers))


def scorecam_of(channels: int) -> Callable[[], object]:
    """Return Score-CAM on a layer of so many channels behind ResNet-18, ready to be called."""
    torch.manual_seed(0)
    body = list(torchvision.models.resnet18(weights=None).children())[:-2]
    layer = nn.Conv2d(512, channels, 1)  # the only part that changes: 1 % of the work or less
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    model = nn.Sequential(*body, layer, nn.ReLU(), *head).eval()
    images, targets = torch.randn(IMAGES, 3, PIXELS, PIXELS), torch.arange(IMAGES)
    name = str(len(body) + 1)
    return lambda: compute_cams(model, images, targets, method="scorecam", layers=name)


def shared_pass(pairs: int) -> list[dict[str, Any]]:
    """Measure four gradient methods on three layers against Grad-CAM on the last."""
    rows = []
    one = maps_of(("gradcam",), ("layer4",))
    for title, layers in THREE.items():
        for methods in (("gradcam",), FOUR):
            sides = {"maps": maps_of(methods, layers)}
            found = ratios(sides, one, pairs=pairs, warmup=2)[0]["maps"]
            row = {"layers": layers, "methods": methods, "time": asdict(found)}
            rows.append(row)
            print(f"{len(methods)} on {title} {', '.join(layers)}: {found}", flush=True)
    return rows


def scorecam_growth(repeats: int = 3) -> dict[str, Any]:
    """Measure Score-CAM's time and memory over channels, the sizes taken in turn."""
    calls = {channels: scorecam_of(channels) for channels in CHANNELS}
    calls[CHANNELS[0]]()
    seconds: dict[int, list[float]] = {channels: [] for channels in CHANNELS}
    for _ in range(repeats):
        for channels, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[channels].append(time.perf_counter() - start)
    rows = []
    for channels, found in seconds.items():
        memory = peak_memory(functools.partial(scorecam_of, channels))
        median = statistics.median(found)
        rows.append({"channels": channels, "seconds": median, "memory_mib": memory})
        print(f"{channels:>4} channels: {median:6.2f} s, {memory:.0f} MiB", flush=True)
    fit = statistics.linear_regression(
        [math.log(row["channels"]) for row in rows], [math.log(row["seconds"]) for row in rows]
    )
    growth = rows[-1]["memory_mib"] / rows[0]["memory_mib"]
    print(f"time grows with channels to the power {fit.slope:.2f}, memory by {growth:.2f} in all")
    return {"exponent": fit.slope, "memory_last_over_first": growth, "rows": rows}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(2)
    content = {"shared_pass": shared_pass(args.pairs), "scorecam": scorecam_growth()}
    write_json(args.json, {"environment": environment("cpu"), **content})


if __name__ == "__main__":
    main()
