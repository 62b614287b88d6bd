"""What each process spends on a look as their number grows.

`python -m benchmarks.processes [--json FILE] [--most 4]` shares looks at 32 images among processes
that find each other by gloo. Beside the time on the clock, which needs a core for each process, it
states the processor's time of a process, which does not hang on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pickle
import socket
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from benchmarks.faults import squares
from lightning_cam import Probe
from lightning_cam.monitor.config import Options
from lightning_cam.runtime.distributed import DistributedContext
from lightning_cam.monitor.probe_monitor import Watch

IMAGES, SIDE, LOOKS = 32, 128, 4


def network() -> nn.Module:
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for into, out in ((3, 64), (64, 128), (128, 128)):
        parts += [nn.Conv2d(into, out, 3, stride=2, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 4))


def process(rank: int, size: int, port: int, results: Any) -> None:
    torch.set_num_threads(1)
    if size > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        dist.init_process_group("gloo", rank=rank, world_size=size)
    images, targets, masks = squares(IMAGES)
    images = nn.functional.interpolate(images, size=(SIDE, SIDE))
    masks = nn.functional.interpolate(masks[:, None].float(), size=(SIDE, SIDE))[:, 0] > 0
    probe = Probe(images, targets, masks=masks)
    watch = Watch("cam", probe, Options(interventions_every=1), team=DistributedContext(rank, size))
    model = network()
    watch.prepare(model, probe.images)
    wall, cpu = [], []
    for n in range(LOOKS):
        if size > 1:
            dist.barrier()
        before = time.perf_counter(), time.process_time()
        look = watch.look(model, probe.images, n, n)
        wall.append(time.perf_counter() - before[0])
        cpu.append(time.process_time() - before[1])
        watch.remember(look)
    results.put((rank, statistics.median(wall[1:]), statistics.median(cpu[1:])))
    if size > 1:
        dist.barrier()
        dist.destroy_process_group()


def measured(size: int) -> dict[str, float]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    fork = multiprocessing.get_context("spawn")
    results = fork.Queue()
    ranks = [fork.Process(target=process, args=(r, size, port, results)) for r in range(size)]
    for rank in ranks:
        rank.start()
    rows = [results.get(timeout=300) for _ in ranks]
    for rank in ranks:
        rank.join()
    return {"processes": size, "wall_s": max(r[1] for r in rows), "cpu_s": max(r[2] for r in rows)}


def gathering(processes: int, logits: int = 1000, cells: int = 49) -> dict[str, float]:
    """Return size and cost of unpacking one gather of maps: an image a process."""
    part = ({"maps": torch.rand(1, cells), "logits": torch.rand(1, logits)}, "")
    message = pickle.dumps(part)
    started = time.perf_counter()
    for _ in range(processes):
        pickle.loads(message)  # noqa: S301 - our own, of the line above
    seconds = time.perf_counter() - started
    return {"processes": processes, "bytes": len(message) * processes, "unpacking_s": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--most", type=int, default=4)
    arguments = parser.parse_args()
    looks = [measured(size) for size in (1, 2, 4, 8) if size <= arguments.most]
    gathers = [gathering(size) for size in (8, 64, 1024)]
    for row in looks:
        print("{processes} processes: {wall_s:.3f} s, processor {cpu_s:.3f} s each".format(**row))
    for row in gathers:
        words = "{processes} processes: {bytes} bytes gathered, {unpacking_s:.4f} s to unpack"
        print(words.format(**row))
    if arguments.json:
        content = {"torch": torch.__version__, "looks": looks, "gathers": gathers}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
