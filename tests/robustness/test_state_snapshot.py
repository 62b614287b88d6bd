"""For each item of `StateRecorder` there is a callback that changes it, and that is noticed."""

import os
import random
import threading

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from helpers.training import QUIET
from lightning.pytorch.callbacks import EarlyStopping
from robustness.non_interference.bitwise import count_values, differences, snapshot
from robustness.non_interference.comparison import SMALL, differing_items, train
from robustness.non_interference.configurations import Configuration
from robustness.non_interference.process_state import counting_backend
from robustness.non_interference.state_snapshot import ITEMS, UserMetricsLogger
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

pytestmark = QUIET

PLAIN = Configuration(
    "plain",
    after=lambda: [EarlyStopping("accuracy", mode="max", patience=99)],
    trainer={"max_epochs": 1},
)


# --- copies and their differences ----------------------------------------------------------------


def test_a_snapshot_is_not_changed_by_later_writes():
    state = {"weights": torch.ones(2), "numbers": [1, np.zeros(2)]}
    copy = snapshot(state)
    state["weights"].mul_(2)
    state["numbers"][1][0] = 5
    assert copy["weights"].tolist() == [1, 1]
    assert copy["numbers"][1].tolist() == [0, 0]
    assert count_values(copy) == 5


@pytest.mark.parametrize(
    ("first", "second", "places"),
    [
        (torch.tensor([0.0]), torch.tensor([-0.0]), [""]),
        (torch.ones(1), torch.ones(1, dtype=torch.double), [""]),
        (torch.tensor([float("nan")]), torch.tensor([float("nan")]), []),
        (float("nan"), float("nan"), []),
        (1, 1.0, [""]),
        ({"a": [1, 2]}, {"a": [1, 3]}, [".a[1]"]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, [""]),
        ([1], [1, 2], [""]),
    ],
    ids=["sign", "dtype", "nan", "float nan", "type", "nested", "order", "length"],
)
def test_differences_are_of_bits_types_and_order(first, second, places):
    assert differences(first, second) == places


# --- one callback per item that changes it -------------------------------------------------------


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


def sets_training_mode(_, module):
    module.drop.training = True


def leaves_a_hook(_, module):
    module.first.register_forward_hook(lambda *_: None)


def leaves_a_global_hook(*_):
    return register_module_forward_hook(lambda *_: None).remove


def replaces_checkpoint_function(*_):
    home, kept = torch.utils.checkpoint, torch.utils.checkpoint.CheckpointFunction
    home.CheckpointFunction = StateChange
    return lambda: setattr(home, "CheckpointFunction", kept)


def leaves_an_attribute(_, module):
    module.second.left = 1


def changes_weight_decay(trainer, _):
    trainer.optimizers[0].param_groups[0]["weight_decay"] *= 1.1


def moves_the_schedule(trainer, _):
    trainer.lr_scheduler_configs[0].scheduler.last_epoch += 1


def changes_the_loss_scale(trainer, _):
    trainer.precision_plugin.state_dict = lambda: {"scale": 2.0}


def draws_from_python(*_):
    random.random()


def draws_from_numpy(*_):
    np.random.rand()  # noqa: NPY002


def draws_from_torch(*_):
    torch.rand(1)


def draws_from_cuda(*_):
    torch.rand(1, device="cuda")


def changes_the_images(trainer, _):
    trainer.train_dataloader.dataset.images.mul_(1.001)


def detects_anomalies(*_):
    torch.autograd.set_detect_anomaly(mode=True)
    return lambda: torch.autograd.set_detect_anomaly(mode=False)


def turns_cudnn_benchmark_on(*_):
    torch.backends.cudnn.benchmark = True
    return lambda: setattr(torch.backends.cudnn, "benchmark", False)


def turns_the_autocast_cache_off(*_):
    torch.set_autocast_cache_enabled(False)
    return lambda: torch.set_autocast_cache_enabled(True)


def stays_in_autocast(*_):
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting


def logs_for_the_user(trainer, _):
    (logger,) = (each for each in trainer.loggers if isinstance(each, UserMetricsLogger))
    logger.log_metrics({"loss": 0.0}, step=0)


def logs_another_metric(_, module):
    module.log("stray", 1.0)


def stops(trainer, _):
    trainer.should_stop = True


def changes_early_stopping(trainer, _):
    trainer.early_stopping_callbacks[0].wait_count += 5


def adds_to_checkpoints(_, module):
    module.on_save_checkpoint = lambda checkpoint: checkpoint.update(stray=1)


def compiles(*_):
    torch.compile(lambda x: x + 1, backend=counting_backend)(torch.ones(2))


def sets_an_environment_variable(*_):
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


CHANGES = {
    "parameters": [moves_weights],
    "parameter objects": [replaces_a_parameter],
    "buffers": [moves_batch_norm],
    "gradients": [backward],
    "requires_grad": [freezes],
    "training flags": [sets_training_mode],
    "module hooks": [leaves_a_hook],
    "global hooks": [leaves_a_global_hook, replaces_checkpoint_function],
    "modules": [leaves_an_attribute],
    "optimizers": [changes_weight_decay],
    "schedulers": [moves_the_schedule],
    "loss scale": [changes_the_loss_scale],
    "random (Python)": [draws_from_python],
    "random (NumPy)": [draws_from_numpy],
    "random (torch, CPU)": [draws_from_torch],
    "random (torch, CUDA)": [draws_from_cuda],
    "batches": [changes_the_images],
    "grad mode": [detects_anomalies],
    "settings": [turns_cudnn_benchmark_on],
    "autocast": [turns_the_autocast_cache_off, stays_in_autocast],
    "logged metrics": [logs_for_the_user],
    "callback metrics": [logs_another_metric],
    "progress": [stops],
    "other callbacks": [changes_early_stopping],
    "checkpoint": [adds_to_checkpoints],
    "compiled graphs": [compiles],
    "process": [sets_an_environment_variable],
    "threads": [leaves_a_thread],
}


class StateChange(pl.Callback):
    """Changes one item at the first validation of the training."""

    def __init__(self, act):
        self._act = act
        self.undo = None

    def on_validation_epoch_end(self, trainer, pl_module):
        if not trainer.sanity_checking and self._act is not None:
            self.undo = self._act(trainer, pl_module)
            self._act = None


def unmonitored(folder, *others):
    return train(PLAIN, folder, SMALL, *others, monitored=False).records


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return unmonitored(tmp_path_factory.mktemp("plain"))


def test_each_item_has_a_change():
    assert set(CHANGES) == set(ITEMS)


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
@pytest.mark.parametrize(
    ("item", "act"), [(item, act) for item, acts in CHANGES.items() for act in acts]
)
def test_a_change_of_an_item_is_noticed(tmp_path, plain, item, act):
    if "CUDA" in item and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    change = StateChange(act)
    try:
        found = differing_items(plain, unmonitored(tmp_path, change))
    finally:
        if change.undo is not None:
            change.undo()
    assert item in found, list(found)


def test_a_backward_pass_within_an_accumulation_window_changes_the_weights(tmp_path, plain):
    changed = unmonitored(tmp_path, StateChange(backward))
    assert "parameters" in differing_items(plain[-1:], changed[-1:])
