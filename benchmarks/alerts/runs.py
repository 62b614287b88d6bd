"""One training, and what the default monitor says of it, with masks and without them.

The weights of each epoch are kept and evaluated after the training. That is the same, since a
monitor does not change the training, and alerts are measured again without training again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.alerts.cues import plant
from benchmarks.alerts.networks import NETWORKS
from benchmarks.alerts.pasted import Splits, folder_splits, make_splits, normalized
from benchmarks.alerts.photographs import photographs, subclasses, waterbirds
from benchmarks.trainings import Classifier, quiet_trainer
from lightning_cam import CAMMonitor, Probe

BATCH = 64
MODES = ("masks", "blind")
SUBCLASSES = "subclasses"
_RATE, _STEADY_RATE, _PRETRAINED_RATE = 3e-3, 1e-3, 3e-4


@dataclass(frozen=True)
class Plan:
    """What one run is.

    Attributes:
        data: name of a recipe, a folder with masks, or a source of photographs.
        correlation: of the cue with the class; NaN for a folder, where it is not known.
        network: one of `NETWORKS`.
        seed: of data, weights and order.
        epochs: passes over the training images.
        train: number of training images; of photographs the number of each class.
        val: number of validation images; of photographs all are taken.
        steady: whether the learning rate is constant, as in long runs.
        classes: of photographs, which ones; `SUBCLASSES` for ten of each.
        cue: that is planted into photographs; empty for none.
        imbalance: share of the first class's training images that are kept.
        probe: number of images of the probe.
    """

    data: str
    correlation: float
    network: str
    seed: int
    epochs: int = 12
    train: int = 800
    val: int = 300
    steady: bool = False
    classes: tuple[int, ...] | str = ()
    cue: str = ""
    imbalance: float = 1.0
    probe: int = 32


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

    def first_alert(self, mode: str) -> int | None:
        """Return the epoch of the first confirmed alert; None where there is none."""
        epochs = [a["epoch"] for a in self.alerts.get(mode, []) if a["verdict"] == "confirmed"]
        return min(epochs, default=None)


class _Module(Classifier):
    def __init__(self, plan: Plan, classes: int) -> None:
        rate = _STEADY_RATE if plan.steady else _RATE
        rate = _PRETRAINED_RATE if plan.network == "pretrained" else rate
        super().__init__(NETWORKS[plan.network](classes), rate)
        self.plan = plan

    def configure_optimizers(self) -> Any:
        rate = self.learning_rate
        optimizer = torch.optim.AdamW(self.parameters(), lr=rate, weight_decay=0.05)
        if self.plan.steady:
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


class _Weights(Callback):
    """Keeps the weights after each epoch."""

    def __init__(self) -> None:
        self.of_epochs: list[dict[str, Tensor]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del trainer
        copies = {name: tensor.clone() for name, tensor in pl_module.state_dict().items()}
        self.of_epochs.append(copies)


def run(plan: Plan, weights: Path | None = None) -> Run:
    """Train as planned, and evaluate the weights of each epoch.

    Args:
        plan: what to train.
        weights: a folder where the weights of trainings are kept, and are found where they are
            there already.
    """
    splits, module, of_epochs = trained(plan, weights)
    module.load_state_dict(of_epochs[-1])
    scores = [_accuracy(module, part) for part in (splits.val, splits.shuffled)]
    found = Run(plan, scores[0], scores[1])
    for mode, monitor in monitors_of(plan, splits).items():
        found.metrics[mode] = []
        for epoch, state in enumerate(of_epochs):
            module.load_state_dict(state)
            metrics = monitor.evaluate(module, epoch=epoch).metrics
            found.metrics[mode].append({name: round(each, 5) for name, each in metrics.items()})
        found.alerts[mode] = [alert.as_dict() for alert in monitor.alerts]
    return found


def trained(
    plan: Plan, weights: Path | None = None
) -> tuple[Splits, LightningModule, list[dict[str, Tensor]]]:
    """Return the data, the network, and its weights after each epoch; see `run`."""
    splits = splits_of(plan)
    torch.manual_seed(plan.seed)
    module = _Module(plan, splits.classes)
    return splits, module, _weights_of_epochs(plan, module, splits, weights)


def _weights_of_epochs(
    plan: Plan, module: LightningModule, splits: Splits, folder: Path | None
) -> list[dict[str, Tensor]]:
    """Return the weights after each epoch, read from `folder` where they are there."""
    file = None if folder is None else folder / f"{_digest(plan)}.pt"
    if file is not None and file.exists():
        of_epochs: list[dict[str, Tensor]] = torch.load(file, weights_only=True)
        return of_epochs
    kept = _Weights()
    order = torch.Generator().manual_seed(plan.seed)
    with tempfile.TemporaryDirectory() as place:
        trainer = quiet_trainer(place, [kept], max_epochs=plan.epochs)
        size = min(BATCH, max(8, len(splits.train) // 25))
        train = DataLoader(splits.train, size, shuffle=True, drop_last=True, generator=order)
        trainer.fit(module, train)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(kept.of_epochs, file)
    return kept.of_epochs


def _digest(plan: Plan) -> str:
    """Return a name for the training of a plan: all that it depends on but the probe."""
    return hashlib.sha256(str(dataclasses.replace(plan, probe=0)).encode()).hexdigest()[:16]


def splits_of(plan: Plan, side: int = 32) -> Splits:
    """Return the data of a run."""
    path = Path(plan.data)
    if plan.classes:
        return _natural(plan, side)
    if (path / "metadata.csv").exists():
        parts = {
            part: TensorDataset(normalized(images.float() / 255), labels, masks)
            for part, (images, labels, masks) in waterbirds(path, 2 * side).items()
        }
        return Splits(**parts, classes=2)
    if path.is_dir():
        return folder_splits(path)
    return make_splits(plan.data, plan.correlation, plan.seed, plan.train, plan.val)


def _natural(plan: Plan, side: int) -> Splits:
    generator = torch.Generator().manual_seed(plan.seed)
    data = photographs(plan.data, side)
    parts, count = {}, 0
    for part in ("train", "val"):
        images, labels = data[part]
        labels = subclasses(plan.data, side)[part] if plan.classes == SUBCLASSES else labels
        labels, count = _renumbered(labels, plan.classes)
        order = torch.randperm(len(labels), generator=generator)
        kept = order[labels[order] >= 0]
        if part == "train":
            dropped = torch.rand(len(kept), generator=generator) > plan.imbalance
            kept = kept[~(dropped & (labels[kept] == 0))][: plan.train * count]
        parts[part] = images[kept].float() / 255, labels[kept]
    planted = {}
    for part, strength in (("train", plan.correlation), ("val", plan.correlation), ("shuffled", 0)):
        images, labels = parts["val" if part == "shuffled" else part]
        if plan.cue:
            seed = 2 * plan.seed + (part == "train")
            images = plant(images, labels, count, plan.cue, strength, seed)
        planted[part] = TensorDataset(normalized(images), labels)
    return Splits(**planted, classes=count)


def _renumbered(labels: Tensor, classes: tuple[int, ...] | str) -> tuple[Tensor, int]:
    if isinstance(classes, str):
        return labels, int(labels.max()) + 1
    found = torch.full_like(labels, -1)
    for n, label in enumerate(classes):
        found[labels == label] = n
    return found, len(classes)


def monitors_of(plan: Plan, splits: Splits) -> dict[str, CAMMonitor]:
    """Return monitors with default rules, for a probe with masks and one without."""
    probe = Probe.from_dataset(splits.val, plan.probe, seed=plan.seed)
    probes = {"masks": probe, "blind": Probe(probe.images, probe.targets, ids=probe.ids)}
    modes = MODES if len(splits.val[0]) > 2 else MODES[1:]
    return {mode: CAMMonitor(probes[mode], tag=mode, seed=plan.seed, draw=False) for mode in modes}


@torch.inference_mode()
def _accuracy(module: LightningModule, data: Any) -> float:
    module.eval()
    hits = [module(batch[0]).argmax(dim=1) == batch[1] for batch in DataLoader(data, 100)]
    return float(torch.cat(hits).float().mean())


def as_json(run_: Run) -> dict[str, Any]:
    """Return primitives."""
    return dataclasses.asdict(run_)


def from_json(data: dict[str, Any]) -> Run:
    """Return the run that `as_json` was given."""
    plan = dict(data["plan"])
    plan["classes"] = plan["classes"] if isinstance(plan["classes"], str) else (*plan["classes"],)
    return Run(**{**data, "plan": Plan(**plan)})
