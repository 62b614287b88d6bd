"""What is injected into a training, what its user sees, and whether its weights notice.

`python -m benchmarks.faults [--json FILE] [--markdown FILE]` runs each fault in a training of its
own and compares the weights and the optimizer's state with those of a training without the
callback, bit for bit. The tests run the same table.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import logging
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_cam import CAMCallback, Probe
from lightning_cam.output.loggers import choose
from lightning_cam.monitor import Threshold
from lightning_cam.output.panels import Panels

EPOCHS = 3
SICK = 1  # faults of the network come in this validation, counted from 0
_FULL = Path("/dev/full")  # a device whose disk is always full


# --- the training --------------------------------------------------------------------------------


def squares(count: int = 16, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return images with a bright square in one of four corners, the corner, and its mask."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, 16, 16, generator=draw) * 0.4
    targets = torch.arange(count) % 4
    masks = torch.zeros(count, 16, 16, dtype=torch.bool)
    for n, corner in enumerate(targets.tolist()):
        y, x = 8 * (corner // 2), 8 * (corner % 2)
        masks[n, y + 1 : y + 7, x + 1 : x + 7] = True
        images[n, corner % 3][masks[n]] = 1.0
    return images, targets, masks


def probe(seed: int = 5, **known: Any) -> Probe:
    images, targets, masks = squares(4, seed)
    return Probe(images, targets, masks=masks, **known)


class Net(pl.LightningModule):
    """A small classifier. Its steps call `self.net`, so what breaks `forward` breaks ours alone."""

    def __init__(self, change: Callable[[Net, Tensor], Any] | None = None, stride: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 12, 3, stride=stride, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(12, 4),
        )
        self.change = change

    @property
    def sick(self) -> bool:
        trainer = self._trainer
        return trainer is not None and not trainer.sanity_checking and trainer.current_epoch == SICK

    def forward(self, images: Tensor) -> Any:
        if self.change is not None and self.sick:
            return self.change(self, images)
        return self.net(images)

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


class Weights(pl.Callback):
    """Keeps a copy of weights and momenta at the end of each epoch."""

    def __init__(self) -> None:
        self.after: list[list[Tensor]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        self.after.append(state_of(trainer))


def state_of(trainer: pl.Trainer) -> list[Tensor]:
    states = [s for optimizer in trainer.optimizers for s in optimizer.state.values()]
    momenta = [state["momentum_buffer"] for state in states]
    return [t.clone() for t in (*trainer.lightning_module.state_dict().values(), *momenta)]


def trained(
    folder: Path,
    module: Net,
    *callbacks: pl.Callback,
    epochs: int = EPOCHS,
    resume: Path | None = None,
    **kwargs: Any,
) -> pl.Trainer:
    """Train on sixteen squares."""
    trainer = pl.Trainer(
        **{
            "max_epochs": epochs,
            "logger": False,
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
            "default_root_dir": folder,
            "callbacks": list(callbacks),
            **kwargs,
        }
    )
    data = [DataLoader(TensorDataset(*squares(n, s)[:2]), 4) for n, s in ((16, 0), (8, 2))]
    trainer.fit(module, *data, ckpt_path=resume)
    return trainer


# --- faults --------------------------------------------------------------------------------------


@dataclass
class Scene:
    """What one training is made of.

    Attributes:
        folder: its files.
        options: of the callback.
        module: the network.
        settings: of the trainer.
        around: contexts to train in.
        alter: alters the checkpoint that it is resumed from, after one epoch.
    """

    folder: Path
    options: dict[str, Any] = field(default_factory=dict)
    module: Callable[[], Net] = Net
    settings: dict[str, Any] = field(default_factory=dict)
    around: list[contextlib.AbstractContextManager[Any]] = field(default_factory=list)
    alter: Callable[[dict[str, Any]], Any] | None = None
    resumed: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """One row of the table.

    Attributes:
        injected: what is done to the training.
        arrange: does it.
        seen: words of the one warning; empty where there is none, since nothing is lost.
        ends: the exception that ends the training as it would without the callback.
        strict: whether `strict=True` raises.
        epochs: that are trained until then.
    """

    injected: str
    arrange: Callable[[Scene], None]
    seen: str = ""
    ends: type[BaseException] | None = None
    strict: bool = True
    epochs: int = EPOCHS


FAULTS: dict[str, Fault] = {}


def fault(injected: str, seen: str = "", **known: Any) -> Callable[[Callable[[Scene], None]], Any]:
    def register(arrange: Callable[[Scene], None]) -> Callable[[Scene], None]:
        FAULTS[arrange.__name__] = Fault(injected, arrange, seen, **known)
        return arrange

    return register


# loggers


def _logger(name: str, **members: Any) -> Logger:
    """Return a logger that is matched by its class's name."""

    class Quiet(Logger):
        version = 0
        save_dir = log_dir = None
        experiment = None

        @property
        def name(self) -> str:
            return "quiet"

        def log_metrics(self, *_: Any, **__: Any) -> None: ...

        def log_hyperparams(self, *_: Any, **__: Any) -> None: ...

    return type(name, (Quiet,), members)()  # type: ignore[no-any-return]


