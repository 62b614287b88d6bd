"""Small trainings on several processes; each process leaves what it saw in its folder.

Run as `python ddp_run.py FOLDER SCENARIO ...`. The processes are forked after the imports, and find
each other as those of `torchrun` do. All train on the same data, so that the weights are the same
however many there are.
"""

import contextlib
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

import lightning_cam.monitor.probe_monitor
from lightning_cam import CAMCallback, _lightning
from lightning_cam.monitor import Threshold

PROCESSES = {
    "one": 1,
    "two": 2,
    "four": 4,
    "uneven, one": 1,
    "uneven": 3,
    "few images, one": 1,
    "few images": 4,
    "own data": 2,
    "two probes, logger down": 2,
    "fails before": 2,
    "fails inside": 2,
    "fails after": 2,
    "fails twice": 2,
    "little memory": 2,
    "alerts": 2,
    "sharded, one": 1,
    "sharded": 2,
    "sharded, several labels": 2,
    "sharded, perturbed": 2,
}
SICK = 1  # the validation, counted from 0, in which something fails


class Diary(pl.Callback):
    """Writes one file a process: what it could monitor, its maps, and what it warned about."""

    def __init__(self, folder, watcher):
        self.folder, self.watcher = Path(folder), watcher
        self.entries, self.maps, self.warned = [], [], []

    def on_validation_end(self, trainer, pl_module):
        if trainer.sanity_checking:
            return
        values = {k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith("cam/")}
        self.entries.append(values)
        watch = next(iter(self.watcher._watches.values()))
        seen = watch.history.previous
        self.maps.append([] if seen is None else [m.tolist() for m in seen.maps.values()])

    def write(self, trainer, seconds):
        rank = trainer.global_rank
        content = {
            "entries": self.entries,
            "maps": self.maps,
            "world": trainer.world_size,
            "warned": self.warned,
            "epochs": trainer.current_epoch,
            "probe": next(iter(self.watcher.probes.values())).fingerprint,
            "seconds": seconds,
        }
        (self.folder / f"rank{rank}.json").write_text(json.dumps(content))


class DownLogger(TensorBoardLogger):
    """Its scalars arrive, its pictures do not."""

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
    """Each process holds a part of each weight."""

    def configure_model(self):
        mesh = self.device_mesh["data_parallel"]
        for part in self.net:
            if list(part.parameters()):
                fully_shard(part, mesh=mesh)
        fully_shard(self.net, mesh=mesh)


class SeveralLabels(Sharded):
    """Each image may be of several classes, one process's of more than the other's."""

    def training_step(self, batch, batch_idx):
        return nn.functional.binary_cross_entropy_with_logits(self.net(batch[0]), batch[1].float())

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx), sync_dist=True)


class LabelSets(Squares):
    """Even images have one label, the last ones three."""

    def __getitem__(self, index):
        labels = torch.zeros(4, dtype=torch.long)
        labels[self.targets[index]] = 1
        if index >= len(self) - 2:
            labels[:3] = 1
        return self.images[index], labels


def sick(module_or_rank):
    """Tell whether this is the process and the validation that fail."""
    trainer = module_or_rank.trainer
    fitting = not trainer.sanity_checking and trainer.current_epoch == SICK
    return fitting and trainer.global_rank == trainer.world_size - 1


def breaking(module, scenario):
    """Make one process fail in one validation: before, inside or after its forward passes."""
    kind = scenario.removeprefix("fails ")
    if kind in ("inside", "twice"):
        inner = module.forward

        def forward(images):
            if sick(module):
                raise RuntimeError("this rank is tired")
            return inner(images)

        module.forward = forward
    if kind in ("before", "twice"):
        on_device = _lightning.on_device

        def moved(trainer, pl_module, images):
            first = kind == "twice"  # then the other process, at another place
            here = trainer.global_rank == (0 if first else 1)
            if here and not trainer.sanity_checking and trainer.current_epoch == SICK:
                raise RuntimeError("this rank is tired")
            return on_device(trainer, pl_module, images)

        _lightning.on_device = moved
    if kind == "after":
        read = lightning_cam.monitor.probe_monitor.read

        def tired(*args):
            if sick(module):
                raise RuntimeError("this rank is tired")
            return read(*args)

        lightning_cam.monitor.probe_monitor.read = tired
    return module


def short_of_memory(module):
    """Make one process unable to run more than one image at a time from the second look on."""
    inner = module.forward

    def forward(images):
        if sick(module) and len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return inner(images)

    module.forward = forward
    return module


def scene(folder, scenario):  # noqa: C901 - a list of scenes
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
    if scenario == "own data":  # each process was given another part
        val = Squares(8, seed=int(os.environ["RANK"]))
    if scenario == "two probes, logger down":
        callback = CAMCallback({"one": squares_probe(seed=1), "two": squares_probe(seed=2)})
    if scenario.startswith("fails"):
        module = breaking(module, scenario)
    if scenario == "little memory":
        module = short_of_memory(module)
    if scenario == "alerts":  # the file where the checkpoints would lie is in the way
        (folder / "tb" / "version_0").mkdir(parents=True, exist_ok=True)
        (folder / "tb" / "version_0" / "checkpoints").write_text("in the way")
        rule = Threshold("entropy", above=0.0, patience=1, warmup=0)
        callback = small(alerts=[rule], on_alert=[raising_on_one, "checkpoint", "stop"])
    if scenario.startswith("sharded"):
        module = Sharded()
    if scenario == "sharded, several labels":
        module, data, val = SeveralLabels(), LabelSets(), LabelSets(8, seed=2)
    if scenario == "sharded, perturbed":
        callback = small(method="scorecam", chunk_size=3, panels=(), report=False)
    return module, data, val, callback


def raising_on_one(alert, trainer, module):
    if trainer.global_rank == 1:
        raise RuntimeError("no mail from here")


def train(folder, scenario):
    """One process's training."""
    torch.set_num_threads(1)
    folder = Path(folder)
    module, data, val, callback = scene(folder, scenario)
    kind = DownLogger if scenario.endswith("logger down") else TensorBoardLogger
    strategy = "auto" if PROCESSES[scenario] == 1 else DDPStrategy(process_group_backend="gloo")
    if scenario.startswith("sharded"):
        strategy = ModelParallelStrategy(process_group_backend="gloo")
    diary = Diary(folder, callback)
    trainer = make_trainer(
        folder,
        [callback, diary],
        devices=PROCESSES[scenario],
        strategy=strategy,
        max_epochs=3,
        num_sanity_val_steps=1 if scenario == "two" else 0,
        use_distributed_sampler=False,
        logger=kind(folder, name="tb", version=0),
    )
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(module, loader(data), loader(val))
    diary.warned = [str(w.message) for w in caught if "CAMCallback" in str(w.message)]
    diary.write(trainer, time.perf_counter() - started)


def as_rank(rank, world, port, folder, scenario):
    """Become one of the processes that `torchrun` would start."""
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "toys",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
    }
    with contextlib.redirect_stdout(io.StringIO()):
        train(folder, scenario)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def run(folder, scenario, patience=120):
    """Run a scenario; end its processes when they do not come to an end."""
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
