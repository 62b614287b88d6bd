"""The training run never notices: bit for bit the same with and without the callback.

The same comparison as `python -m benchmarks.interference`, with a smaller callback.
"""

import os
import random
import sys
import threading
from dataclasses import replace
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from helpers.training import QUIET

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.interference.compare import QUICK, compare, differing_items, train
from benchmarks.interference.configurations import TABLE, Configuration
from benchmarks.interference.witness import ITEMS, Book, counting_backend

pytestmark = QUIET

QUICKLY = [each for each in TABLE if not each.patient]


@pytest.mark.parametrize("configuration", QUICKLY, ids=lambda each: each.name.replace(" ", "-"))
def test_training_is_the_same_bit_for_bit(tmp_path, configuration):
    if configuration.lacking:
        pytest.skip(configuration.lacking)
    found = compare(configuration, tmp_path, QUICK)
    assert found.identical, found.trouble or found.differing


def patience():
    return [EarlyStopping("accuracy", mode="max", patience=99)]


PLAIN = Configuration("plain", after=patience, trainer={"max_epochs": 1})


@pytest.fixture(scope="module")
def preserve_model_state(tmp_path_factory):
    return plain(tmp_path_factory.mktemp("plain"))


def plain(folder, *others):
    return train(PLAIN, folder, QUICK, *others, watched=False).records


def test_the_undisturbed_run_is_worth_comparing(tmp_path, preserve_model_state):
    half_filled = [at for moment, at in preserve_model_state if moment == "validation ends" and filled(at)]
    assert len(half_filled) == 1
    weights = [at["parameters"]["head.weight"] for _, at in preserve_model_state]
    assert not torch.equal(weights[0], weights[-1])
    assert {at["training flags"]["drop"] for _, at in preserve_model_state} == {True, False}
    assert any(at["logged metrics"] for _, at in preserve_model_state)
    assert preserve_model_state[-2][1]["checkpoint"]["state_dict"]
    assert differing_items(preserve_model_state, plain(tmp_path)) == {}  # repeatable


def filled(record):
    return any(grad is not None and bool(grad.any()) for grad in record["gradients"].values())


@pytest.mark.parametrize("probe", ["train", {"train": "train", "val": "val"}], ids=["one", "two"])
def test_wherever_the_probe_comes_from(tmp_path, preserve_model_state, probe):
    chosen = {"probe": probe, "alerts": (), "estimate_masks": True}
    watched = train(replace(PLAIN, callback=chosen), tmp_path, QUICK)
    assert watched.looks == (1 if probe == "train" else 2)
    assert not watched.skipped
    assert differing_items(preserve_model_state, watched.records) == {}


# --- each compared item has a saboteur that the comparison notices -------------------------------


def backward(_, module):
    with torch.enable_grad():
        module.head.weight.sum().backward()


def moves_weights(_, module):
    module.head.weight.data.mul_(1.0001)


def replaces_a_parameter(_, module):
    module.head.bias = nn.Parameter(module.head.bias.detach().clone())


def moves_batch_norm(_, module):
    module.first[1].running_mean.add_(1e-7)


def freezes(_, module):
    module.first[0].bias.requires_grad_(requires_grad=False)


def flips_a_flag(_, module):
    module.drop.training = True


def leaves_a_hook(_, module):
    module.first.register_forward_hook(lambda *_: None)


def leaves_a_global_hook(*_):
    return register_module_forward_hook(lambda *_: None).remove


def leaves_checkpoints_off(*_):
    home, kept = torch.utils.checkpoint, torch.utils.checkpoint.CheckpointFunction
    home.CheckpointFunction = Saboteur
    return lambda: setattr(home, "CheckpointFunction", kept)


def leaves_an_attribute(_, module):
    module.second.left = 1


def changes_the_rate(trainer, _):
    trainer.optimizers[0].param_groups[0]["weight_decay"] *= 1.1


def moves_the_schedule(trainer, _):
    trainer.lr_scheduler_configs[0].scheduler.last_epoch += 1


def changes_the_scale(trainer, _):
    trainer.precision_plugin.state_dict = lambda: {"scale": 2.0}


def draws_pythons_numbers(*_):
    random.random()


def draws_numpys_numbers(*_):
    np.random.rand()  # noqa: NPY002


def draws_torchs_numbers(*_):
    torch.rand(1)


