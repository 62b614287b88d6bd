"""Small trainings on several processes; each process writes what it logged into a folder.

Run as `python -m helpers.ddp_run FOLDER SCENARIO ...`. The processes are forked after the imports,
and find each other as those of `torchrun` do. All train on the same data, so that the weights do
not depend on the number of processes.
"""

import contextlib
import dataclasses
import io
import json
import multiprocessing
import os
import socket
import sys
import time
import warnings
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import fully_shard

from helpers.training import Module, Squares, loader, make_trainer, small, squares_probe
from lightning_cam import CAMCallback, Threshold
from lightning_cam.monitor import probe_monitor
from lightning_cam.runtime import lightning

PROCESSES = {
    "one": 1,
    "two": 2,
    "four": 4,
    "uneven, one": 1,
    "uneven": 3,
    "few images, one": 1,
    "few images": 4,
    "own data": 2,
    "counted": 2,
    "counted, two probes": 2,
    "two probes, logger down": 2,
    "fails before": 2,
    "fails inside": 2,
    "fails after": 2,
    "fails twice": 2,
    "little memory": 2,
    "alerts": 2,
    "sharded, one": 1,
    "sharded": 2,
    "sharded, exchanges, one": 1,
    "sharded, exchanges": 4,
    "sharded, several labels": 2,
    "sharded, perturbed": 2,
}
FAILING = 1  # the validation, counted from 0, in which something fails


class Collectives:
    """Counts the collective operations that a process takes part in, by name."""

    names = (
        "all_gather", "all_gather_object", "all_gather_into_tensor", "all_reduce", "barrier",
        "broadcast", "broadcast_object_list", "gather", "gather_object", "monitored_barrier",
        "reduce", "reduce_scatter", "scatter", "scatter_object_list", "all_to_all",
    )  # fmt: skip

    def __init__(self):
        self.counts, self._inside = {}, False
        for name in self.names:
            setattr(torch.distributed, name, self._counted(name, getattr(torch.distributed, name)))

    def _counted(self, name, operation):
        def counted(*args, **kwargs):
            if self._inside:  # those of objects consist of several of tensors
                return operation(*args, **kwargs)
            self._inside = True
            self.counts[name] = self.counts.get(name, 0) + 1
            try:
                return operation(*args, **kwargs)
            finally:
                self._inside = False

        return counted

    def total(self):
        return sum(self.counts.values())


class CountedCallback(CAMCallback):
    """Keeps how many collective operations each validation took, in all of its hooks."""

    collectives, per_validation = None, ()

    def on_validation_epoch_end(self, trainer, pl_module):
        before = self.collectives.total()
        super().on_validation_epoch_end(trainer, pl_module)
        self.per_validation = (*self.per_validation, self.collectives.total() - before)

    def on_validation_end(self, trainer, *args):
        before = self.collectives.total()
        super().on_validation_end(trainer, *args)
        *first, last = self.per_validation
        self.per_validation = (*first, last + self.collectives.total() - before)


class RankLog(pl.Callback):
    """Keeps what one process logged, its maps and its warnings, and writes them into a file."""

    def __init__(self, folder, callback):
        self.folder, self.callback = Path(folder), callback
        self.metrics, self.maps, self.warnings = [], [], []

    def on_validation_end(self, trainer, pl_module):
        if trainer.sanity_checking:
            return
        values = {k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith("cam/")}
        self.metrics.append(values)
        first = next(iter(self.callback._monitor.probe_set.monitors.values()))
        latest = first.history.previous
        self.maps.append([] if latest is None else [m.tolist() for m in latest.maps.values()])

    def write(self, trainer):
        content = {
            "metrics": self.metrics,
            "maps": self.maps,
            "world_size": trainer.world_size,
            "warnings": self.warnings,
            "epochs": trainer.current_epoch,
            "probe": next(iter(self.callback.probes.values())).fingerprint,
            "collectives": getattr(self.callback, "per_validation", ()),
        }
        (self.folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(content))


