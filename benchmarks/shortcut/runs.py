"""One training with the default callback, twice: with what masks tell, and without."""

from __future__ import annotations

import dataclasses
import json
import logging
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from benchmarks.shortcut.data import Splits, folder_splits, make_splits
from benchmarks.shortcut.networks import NETWORKS
from lightning_cam import CAMCallback, Probe

BATCH = 32
MODES = ("masks", "blind")


@dataclass(frozen=True)
class Plan:
    """One run.

    Attributes:
        data: a recipe's name, or a folder.
        correlation: of the cue with the class; NaN for a folder, where it is not known.
        network: one of `NETWORKS`.
        seed: of data, weights and order.
        epochs: passes over the training images.
        train: training images.
        val: validation images.
        steady: whether the learning rate stays, as in a run that is to be watched for long.
        every: at every n-th look interventions are made; None for the callback's default.
    """

    data: str
    correlation: float
    network: str
    seed: int
    epochs: int = 12
    train: int = 800
    val: int = 300
    steady: bool = False
    every: int | None = None


@dataclass
class Run:
    """What a run gave.

    Attributes:
        plan: what was run.
        accuracy: on validation images made like the training images.
        shuffled: on the same objects where the cue tells nothing.
        metrics: by mode, for each validation the callback's metrics without their tag.
        alerts: by mode, the lines of `alerts.jsonl`.
    """

    plan: Plan
    accuracy: float
    shuffled: float
    metrics: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    alerts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """Accuracy that is lost where the cue tells nothing: the truth of the run."""
        return self.accuracy - self.shuffled


class _Module(LightningModule):
    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__()
        self.plan = plan
        self.net = NETWORKS[plan.network](classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def training_step(self, batch: Any) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any) -> None:
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        rate = 1e-3 if self.plan.steady else 3e-3
        optimizer = torch.optim.AdamW(self.parameters(), lr=rate, weight_decay=0.05)
        if self.plan.steady:
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


class _Notes(Callback):
    def __init__(self) -> None:
        self.metrics: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del pl_module
        for mode, entries in self.metrics.items():
            now = {
                name.removeprefix(f"{mode}/"): round(float(value), 5)
                for name, value in trainer.callback_metrics.items()
                if name.startswith(f"{mode}/")
            }
            entries.append(now)


def run(plan: Plan) -> Run:
    """Train as planned, quietly."""
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    is_folder = Path(plan.data).is_dir()
    splits = (
        folder_splits(Path(plan.data))
        if is_folder
        else make_splits(plan.data, plan.correlation, plan.seed, plan.train, plan.val)
    )
    torch.manual_seed(plan.seed)
    module, notes = _Module(plan, splits.classes), _Notes()
    order = torch.Generator().manual_seed(plan.seed)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            callbacks=[*_callbacks(plan, splits), notes],
            max_epochs=plan.epochs,
            accelerator="cpu",
            logger=False,
            default_root_dir=folder,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        train = DataLoader(splits.train, BATCH, shuffle=True, drop_last=True, generator=order)
        trainer.fit(module, train, DataLoader(splits.val, 100))
        alerts = _alerts_in(Path(folder))
    scores = [_accuracy(module, part) for part in (splits.val, splits.shuffled)]
    return Run(plan, scores[0], scores[1], notes.metrics, alerts)


def _callbacks(plan: Plan, splits: Splits) -> list[CAMCallback]:
    """Return the default callback, and one that differs only in a probe without masks."""
    every = {} if plan.every is None else {"interventions_every": plan.every}
    known = Probe.from_dataset(splits.val, seed=plan.seed)
    blind = Probe(known.images, known.targets, ids=known.ids)
    return [
        CAMCallback(probe, tag=mode, num_pictures=0, seed=plan.seed, on_alert=(), **every)
        for mode, probe in zip(MODES, (known, blind), strict=True)
    ]


def _alerts_in(folder: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES}
    for file in folder.rglob("alerts.jsonl"):
        for line in file.read_text().splitlines():
            alert = json.loads(line)
            found[alert["probe"]].append(alert)
    return found


@torch.inference_mode()
def _accuracy(module: LightningModule, data: Any) -> float:
    module.eval()
    hits = [module(x).argmax(dim=1) == y for x, y, _ in DataLoader(data, 100)]
    return float(torch.cat(hits).float().mean())


def as_json(run_: Run) -> dict[str, Any]:
    """Return primitives."""
    return dataclasses.asdict(run_)


def from_json(data: dict[str, Any]) -> Run:
    """Take back what `as_json` gave."""
    return Run(**{**data, "plan": Plan(**data["plan"])})
