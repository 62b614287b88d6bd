"""Modules whose weights, attributes or calls are not as usual: the training stays bit for bit."""

import copy

import pytest
import torch
from helpers.training import (
    QUIET,
    MetricsLog,
    Module,
    convnet,
    fit,
    small,
    squares_probe,
)
from lightning.pytorch import Callback
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

pytestmark = [
    *QUIET,
    pytest.mark.filterwarnings("ignore:.*torch.jit.script.*is deprecated"),
    pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated"),
    pytest.mark.filterwarnings("ignore:.*spectral_norm.*is deprecated"),
    pytest.mark.filterwarnings("ignore:Lazy modules are a new feature"),
    # Lightning's own sentence about the summary of lazy modules
    pytest.mark.filterwarnings("ignore:The total number of parameters detected may be inaccurate"),
]


def scripted_part():
    net = convnet()
    net[0] = torch.jit.script(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)))
    return net


def scripted_body():
    body = torch.jit.script(nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU()))
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4))


def batch_statistics():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8, track_running_stats=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
        nn.BatchNorm1d(4, track_running_stats=False),
    )


def with_weight_norm():
    net = convnet()
    nn.utils.weight_norm(net[2])
    return net


def with_spectral_norm():
    net = convnet()
    nn.utils.spectral_norm(net[2])
    return net


def pruned():
    net = convnet()
    prune.l1_unstructured(net[2], "weight", 0.3)
    return net


def lazy():
    return nn.Sequential(
        nn.LazyConv2d(8, 3),
        nn.ReLU(),
        nn.LazyConv2d(12, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LazyLinear(4),
    )


NETS = [
    scripted_part,
    scripted_body,
    batch_statistics,
    with_weight_norm,
    with_spectral_norm,
    pruned,
    lazy,
]


def trained(folder, net, *callbacks, **kwargs):
    """Return the state of a module after a training, and the trainer."""
    torch.manual_seed(3)
    module = Module(net())
    torch.manual_seed(4)
    trainer = fit(folder, *callbacks, module=module, max_epochs=2, **kwargs)
    return module.state_dict(), trainer


def assert_equal(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


# With statistics of the batch the model says something else of an image in another batch.
@pytest.mark.filterwarnings("ignore:lightning_cam. cam. on .* BatchNorm without running statistics")
@pytest.mark.parametrize("sanity", [0, 2])
@pytest.mark.parametrize("net", NETS, ids=lambda net: net.__name__)
def test_the_training_is_the_same_and_is_evaluated(tmp_path, net, sanity):
    without, _ = trained(tmp_path / "without", net, num_sanity_val_steps=sanity)
    callback = small(strict=True)
    state, trainer = trained(tmp_path / "with", net, callback, num_sanity_val_steps=sanity)
    assert_equal(state, without)
    assert trainer.callback_metrics["cam/enrichment"] >= 0
    assert callback.state_dict()["validations"] == 2


def test_a_model_that_is_scripted_as_a_whole_is_told_why(tmp_path):
    with pytest.raises(ValueError, match=r"inside a module under torch.jit.script"):
        trained(tmp_path, lambda: torch.jit.script(convnet()), small())


@pytest.mark.parametrize("net", [with_weight_norm, pruned], ids=lambda net: net.__name__)
def test_a_model_can_be_copied_after_an_evaluation(tmp_path, net):
    """The weight that these compute in each pass must not stay behind with a graph."""

    class Copying(Callback):
        def on_validation_end(self, trainer, pl_module):
            copy.deepcopy(pl_module.net)

    trained(tmp_path, net, small(layers="net.1", interventions_every=0), Copying())


# --- lazy modules ---------------------------------------------------------------------------------


class Initialised(Callback):
    """Notes at which hook the weights were there."""

    def __init__(self):
        self.seen = {}

    def note(self, when, module):
        lazy = any(nn.parameter.is_lazy(each) for each in module.parameters())
        self.seen.setdefault(when, not lazy)

    def on_train_start(self, trainer, pl_module):
        self.note("train", pl_module)

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.note("batch", pl_module)


def test_lazy_weights_are_made_by_the_training_alone(tmp_path):
    seen = Initialised()
    trained(tmp_path, lazy, small(probe=squares_probe()), seen, num_sanity_val_steps=0)
    assert seen.seen == {"train": False, "batch": True}


def test_what_does_not_fit_a_lazy_model_costs_a_warning_once_the_training_began(tmp_path):
    with pytest.warns(UserWarning, match=r"skipped the setup of probes.*net.33"):
        _, trainer = trained(tmp_path, lazy, small(layers="net.33"), num_sanity_val_steps=0)
    assert trainer.current_epoch == 2
    assert not any(name.startswith("cam/") for name in trainer.callback_metrics)


# --- modules that log in their forward ------------------------------------------------------------


class LoggingForward(Module):
    """Logs in its `forward`, which its steps call."""

    def forward(self, images):
        logits = self.net(images)
        self.log("logits", logits.mean())
        self.log_dict({"logits_max": logits.max()})
        return logits

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))


def test_what_forward_logs_is_averaged_over_the_trainings_own_passes(tmp_path):
    logs = []
    for callbacks in ([], [small(strict=True)]):
        logs.append(MetricsLog())
        torch.manual_seed(3)
        fit(tmp_path, *callbacks, logs[-1], module=LoggingForward(), max_epochs=2)
    names = ("logits", "logits_max", "val_loss")
    without, with_callback = ([log.of(name) for name in names] for log in logs)
    assert without == with_callback
    assert None not in with_callback[0]


def test_a_given_probe_is_set_up_where_logging_is_not_allowed(tmp_path):
    module = LoggingForward()
    trainer = fit(tmp_path, small(probe=squares_probe(), strict=True), module=module)
    assert trainer.callback_metrics["cam/enrichment"] >= 0
    assert "log" not in vars(module)
    assert "log_dict" not in vars(module)