class DownLogger(TensorBoardLogger):
    """Accepts scalars and refuses images."""

    @property
    def experiment(self):
        writer = super().experiment
        if hasattr(writer, "_get_file_writer"):
            writer._get_file_writer = self._refuse
        return writer

    def _refuse(self):
        raise OSError("the server is down")

    def log_metrics(self, metrics, step=None):
        pass

    def save(self):
        pass

    def finalize(self, status):
        pass


class Sharded(Module):
    """A module of which each process holds a part of each weight."""

    def configure_model(self):
        mesh = self.device_mesh["data_parallel"]
        for part in self.net:
            if list(part.parameters()):
                fully_shard(part, mesh=mesh)
        fully_shard(self.net, mesh=mesh)


class SeveralLabels(Sharded):
    """A sharded module for images with several labels."""

    def training_step(self, batch, batch_idx):
        return nn.functional.binary_cross_entropy_with_logits(self.net(batch[0]), batch[1].float())

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx), sync_dist=True)


class LabelSets(Squares):
    """Squares with one label per image, the last two images with three or more."""

    def __getitem__(self, index):
        labels = torch.zeros(4, dtype=torch.long)
        labels[self.targets[index]] = 1
        if index >= len(self) - 2:
            labels[:3] = 1
        return self.images[index], labels


def fails_now(trainer, rank):
    """Return whether this is the process and the validation in which something fails."""
    fitting = not trainer.sanity_checking and trainer.current_epoch == FAILING
    return fitting and trainer.global_rank == rank


def fail_before(module, rank):
    """Make a process fail before its forward passes, in one validation."""
    context_of = lightning.forward_context

    def forward_context(trainer, pl_module):
        def to_model(images):
            if fails_now(trainer, rank):
                raise RuntimeError("this rank is tired")
            return context.to_model(images)

        context = context_of(trainer, pl_module)
        return dataclasses.replace(context, to_model=to_model)

    lightning.forward_context = forward_context


def fail_inside(module, rank):
    """Make a process fail in a forward pass."""
    inner = module.forward

    def forward(images):
        if fails_now(module.trainer, rank):
            raise RuntimeError("this rank is tired")
        return inner(images)

    module.forward = forward


def fail_after(module, rank):
    """Make a process fail after its forward passes."""
    compute = probe_monitor.compute_metrics

    def compute_metrics(*args):
        if fails_now(module.trainer, rank):
            raise RuntimeError("this rank is tired")
        return compute(*args)

    probe_monitor.compute_metrics = compute_metrics


def limit_memory(module):
    """Make rank 1 unable to run more than one image per pass in one validation."""
    inner = module.forward

    def forward(images):
        if fails_now(module.trainer, rank=1) and len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return inner(images)

    module.forward = forward