def draws_the_devices_numbers(*_):
    torch.rand(1, device="cuda")


def changes_the_data(trainer, _):
    trainer.train_dataloader.dataset.images.mul_(1.001)


def detects_anomalies(*_):
    torch.autograd.set_detect_anomaly(mode=True)
    return lambda: torch.autograd.set_detect_anomaly(mode=False)


def turns_benchmarking_on(*_):
    torch.backends.cudnn.benchmark = True
    return lambda: setattr(torch.backends.cudnn, "benchmark", False)


def turns_the_cache_off(*_):
    torch.set_autocast_cache_enabled(False)
    return lambda: torch.set_autocast_cache_enabled(True)


def stays_in_autocast(*_):
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting


def logs_for_the_user(trainer, _):
    (book,) = (logger for logger in trainer.loggers if isinstance(logger, Book))
    book.log_metrics({"loss": 0.0}, step=0)


def makes_a_metric_up(_, module):
    module.log("stray", 1.0)


def stops(trainer, _):
    trainer.should_stop = True


def makes_others_wait(trainer, _):
    trainer.early_stopping_callbacks[0].wait_count += 5


def adds_to_checkpoints(_, module):
    module.on_save_checkpoint = lambda checkpoint: checkpoint.update(stray=1)


def compiles(*_):
    torch.compile(lambda x: x + 1, backend=counting_backend)(torch.ones(2))


def sets_a_variable(*_):
    os.environ["LEFT_BEHIND"] = "1"
    return lambda: os.environ.pop("LEFT_BEHIND")


def leaves_a_thread(*_):
    over = threading.Event()
    thread = threading.Thread(target=over.wait, daemon=True)
    thread.start()

    def undo():
        over.set()
        thread.join()

    return undo


SABOTEURS = {
    "parameters": [moves_weights],
    "parameter objects": [replaces_a_parameter],
    "buffers": [moves_batch_norm],
    "gradients": [backward],
    "requires_grad": [freezes],
    "training flags": [flips_a_flag],
    "module hooks": [leaves_a_hook],
    "global hooks": [leaves_a_global_hook, leaves_checkpoints_off],
    "modules": [leaves_an_attribute],
    "optimizers": [changes_the_rate],
    "schedulers": [moves_the_schedule],
    "loss scale": [changes_the_scale],
    "random (Python)": [draws_pythons_numbers],
    "random (NumPy)": [draws_numpys_numbers],
    "random (torch, CPU)": [draws_torchs_numbers],
    "random (torch, CUDA)": [draws_the_devices_numbers],
    "data": [changes_the_data],
    "grad mode": [detects_anomalies],
    "settings": [turns_benchmarking_on],
    "autocast": [turns_the_cache_off, stays_in_autocast],
    "logged metrics": [logs_for_the_user],
    "known metrics": [makes_a_metric_up],
    "progress": [stops],
    "other callbacks": [makes_others_wait],
    "checkpoint": [adds_to_checkpoints],
    "compiled graphs": [compiles],
    "process": [sets_a_variable],
    "threads": [leaves_a_thread],
}


class Saboteur(pl.Callback):
    """Breaks one promise at the first validation of the training."""

    def __init__(self, act):
        self._act = act
        self.undo = None

    def on_validation_epoch_end(self, trainer, pl_module):
        if not trainer.sanity_checking and self._act is not None:
            self.undo = self._act(trainer, pl_module)
            self._act = None


def test_each_compared_item_has_a_saboteur():
    assert set(SABOTEURS) == set(ITEMS)


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
@pytest.mark.parametrize(
    ("item", "act"), [(item, act) for item, acts in SABOTEURS.items() for act in acts]
)
def test_the_comparison_notices_who_breaks_the_promise(tmp_path, preserve_model_state, item, act):
    if "CUDA" in item and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    saboteur = Saboteur(act)
    try:
        found = differing_items(preserve_model_state, plain(tmp_path, saboteur))
    finally:
        if saboteur.undo is not None:
            saboteur.undo()
    assert item in found, list(found)


def test_a_backward_in_a_half_filled_window_would_change_the_trained_weights(tmp_path, preserve_model_state):
    spoiled = plain(tmp_path, Saboteur(backward))
    assert "parameters" in differing_items(preserve_model_state[-1:], spoiled[-1:])
