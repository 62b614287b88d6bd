"""Two trainings of a network: one learns a shortcut, and the callback finds it.

Run it with ``make demo`` or ``python examples/demo.py``. See ``digits.py`` for the data.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from digits import DigitsModule, Sample, make_loaders
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from lightning_cam import CAMCallback

EPOCHS = 10
RUNS = {"shortcut": 0.95, "balanced": 0.0}

Alert = dict[str, Any]  # a line of alerts.jsonl


class Result(NamedTuple):
    """The results of one training.

    Attributes:
        name: of the run.
        accuracy: on the validation images.
        shuffled_accuracy: on the same digits, each in front of a random background.
        enrichment: the callback's metric after every epoch.
        alerts: raised by the callback.
        folder: of the event file.
    """

    name: str
    accuracy: float
    shuffled_accuracy: float
    enrichment: tuple[float, ...]
    alerts: tuple[Alert, ...]
    folder: Path


class MetricsPrinter(Callback):
    """Keeps and prints the metric of the callback at each validation."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.enrichment: list[float] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the metrics of this validation: here they are complete."""
        metrics = trainer.callback_metrics
        self.enrichment.append(float(metrics["cam/enrichment"]))
        pl_module.print(  # above the progress bar, where there is one
            f"{self.name}  epoch {trainer.current_epoch}/{(trainer.max_epochs or 1) - 1}"
            f"  accuracy {float(metrics['val_acc']):4.0%}"
            f"  cam/enrichment {self.enrichment[-1]:.2f}"
        )


def run(name: str, correlation: float, seed: int, out: Path, epochs: int = EPOCHS) -> Result:
    """Train once and write an event file into ``out/name``, in place of an earlier one.

    Args:
        name: of the run and of its folder.
        correlation: probability that the background is the class's own, see ``digits.py``.
        seed: of data, weights and order.
        out: folder of all runs.
        epochs: passes over the training images.
    """
    folder = out / name
    stale = ("events.out.tfevents.*", "hparams.yaml", "alerts.jsonl", "report.html")
    for pattern in (*stale, "lightning_cam/*.jsonl", "checkpoints/*.ckpt"):
        for file in folder.glob(pattern):
            file.unlink()
    torch.manual_seed(seed)
    loaders = make_loaders(correlation, seed)
    module = DigitsModule()
    printer = MetricsPrinter(name)
    # For `lightning-cam replay`, one of every validation; some hundred kilobytes each.
    checkpoints = ModelCheckpoint(folder / "checkpoints", save_top_k=-1)
    trainer = Trainer(
        callbacks=[CAMCallback(), printer, checkpoints],  # CAMCallback: nothing to configure
        logger=TensorBoardLogger(out, name="", version=name),
        max_epochs=epochs,
        accelerator="cpu",  # the network is small, and the numbers are the same on every machine
        num_sanity_val_steps=0,
        log_every_n_steps=len(loaders.train),
        enable_model_summary=False,
        enable_progress_bar=sys.stdout.isatty(),
    )
    trainer.fit(module, loaders.train, loaders.val)
    return Result(
        name,
        accuracy(module, loaders.val),
        accuracy(module, loaders.shuffled),
        tuple(printer.enrichment),
        alerts_in(folder),
        folder,
    )


def alerts_in(folder: Path) -> tuple[Alert, ...]:
    """Return the alerts of a run, in order."""
    file = folder / "alerts.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return tuple(json.loads(line) for line in lines)


@torch.inference_mode()
def accuracy(module: DigitsModule, loader: DataLoader[Sample]) -> float:
    """Return the share of a loader's images that are classified as labelled."""
    module.eval()
    correct = [module(images).argmax(dim=1) == labels for images, labels, _ in loader]
    return float(torch.cat(correct).float().mean())


def first_confirmed(result: Result) -> str:
    """Return the epoch of the first alert that interventions confirmed, as text."""
    confirmed = [alert for alert in result.alerts if alert["verdict"] == "confirmed"]
    return f"confirmed at epoch {confirmed[0]['epoch']}" if confirmed else "none"


def table(results: list[Result]) -> str:
    """Return a table of both runs, and an explanation of each column."""
    shown = list(dict.fromkeys((0, 2, 4, len(results[0].enrichment) - 1)))
    shown = [epoch for epoch in shown if epoch < len(results[0].enrichment)]
    epochs = "".join(f"{f'epoch {epoch}':>9}" for epoch in shown)
    columns = f"{'':10}{'accuracy':>9}{'shuffled':>10}   enrichment:{epochs}   alert"
    lines = [columns]
    for result in results:
        path = "".join(f"{result.enrichment[epoch]:9.2f}" for epoch in shown)
        lines.append(
            f"{result.name:10}{result.accuracy:9.0%}{result.shuffled_accuracy:10.0%}   "
            f"{'':11}{path}   {first_confirmed(result)}"
        )
    return "\n".join(
        [
            *lines,
            "",
            "accuracy    on validation images made like the training images.",
            "shuffled    the same digits, each on a random background: a shortcut is of no use.",
            "enrichment  attention on the digit, relative to its area: 1 is spread evenly,",
            "            above 1 attention is on the digit, below 1 off the digit.",
            "alert       attention is off the digit, or the model relies on something else;",
            "            confirmed where exchanging that between images changes the answers.",
        ]
    )


def quiet() -> None:
    """Hide Lightning's tips and list of devices, but no warning and no line of the callback."""

    def wanted(record: logging.LogRecord) -> bool:
        ours = record.getMessage().startswith("lightning_cam")
        return ours or record.levelno >= logging.WARNING

    # Of Lightning's two packages the one imported last prints for both.
    for package in ("lightning.pytorch", "pytorch_lightning"):
        for handler in logging.getLogger(package).handlers:
            handler.addFilter(wanted)
    # The images are in memory: workers would only cost time.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # Lightning's own use of an older torch name.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")


def main() -> None:
    """Train both runs and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=0, help="of data, weights and order")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of the runs")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="passes over the data")
    options = parser.parse_args()
    if options.epochs < 1:
        parser.error(f"expected --epochs of 1 or more, got {options.epochs}")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # one line per epoch, in a pipe too
    quiet()
    start = time.perf_counter()
    results = [
        run(name, correlation, options.seed, options.out, options.epochs)
        for name, correlation in RUNS.items()
    ]
    beside = Path(sys.executable).with_name("tensorboard")
    tensorboard = str(beside) if beside.exists() else "tensorboard"
    print(f"\nTwo trainings in {time.perf_counter() - start:.0f} s.\n")
    print(table(results))
    print("\nwritten to  " + ", ".join(str(result.folder) for result in results))
    print(f"see it      {tensorboard} --logdir {options.out} --samples_per_plugin images=500")


if __name__ == "__main__":
    main()