def _down(*_: Any, **__: Any) -> Any:
    raise ConnectionError("the server is down")


class _Sink:
    """Takes everything, but for what a test replaces."""

    def __init__(self, logger: Any) -> None: ...

    def prepare(self, tag: str, metric_names: Any) -> None: ...

    def write(self, pictures: Any, step: int) -> None: ...

    def alert(self, tag: str, message: str, step: int) -> None: ...


def _with_sink(scene: Scene, **members: Any) -> None:
    """Serve a logger whose pictures go to a sink with members that fail."""
    sink = type("Sink", (_Sink,), members)
    scene.settings["logger"] = [_logger("BadLogger"), CSVLogger(scene.folder, name="csv")]
    scene.around.append(mock.patch.dict(choose._ADAPTERS, {"BadLogger": sink}))  # noqa: SLF001


_ALARM = Threshold("entropy", above=0.0, patience=1, warmup=0)


@fault("a logger raises when it is asked for its run", "the server is down")
def logger_experiment(scene: Scene) -> None:
    _with_sink(scene, __init__=_down)


@fault("a logger raises when it is given pictures", "the server is down")
def logger_pictures(scene: Scene) -> None:
    _with_sink(scene, write=_down)


@fault("a logger raises when it is told the scalars' names", "the server is down")
def logger_curves(scene: Scene) -> None:
    _with_sink(scene, prepare=_down)


@fault("a logger raises when it is given an alert", "the server is down")
def logger_alert(scene: Scene) -> None:
    _with_sink(scene, alert=_down)
    scene.options |= {"alerts": [_ALARM], "on_alert": ()}


def _cut_off(scene: Scene, fails: Callable[..., Any]) -> Any:
    """Return a property that fails from the first validation on: before, it is the trainer's."""
    lost = []

    class Cut(pl.Callback):
        def on_validation_start(self, *_: Any) -> None:
            lost.append(1)

    scene.settings["callbacks"] = [Cut()]
    return property(lambda self: fails(self) if lost else None)


@fault("a logger cannot name its folder", "default_root_dir", strict=False)
def logger_folder(scene: Scene) -> None:
    save_dir = _cut_off(scene, _down)
    scene.settings["logger"] = _logger("LostLogger", save_dir=save_dir)


@fault("W&B is not reachable", "Run initialization has timed out")
def wandb_unreachable(scene: Scene) -> None:
    def offline(_: Any) -> Any:
        from wandb.errors import CommError

        raise CommError("Run initialization has timed out after 90.0 sec.")

    scene.settings["logger"] = _logger("WandbLogger", experiment=_cut_off(scene, offline))


# disks and folders


@fault("the disk is full: the record of the looks", "No space left on device")
def disk_full_record(scene: Scene) -> None:
    def full(*_: Any) -> None:  # reading from `/dev/full`, as a record is, would never end
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    scene.around.append(mock.patch("lightning_cam.output.record.writer.append_line", full))


@fault("the disk is full: an alert's line", "No space left on device")
def disk_full_alerts(scene: Scene) -> None:
    (scene.folder / "alerts.jsonl").symlink_to(_FULL)
    scene.options |= {"alerts": [_ALARM], "on_alert": ()}


@fault("files beyond 2 KB are refused by the system", "File too large")
def disk_quota(scene: Scene) -> None:
    scene.around.append(_files_up_to(2048))
    scene.options["report"] = False


