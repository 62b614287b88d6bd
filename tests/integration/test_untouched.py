"""The training run never notices: bit for bit the same with and without the callback."""

import random

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules import module as torch_module
from toys import QUIET, Squares, fit, loader, small

pytestmark = QUIET

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_load_state_dict_pre_hooks",
)
_GLOBAL_HOOKS = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
)


class Delicate(pl.LightningModule):
    """Dropout, BatchNorm, a frozen stem in evaluation mode, a stepping schedule, user metrics."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.stem.requires_grad_(requires_grad=False)
        self.first = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(8, 4)
        self.switched = 0
        self.stem.eval()  # Lightning keeps each submodule's flag

    def train(self, mode=True):
        super().train(mode)
        self.stem.eval()
        self.switched = getattr(self, "switched", 0) + 1
        return self

    def forward(self, images):
        features = self.second(self.first(self.stem(images)))
        return self.head(self.drop(features.mean(dim=(2, 3))))

    def training_step(self, batch, batch_idx):
        images, labels, _ = batch
        images = images + 0.01 * random.random() + 0.01 * float(np.random.rand())  # noqa: NPY002
        loss = F.cross_entropy(self(images), labels)
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        images, labels, _ = batch
        self.log("acc", (self(images).argmax(1) == labels).float().mean())
        self.log("noise", torch.rand(()))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=20)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class Notary(pl.Callback):
    """Certifies everything the callback has promised to leave alone."""

    def __init__(self):
        self.records = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.records.append({"batch": batch[0].clone(), **everything(trainer, pl_module)})

    def on_validation_end(self, trainer, pl_module):
        self.records.append(everything(trainer, pl_module))

    def on_train_end(self, trainer, pl_module):
        self.records.append(everything(trainer, pl_module))


def everything(trainer, module):
    """Return copies of all state that a training depends on."""
    user = {k: v.clone() for k, v in trainer.callback_metrics.items() if not k.startswith("cam/")}
    return {
        "parameters": {n: p.detach().clone() for n, p in module.named_parameters()},
        "buffers": {n: b.clone() for n, b in module.named_buffers()},
        "grads": {n: copied(p.grad) for n, p in module.named_parameters()},
        "requires_grad": {n: p.requires_grad for n, p in module.named_parameters()},
        "flags": {n: m.training for n, m in module.named_modules()},
        "hooks": {n: [len(getattr(m, h)) for h in _HOOKS] for n, m in module.named_modules()},
        "global hooks": [len(getattr(torch_module, name)) for name in _GLOBAL_HOOKS],
        "switched": module.switched,
        "optimizers": [copied(o.state_dict()) for o in trainer.optimizers],
        "schedulers": [copied(c.scheduler.state_dict()) for c in trainer.lr_scheduler_configs],
        "python rng": random.getstate(),
        "numpy rng": [copied(part) for part in np.random.get_state()],  # noqa: NPY002
        "torch rng": torch.get_rng_state(),
        "modes": [torch.is_grad_enabled(), torch.is_inference_mode_enabled()],
        "dtype": torch.get_default_dtype(),
        "metrics": user,
        "step": trainer.global_step,
    }


def copied(value):
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return torch.as_tensor(value.copy() if isinstance(value, np.ndarray) else value).clone()
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [copied(each) for each in value]
    return value


def differences(ours, theirs, path=""):
    """Return the paths at which two records differ by a single bit."""
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        return [] if same_bits(ours, theirs) else [path]
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        pairs = [(ours[key], theirs[key], f"{path}.{key}") for key in ours]
    elif isinstance(ours, (list, tuple)) and len(ours) == len(theirs):
        pairs = [(a, b, f"{path}[{i}]") for i, (a, b) in enumerate(zip(ours, theirs, strict=True))]
    else:
        return [] if type(ours) is type(theirs) and ours == theirs else [path]
    return [found for pair in pairs for found in differences(*pair)]


def same_bits(ours, theirs):
    if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
        return False
    return torch.equal(bits(ours), bits(theirs))


def bits(tensor):
    return tensor.detach().contiguous().view(-1).view(torch.uint8)


def records_of(folder, *callbacks):
    """Train with validations in the middle of half-filled accumulation windows."""
    pl.seed_everything(7, verbose=False)
    notary = Notary()
    fit(
        folder,
        *callbacks,
        notary,
        module=Delicate(),
        train=loader(Squares(14), batch_size=2, shuffle=True),
        val=loader(Squares(8, seed=1)),
        max_epochs=2,
        accumulate_grad_batches=4,
        val_check_interval=2,
    )
    return notary.records


@pytest.fixture(scope="module")
def undisturbed_records(tmp_path_factory):
    return records_of(tmp_path_factory.mktemp("plain"))


def test_the_undisturbed_run_is_worth_comparing(tmp_path, undisturbed_records):
    half_filled = [record for record in undisturbed_records if has_gradients(record)]
    assert len(half_filled) > 4
    assert len({record["step"] for record in undisturbed_records}) > 2
    training = [record["flags"] for record in undisturbed_records if "batch" in record]
    assert all(flags["first"] and not flags["stem"] for flags in training)
    assert differences(undisturbed_records, records_of(tmp_path)) == []  # repeatable by itself


def has_gradients(record):
    return any(grad is not None and bool(grad.any()) for grad in record["grads"].values())


@pytest.mark.parametrize(
    "source",
    [{}, {"probe": "train"}, {"probe": {"train": "train", "val": "val"}}],
    ids=["val", "train", "both"],
)
def test_training_is_the_same_bit_for_bit(tmp_path, undisturbed_records, source):
    callback = small(method=["gradcam", "layercam"], layers=["first", "second"], **source)
    watched = records_of(tmp_path, callback)
    assert all(probe.masks is not None for probe in callback.probes.values())
    assert callback.state_dict()["validations"] == 6
    assert differences(undisturbed_records, watched) == []


class Backward(pl.Callback):
    def on_validation_epoch_end(self, trainer, pl_module):
        with torch.enable_grad():
            pl_module(torch.rand(2, 3, 16, 16, generator=torch.Generator())).sum().backward()


class DrawsRandomNumbers(pl.Callback):
    def on_validation_epoch_end(self, trainer, pl_module):
        torch.rand(1)


class DrawsPythonsRandomNumbers(pl.Callback):
    def on_validation_epoch_end(self, trainer, pl_module):
        random.random()


class FlipsAFlag(pl.Callback):
    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.drop.training = True


class LeavesAHook(pl.Callback):
    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.first.register_forward_hook(lambda *_: None)


class MovesBatchNorm(pl.Callback):
    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.first[1].running_mean.add_(1e-7)


class Unfreezes(pl.Callback):
    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.stem.requires_grad_()


@pytest.mark.parametrize(
    ("saboteur", "noticed"),
    [
        (Backward, "grads"),
        (DrawsRandomNumbers, "torch rng"),
        (DrawsPythonsRandomNumbers, "python rng"),
        (FlipsAFlag, "flags"),
        (LeavesAHook, "hooks"),
        (MovesBatchNorm, "buffers"),
        (Unfreezes, "requires_grad"),
    ],
)
def test_the_comparison_notices_who_breaks_the_promise(
    tmp_path, undisturbed_records, saboteur, noticed
):
    found = differences(undisturbed_records, records_of(tmp_path, saboteur()))
    assert any(f".{noticed}" in path for path in found), found[:10]


def test_a_mid_window_backward_would_change_the_trained_weights(tmp_path, undisturbed_records):
    spoiled = records_of(tmp_path, Backward())
    ours, theirs = undisturbed_records[-1]["parameters"], spoiled[-1]["parameters"]
    assert differences(ours, theirs)
