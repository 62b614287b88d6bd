"""Share evaluations among processes, and print what each of them computes and gathers.

    python -m robustness.processes [--most 4] [--json FILE]   # in tests/

Processes find each other by gloo and evaluate 32 images with interventions. The number of images
that a process runs and its CPU time do not depend on what else the machine does; the wall time
does, and needs a core per process.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import multiprocessing
import os
import pickle
import socket
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from helpers.result_files import environment, write_json
from helpers.training import Squares
from torch import nn

from lightning_cam import Probe
from lightning_cam.monitor.config import MonitorConfig
from lightning_cam.monitor.probe_monitor import ProbeMonitor
from lightning_cam.runtime.forward_context import ForwardContext

IMAGES, EVALUATIONS = 32, 4
_TIMEOUT = 300  # seconds
_GATHERED = (8, 64, 1024)  # numbers of processes


def network() -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for channels, out in ((3, 64), (64, 128), (128, 128)):
        layers += [nn.Conv2d(channels, out, 3, stride=2, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 4))


def evaluate_as_rank(rank: int, size: int, port: int, side: int, results: Any) -> None:
    """Evaluate as one of several processes, and put the measurements of this one on a queue."""
    torch.set_num_threads(1)
    if size > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        dist.init_process_group("gloo", rank=rank, world_size=size)
    data = Squares(IMAGES, side=side)
    probe = Probe(data.images, data.targets, masks=data.masks)
    model, config = network(), MonitorConfig(interventions_every=1)
    context = ForwardContext.of(model)
    monitor = ProbeMonitor("cam", probe, config, model, context)
    images: list[int] = []
    model.register_forward_pre_hook(lambda _, inputs: images.append(len(inputs[0])))
    wall, cpu, counts = [], [], []
    for n in range(EVALUATIONS):
        if size > 1:
            dist.barrier()
        images.clear()
        before = time.perf_counter(), time.process_time()
        evaluation = monitor.evaluate(model, context, n, n)
        wall.append(time.perf_counter() - before[0])
        cpu.append(time.process_time() - before[1])
        counts.append(sum(images))
        monitor.update_history(evaluation, float("nan"))
    # The first evaluation also measures the baselines.
    results.put((statistics.median(wall[1:]), statistics.median(cpu[1:]), counts[1:]))
    if size > 1:
        dist.barrier()
        dist.destroy_process_group()


def measure(size: int, side: int = 128) -> dict[str, Any]:
    """Return the largest wall time, CPU time and number of images of `size` processes.

    Args:
        size: number of processes.
        side: of the images in pixels.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    arguments = (size, port, side, results)
    ranks = [spawn.Process(target=evaluate_as_rank, args=(n, *arguments)) for n in range(size)]
    for rank in ranks:
        rank.start()
    try:
        rows = [results.get(timeout=_TIMEOUT) for _ in ranks]
    finally:
        for rank in ranks:
            rank.join(timeout=10)
            rank.kill()
    wall, cpu, counts = zip(*rows, strict=True)
    images = [max(each) for each in zip(*counts, strict=True)]
    return {"processes": size, "wall_s": max(wall), "cpu_s": max(cpu), "images": images}


def gathered(processes: int, logits: int = 1000, cells: int = 49) -> dict[str, Any]:
    """Return the size of one gather of maps, an image per process, and the time to unpack it."""
    part = ({"maps": torch.rand(1, cells), "logits": torch.rand(1, logits)}, "")
    message = pickle.dumps(part)
    started = time.perf_counter()
    for _ in range(processes):
        pickle.loads(message)  # noqa: S301 - pickled in the line above
    seconds = time.perf_counter() - started
    return {"processes": processes, "bytes": len(message) * processes, "unpacking_s": seconds}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="robustness.processes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--most", type=int, default=4, help="processes")
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args(arguments)
    evaluations = [measure(size) for size in (1, 2, 4, 8) if size <= args.most]
    gathers = [gathered(size) for size in _GATHERED]
    for row in evaluations:
        print(
            f"{row['processes']} processes: {row['wall_s']:.3f} s, CPU {row['cpu_s']:.3f} s each, "
            f"images run by each in later evaluations: {row['images']}"
        )
    for row in gathers:
        print(
            f"{row['processes']} processes: {row['bytes']} bytes gathered, "
            f"{row['unpacking_s']:.4f} s to unpack"
        )
    content = {"environment": environment(), "evaluations": evaluations, "gathers": gathers}
    write_json(args.json, content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