def parts_of(folder, scenario):  # noqa: C901, PLR0912 - one branch per scenario
    """Return module, data and callback of a scenario."""
    data, val = Squares(), Squares(8, seed=2)
    methods = ["gradcam", "layercam"]
    module, callback = Module(), small(method=methods, panels=(), report=False)
    if scenario in ("one", "two", "four"):
        callback = small(method=methods)
    if scenario.startswith("uneven"):
        callback = small(probe_size=7, panels=(), report=False)
    if scenario.startswith("few images"):
        callback = small(probe_size=2, panels=(), report=False)
    if scenario == "own data":  # each process has other data
        val = Squares(8, seed=int(os.environ["RANK"]))
    if scenario == "two probes, logger down":
        callback = CAMCallback({"one": squares_probe(seed=1), "two": squares_probe(seed=2)})
    if scenario.startswith("counted"):  # exchanges are due at the first evaluations
        probes = {"one": squares_probe(12, seed=1), "two": squares_probe(12, seed=2)}
        callback = CountedCallback(
            probes if scenario.endswith("two probes") else probes["one"],
            progress_bar=None if scenario.endswith("two probes") else "entropy",
            num_pictures=2,
        )
        callback.collectives = Collectives()
    if scenario in ("fails inside", "fails twice"):
        fail_inside(module, rank=1)
    if scenario in ("fails before", "fails twice"):
        fail_before(module, rank=0 if scenario == "fails twice" else 1)
    if scenario == "fails after":
        fail_after(module, rank=1)
    if scenario == "little memory":
        limit_memory(module)
    if scenario == "alerts":  # there is a file in place of the folder of checkpoints
        (folder / "tb" / "version_0").mkdir(parents=True, exist_ok=True)
        (folder / "tb" / "version_0" / "checkpoints").write_text("in the way")
        rule = Threshold("entropy", above=0.0, patience=1, warmup=0)
        callback = small(alerts=[rule], on_alert=[raising_on_one, "checkpoint", "stop"])
    if scenario.startswith("sharded"):
        module = Sharded()
    if scenario.startswith("sharded, exchanges"):
        callback = CAMCallback(squares_probe(12, seed=1), panels=(), report=False)
    if scenario == "sharded, several labels":
        module, data, val = SeveralLabels(), LabelSets(), LabelSets(8, seed=2)
    if scenario == "sharded, perturbed":
        callback = small(method="scorecam", chunk_size=3, panels=(), report=False)
    return module, data, val, callback


def raising_on_one(alert, trainer, module):
    if trainer.global_rank == 1:
        raise RuntimeError("no mail from rank 1")


def train(folder, scenario):
    """Train on this process."""
    torch.set_num_threads(1)
    folder = Path(folder)
    module, data, val, callback = parts_of(folder, scenario)
    kind = DownLogger if scenario.endswith("logger down") else TensorBoardLogger
    strategy = "auto" if PROCESSES[scenario] == 1 else DDPStrategy(process_group_backend="gloo")
    if scenario.startswith("sharded"):
        strategy = ModelParallelStrategy(
            data_parallel_size=PROCESSES[scenario],
            tensor_parallel_size=1,
            process_group_backend="gloo",
        )
    log = RankLog(folder, callback)
    trainer = make_trainer(
        folder,
        [callback, log],
        devices=PROCESSES[scenario],
        strategy=strategy,
        max_epochs=3,
        num_sanity_val_steps=1 if scenario == "two" else 0,
        use_distributed_sampler=False,
        logger=kind(folder, name="tb", version=0),
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(module, loader(data), loader(val))
    messages = [str(each.message) for each in caught]
    log.warnings = [m for m in messages if "lightning_cam" in m or "CAMCallback" in m]
    log.write(trainer)


def become_rank(rank, world, port):
    """Become one of the processes that `torchrun` would start."""
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "tests",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
    }


def as_rank(rank, world, port, folder, scenario):
    become_rank(rank, world, port)
    with contextlib.redirect_stdout(io.StringIO()):
        train(folder, scenario)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def run(folder, scenario, patience=120):
    """Run a scenario; kill its processes after `patience` seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    world, port = PROCESSES[scenario], free_port()
    fork = multiprocessing.get_context("fork")
    ranks = [
        fork.Process(target=as_rank, args=(rank, world, port, folder, scenario))
        for rank in range(world)
    ]
    for rank in ranks:
        rank.start()
    end = time.monotonic() + patience
    for rank in ranks:
        rank.join(max(0.1, end - time.monotonic()))
    hung = [rank for rank in ranks if rank.is_alive()]
    for rank in hung:
        rank.kill()
    if hung:
        (folder / "hung").write_text(f"{len(hung)} of {world}")


if __name__ == "__main__":
    for name in sys.argv[2:]:
        started = time.perf_counter()
        run(Path(sys.argv[1]) / name, name)
        print(f"{name}: {time.perf_counter() - started:.1f} s", file=sys.stderr)  # noqa: T201