@contextlib.contextmanager
def _files_up_to(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@fault("the run's folder is removed before each validation", strict=False)
def folder_removed(scene: Scene) -> None:
    class Tidy(pl.Callback):
        def on_validation_start(self, *_: Any) -> None:
            shutil.rmtree(scene.folder, ignore_errors=True)

    scene.settings["callbacks"] = [Tidy()]


@fault("a file is in the way of the pictures' folder", "a logger's pictures")
def folder_of_pictures(scene: Scene) -> None:
    (scene.folder / "cam").write_text("in the way")


@fault("a file is in the way of the record's folder", "FileExistsError")
def folder_of_record(scene: Scene) -> None:
    (scene.folder / "lightning_cam").write_text("in the way")


@fault("the report cannot be written at the end", "the report")
def report_fails(scene: Scene) -> None:
    (scene.folder / "report.html").mkdir()


# drawing


@fault("drawing a look raises", "ZeroDivisionError")
def drawing_raises(scene: Scene) -> None:
    def draw(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("no area to draw on")

    scene.around.append(mock.patch.object(Panels, "draw", draw))


@fault("the thread that draws is told to exit", "SystemExit", strict=False)
def drawing_exits(scene: Scene) -> None:
    def draw(*_: Any, **__: Any) -> Any:
        raise SystemExit

    if not scene.options.get("strict"):  # which draws in the training's own thread
        scene.around.append(mock.patch.object(Panels, "draw", draw))


@fault("the system has no thread left to draw in", strict=False)
def drawing_thread(scene: Scene) -> None:
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == "lightning_cam":
            raise RuntimeError("can't start new thread")
        start(thread)

    scene.around.append(mock.patch.object(threading.Thread, "start", refused))


# the network


def _network(change: Callable[[Net, Tensor], Any]) -> Callable[[Scene], None]:
    def arrange(scene: Scene) -> None:
        scene.module = lambda: Net(change)

    return arrange


def _oom(most: int) -> Callable[[Net, Tensor], Any]:
    def run(module: Net, images: Tensor) -> Tensor:
        if len(images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return module.net(images)

    return run


@fault("memory for one image at a time only", "goes on with 1", strict=False)
def memory_short(scene: Scene) -> None:
    _network(_oom(1))(scene)


@fault("no memory at all", "out of memory")
def memory_none(scene: Scene) -> None:
    scene.options["chunk_size"] = 1
    _network(_oom(0))(scene)


def _with_layer(value: float, layer: int) -> Callable[[Net, Tensor], Any]:
    def run(module: Net, images: Tensor) -> Tensor:
        handle = module.net[layer].register_forward_hook(lambda _, __, out: out * value)
        try:
            return module.net(images)
        finally:
            handle.remove()

    return run


for _value in ("nan", "inf"):
    for _layer, _words in ((2, "activations"), (6, "logits")):
        _fault = Fault(
            f"{_value} in the {_words}",
            _network(_with_layer(float(_value), _layer)),
            strict=False,
        )
        FAULTS[f"{_value}_{_words}"] = _fault


class _NaNBackwards(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(_: Any, grads: Tensor) -> Tensor:
        return grads * float("nan")


@fault("NaN in the gradients", strict=False)
def nan_gradients(scene: Scene) -> None:
    _network(lambda module, images: _NaNBackwards.apply(module.net(images)))(scene)


@fault("the watched layer stops running", "did not run")
def layer_stops(scene: Scene) -> None:
    _network(lambda m, x: m.net[6](m.net[:3](x).mean((2, 3))))(scene)


@fault("the watched layer changes its shape", strict=False)
def layer_changes(scene: Scene) -> None:
    def run(module: Net, images: Tensor) -> Tensor:
        return module.net(F.interpolate(images, scale_factor=2.0))

    _network(run)(scene)


@fault("the watched layer loses height and width", "spatial")
def layer_flattens(scene: Scene) -> None:
    def run(module: Net, images: Tensor) -> Tensor:
        flat = module.net[3](module.net[:3](images).flatten(1)[:, :12])
        return module.net[6](flat)

    _network(run)(scene)


@fault("the network raises", "tired")
def network_raises(scene: Scene) -> None:
    def run(_: Net, __: Tensor) -> Tensor:
        raise RuntimeError("the network is tired")

    _network(run)(scene)


@fault("labels out of range: the network has fewer classes than before", "below 3")
def labels_out_of_range(scene: Scene) -> None:
    _network(lambda module, images: module.net(images)[:, :3])(scene)


# the user's own


@fault("class names with line breaks, zeros and foreign letters")
def class_names(scene: Scene) -> None:
    names = ["two\nlines", "\x00%s{}", "日本語😀", "../../etc/passwd" + "x" * 300]
    scene.options["probe"] = probe(class_names=names)


FAULTS["class_names"] = Fault(**{**vars(FAULTS["class_names"]), "strict": False})


@fault("an alert's action raises", "no mail today")
def action_raises(scene: Scene) -> None:
    def mail(*_: Any) -> None:
        raise RuntimeError("no mail today")

    scene.options |= {"alerts": [_ALARM], "on_alert": mail}


class _BadRule(Level):
    def _judge(self, *_: Any) -> tuple[bool, bool]:
        raise KeyError("the rule's own table")


@fault("a user's rule raises", "the rule's own table")
def rule_raises(scene: Scene) -> None:
    scene.options["alerts"] = [_BadRule("entropy", above=0.0)]


@fault("a user's target function raises", "no such head")
def target_raises(scene: Scene) -> None:
    calls = []

    def target(output: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) > 8:  # beyond what is tried before the training
            raise KeyError("no such head")
        return output[:, 0]

    scene.options["target"] = target


# signals


def _killed_by(number: int) -> Callable[[Net, Tensor], Any]:
    def run(module: Net, images: Tensor) -> Tensor:
        os.kill(os.getpid(), number)
        return module.net(images)

    return run


@fault(
    "Ctrl-C in our pass",
    ends=(KeyboardInterrupt, SystemExit),
    strict=False,
    epochs=SICK + 1,
)
def interrupted(scene: Scene) -> None:
    _network(_killed_by(signal.SIGINT))(scene)
    scene.around.append(_interruptible())


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C raise: shells turn it off for what runs behind, and Lightning after the first."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@fault("SIGTERM in our pass", ends=SystemExit, strict=False, epochs=SICK + 1)
def terminated(scene: Scene) -> None:
    _network(_killed_by(signal.SIGTERM))(scene)


# checkpoints


def _checkpoint(
    name: str, injected: str, seen: str, alter: Callable[..., Any], **known: Any
) -> None:
    def arrange(scene: Scene) -> None:
        scene.alter = alter
        scene.resumed |= known

    FAULTS[name] = Fault(injected, arrange, seen)


def _older(state: dict[str, Any]) -> None:
    for watch in state["probes"].values():
        for name in ("rules", "baselines", "noise_floor"):
            watch.pop(name)
        for name in ("best", "best_value", "average", "before"):
            watch["history"].pop(name)


def _shorter(state: dict[str, Any]) -> None:
    for snapshot in state["probes"]["val"]["history"]["kept"]:
        snapshot["maps"] = [[m, layer, maps[:, :2]] for m, layer, maps in snapshot["maps"]]


_checkpoint("state_older", "a checkpoint of an older version of our state", "", _older)
FAULTS["state_older"] = Fault(**{**vars(FAULTS["state_older"]), "strict": False})
for _name, _alter in {
    "history missing": lambda s: s["probes"]["val"].pop("history"),
    "validations a word": lambda s: s.update(validations="many"),
    "probes a list": lambda s: s.update(probes=[1, 2]),
    "snapshots of text": lambda s: s["probes"]["val"]["history"].update(first="gone"),
    "maps cut off": _shorter,
    "a rule's memory of text": lambda s: s["probes"]["val"].update(
        rules=[{"metric": "enrichment", "seen": "x"}]
    ),
    "validations missing": lambda s: s.pop("validations"),
}.items():
    _checkpoint(
        f"state_damaged_{_name}", f"a damaged checkpoint: {_name}", "history afresh", _alter
    )
_checkpoint(
    "state_other_probe",
    "a checkpoint of another probe",
    "of another probe",
    lambda _: None,
    probe=probe(seed=9),
)
_checkpoint(
    "state_other_layer",
    "a checkpoint of another model: the maps are of another layer",
    "history is of layers",
    lambda s: s["probes"]["val"].update(layers=["backbone.9"]),
)
_checkpoint(
    "state_other_size",
    "a checkpoint of another model: the maps are of another size",
    "history afresh",
    lambda s: [
        snapshot.update(maps=[[m, n, F.interpolate(x[None], scale_factor=2)[0]] for m, n, x in old])
        for snapshot in _snapshots(s)
        for old in [snapshot["maps"]]
    ],
)


def _snapshots(state: dict[str, Any]) -> list[dict[str, Any]]:
    history = state["probes"]["val"]["history"]
    return [*history["kept"], *(history[k] for k in ("first", "previous", "best"))]


# --- running -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a training with a fault gave.

    Attributes:
        warnings: of the callback.
        state: weights and momenta at the end.
        epochs: trained.
        halves: files that are not whole.
        ended: the exception that got out.
        hooks: left on the network.
    """

    warnings: list[str]
    state: list[Tensor]
    epochs: int
    halves: list[str]
    ended: BaseException | None
    hooks: int


def preserve_model_state(folder: Path) -> list[list[Tensor]]:
    """Return weights and momenta after each epoch of a training without the callback."""
    weights = Weights()
    trained(folder, Net(), weights)
    return weights.after


def injected(name: str, folder: Path, *, strict: bool = False) -> Outcome:
    """Run a training with a fault in it."""
    options = {"probe": probe(), "num_pictures": 2, "interventions_every": 1, "alerts": ()}
    scene = Scene(folder, {**options, "panels": ("overlay", "timeline"), "strict": strict})
    FAULTS[name].arrange(scene)
    resume = _resumable(scene) if scene.alter else None
    ended, module = None, scene.module()
    trainers: list[pl.Trainer] = []

    class Witness(pl.Callback):
        def setup(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
            trainers.append(trainer)

    with warnings.catch_warnings(record=True) as caught, contextlib.ExitStack() as stack:
        warnings.simplefilter("always")
        for context in scene.around:
            stack.enter_context(context)
        others = scene.settings.pop("callbacks", [])
        try:
            callback = CAMCallback(**{**scene.options, **scene.resumed})
            trained(folder, module, Witness(), callback, *others, resume=resume, **scene.settings)
        except BaseException as error:  # noqa: BLE001 - that is what is looked at
            ended = error
    if not trainers and ended is not None:
        raise ended
    trainer = trainers[0]
    return Outcome(
        warnings=[str(w.message) for w in caught if "CAMCallback" in str(w.message)],
        state=state_of(trainer),
        epochs=trainer.global_step // 4,
        halves=_halves(folder),
        ended=ended,
        hooks=sum(len(m._forward_hooks) for m in module.modules()),  # noqa: SLF001
    )


def _resumable(scene: Scene) -> Path:
    """Train one epoch, and alter what the callback wrote into the checkpoint."""
    saver = ModelCheckpoint(scene.folder / "saved", save_last=True, save_top_k=0)
    options = {**scene.options, "report": False}
    trained(scene.folder, Net(), CAMCallback(**options), saver, epochs=1, enable_checkpointing=True)
    path = scene.folder / "saved" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    (key,) = [key for key in content["callbacks"] if "CAMCallback" in key]
    assert scene.alter is not None
    scene.alter(content["callbacks"][key])
    torch.save(content, path)
    return path


def _halves(folder: Path) -> list[str]:
    """Return files that were begun and not finished."""
    found = []
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        whole = True
        if path.name.endswith(".part"):
            whole = False
        elif path.suffix == ".png":
            whole = path.read_bytes().endswith(b"IEND\xaeB`\x82")
        elif path.suffix == ".jsonl":
            whole = all(json.loads(line) for line in path.read_text().split("\n")[:-1])
            whole &= path.read_bytes()[-1:] in (b"", b"\n")
        elif path.suffix == ".html":
            whole = path.read_text().rstrip().endswith("</html>")
        found += [] if whole else [path.name]
    return found


def same(state: list[Tensor], other: list[Tensor]) -> bool:
    return len(state) == len(other) and all(map(torch.equal, state, other))


def rows() -> list[dict[str, Any]]:
    """Run all faults and return the table."""
    found = []
    with tempfile.TemporaryDirectory() as home:
        reference = preserve_model_state(Path(home))
        for name, each in FAULTS.items():
            folder = Path(home) / name.replace(" ", "-")
            folder.mkdir()
            outcome = injected(name, folder)
            seen = [words.replace(str(folder), "<run>") for words in outcome.warnings]
            if outcome.ended is not None:
                seen.append(f"{type(outcome.ended).__name__}, as without the callback")
            row = {
                "fault": name,
                "injected": each.injected,
                "seen": seen,
                "epochs": outcome.epochs,
                "weights_equal": same(outcome.state, reference[outcome.epochs - 1]),
                "files_whole": not outcome.halves,
            }
            found.append(row)
            print(f"{name:<40} {row['weights_equal']!s:<6} {len(outcome.warnings)} warnings")
    return found


def as_markdown(table: list[dict[str, Any]]) -> str:
    lines = ["| Injected | What the user sees | Weights equal |", "| --- | --- | --- |"]
    for row in table:
        seen = "; ".join(row["seen"]).replace("|", "\\|").replace("\n", " ") or "no warning"
        seen = seen.replace(", training goes on", "").replace(" (strict=True raises)", "")
        equal = "yes" if row["weights_equal"] and row["files_whole"] else "NO"
        lines.append(f"| {row['injected']} | {seen} | {equal} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the table there")
    parser.add_argument("--markdown", type=Path, help="write the table for people there")
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    table = rows()
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(as_markdown(table))
    bad = [row["fault"] for row in table if not (row["weights_equal"] and row["files_whole"])]
    print(f"{len(table)} faults, {len(bad)} that training noticed {bad or ''}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
