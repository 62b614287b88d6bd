"""The wall time of an evaluation that two processes share, against one process, by gloo on CPU."""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.measuring import Ratio, seconds_of
from benchmarks.speed.bench import Bench
from benchmarks.speed.runs import classifier, probe_for
from lightning_cam import CAMMonitor

MODEL, SIDE, IMAGES, ROUNDS, REPEATS = "resnet50", 128, 16, 3, 3
_KINDS = {"maps alone": 0, "with interventions": 1}  # and `interventions_every`


def measure(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield a row per kind of evaluation; each process has one thread, as in a loaded node."""
    rounds = [{n: _seconds(n, bench) for n in (1, 2)} for _ in range(bench.pairs(ROUNDS))]
    for kind in _KINDS:
        ratio = Ratio.of([one[2][kind] / one[1][kind] for one in rounds])
        alone = statistics.median(one[1][kind] for one in rounds)
        row = {"model": MODEL, "images": IMAGES, "side": SIDE, "evaluation": kind}
        yield {**row, "two_over_one": asdict(ratio), "one_s": alone}


def _seconds(processes: int, bench: Bench) -> dict[str, float]:
    """Return the seconds that an evaluation takes with some processes, by kind."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        all_of_them = [
            context.Process(target=_run, args=(rank, processes, meeting, bench, sender))
            for rank in range(processes)
        ]
        for each in all_of_them:
            each.start()
        for each in all_of_them:
            each.join()
            if each.exitcode:
                raise RuntimeError(f"a process ended with {each.exitcode}")
    found: dict[str, float] = receiver.recv()
    return found


def _run(rank: int, processes: int, meeting: str, bench: Bench, pipe: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)
    count, side = (4, 64) if bench.quick else (IMAGES, SIDE)
    net = classifier("resnet18" if bench.quick else MODEL).net.eval()
    probe = probe_for(net, count, side)
    medians = {}
    for kind, every in _KINDS.items():
        monitor = CAMMonitor(probe, interventions_every=every)
        monitor.evaluate(net)  # sets up, and measures the baselines
        dist.barrier()
        evaluate = [seconds_of(lambda m=monitor: m.evaluate(net)) for _ in range(REPEATS)]  # type: ignore[misc]
        medians[kind] = statistics.median(evaluate)
    if rank == 0:
        pipe.send(medians)
    dist.destroy_process_group()
