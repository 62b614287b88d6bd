"""One training with the default callback on two probes: with masks, and without."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from benchmarks.shortcut.data import Splits, folder_splits, make_splits
from benchmarks.shortcut.networks import NETWORKS
from benchmarks.trainings import Classifier, quiet_trainer
from lightning_cam import CAMCallback, Probe

BATCH = 32
MODES = ("masks", "blind")


@dataclass(frozen=True)
class Plan:
    """What one run is.

    Attributes:
        data: name of a recipe, or a folder.
        correlation: of the cue with the class; NaN for a folder, where it is not known.
        network: one of `NETWORKS`.
        seed: of data, weights and order.
        epochs: passes over the training images.
        train: number of training images.
        val: number of validation images.
        steady: whether the learning rate is constant, as in long runs.
        every: argument `interventions_every` of the callback; None for its default.
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
    """The outcome of a run.

    Attributes:
        plan: what was run.
        accuracy: on validation images of the same kind as the training images.
        shuffled: on the same objects with uninformative cues.
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
        """Accuracy that is lost where the cue is uninformative: the truth of the run."""
        return self.accuracy - self.shuffled


class _Module(Classifier):
    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__(NETWORKS[plan.network](classes), 1e-3 if plan.steady else 3e-3)
        self.plan = plan

    def configure_optimizers(self) -> Any:
        rate = self.learning_rate
        optimizer = torch.optim.AdamW(self.parameters(), lr=rate, weight_decay=0.05)
        if self.plan.steady:
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


class _MetricsLog(Callback):
    def __init__(self) -> None:
        self.metrics: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del pl_module
        for mode, entries in self.metrics.items():
            entries.append(
                {
                    name.removeprefix(f"{mode}/"): round(float(value), 5)
                    for name, value in trainer.callback_metrics.items()
                    if name.startswith(f"{mode}/")
                }
            )


def run(plan: Plan) -> Run:
    """Train as planned."""
    splits = (
        folder_splits(Path(plan.data))
        if Path(plan.data).is_dir()
        else make_splits(plan.data, plan.correlation, plan.seed, plan.train, plan.val)
    )
    torch.manual_seed(plan.seed)
    module, log = _Module(plan, splits.classes), _MetricsLog()
    order = torch.Generator().manual_seed(plan.seed)
    with tempfile.TemporaryDirectory() as folder:
        trainer = quiet_trainer(folder, [*_callbacks(plan, splits), log], max_epochs=plan.epochs)
        train = DataLoader(splits.train, BATCH, shuffle=True, drop_last=True, generator=order)
        trainer.fit(module, train, DataLoader(splits.val, 100))
        alerts = _alerts_in(Path(folder))
    scores = [_accuracy(module, part) for part in (splits.val, splits.shuffled)]
    return Run(plan, scores[0], scores[1], log.metrics, alerts)


def _callbacks(plan: Plan, splits: Splits) -> list[CAMCallback]:
    """Return two callbacks with default rules, for a probe with masks and one without."""
    every = {} if plan.every is None else {"interventions_every": plan.every}
    masked = Probe.from_dataset(splits.val, seed=plan.seed)
    blind = Probe(masked.images, masked.targets, ids=masked.ids)
    return [
        CAMCallback(probe, tag=mode, num_pictures=0, seed=plan.seed, on_alert=(), **every)
        for mode, probe in zip(MODES, (masked, blind), strict=True)
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
    """Return the run that `as_json` was given."""
    return Run(**{**data, "plan": Plan(**data["plan"])})
