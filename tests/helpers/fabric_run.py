"""The recipe for Fabric on two processes: `python -m helpers.fabric_run`, in an empty folder."""

import json
import multiprocessing
import sys
from pathlib import Path

import torch
from lightning import fabric as lightning_fabric
from lightning.fabric.strategies import DDPStrategy

from helpers.ddp_run import become_rank, free_port
from helpers.loops import run

WORLD = 2


class TwoProcesses(lightning_fabric.Fabric):
    """Both train on the same data, so that the weights are those of one process."""

    def __init__(self):
        strategy = DDPStrategy(process_group_backend="gloo")
        super().__init__(accelerator="cpu", devices=WORLD, strategy=strategy)

    def setup_dataloaders(self, *loaders):
        return super().setup_dataloaders(*loaders, use_distributed_sampler=False)


def as_rank(rank, port):
    """Run the recipe on this process, and write down what it knows of the last evaluation."""
    become_rank(rank, WORLD, port)
    torch.set_num_threads(1)
    lightning_fabric.Fabric = TwoProcesses
    names = run("Lightning Fabric")
    monitor = names["monitor"]
    content = {
        "metrics": monitor.scalars.latest,
        "layers": [layer for _, layer in monitor.history.previous.maps],
        "wrapper": type(names["model"]._forward_module).__name__,
    }
    Path(f"rank{rank}.json").write_text(json.dumps(content))


if __name__ == "__main__":
    port = free_port()
    fork = multiprocessing.get_context("fork")
    ranks = [fork.Process(target=as_rank, args=(rank, port)) for rank in range(WORLD)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(100)
    sys.exit(max(abs(process.exitcode) if process.exitcode is not None else 1 for process in ranks))
