"""Weights find their places under every wrapper's names; files that torch wrote in any way."""

import math

from helpers import cli_nets
import pytest
import torch
from torch import nn

from lightning_cam.runtime.checkpoints import (
    TrainingTime,
    monitored_value_of,
    load_weights,
    match_weights,
    training_time_of,
    read_checkpoint,
)


class Wrapped(nn.Module):
    def __init__(self, name="network"):
        super().__init__()
        setattr(self, name, cli_nets.net())


class TwoParts(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
        self.head = nn.Linear(4, 2)


def saved(model):
    """Return a model's weights, all changed, so that loading them shows."""
    return {name: t + 1 if t.is_floating_point() else t for name, t in model.state_dict().items()}


def renamed(weights, rename):
    return {rename(name): tensor for name, tensor in weights.items()}


@pytest.mark.parametrize(
    ("source", "rename", "target", "stripped"),
    [
        (cli_nets.net, lambda n: n, cli_nets.net, ""),
        (cli_nets.net, lambda n: f"module.{n}", cli_nets.net, "module."),
        (cli_nets.net, lambda n: f"model.{n}", cli_nets.net, "model."),
        (cli_nets.net, lambda n: f"module.model.net.{n}", cli_nets.net, "module.model.net."),
        (cli_nets.net, lambda n: f"_orig_mod.{n}", cli_nets.net, ""),
        (cli_nets.net, lambda n: f"module._orig_mod.{n}", cli_nets.net, "module."),
        (cli_nets.net, lambda n: f"a_teacher.{n}", cli_nets.net, "a_teacher."),
        (cli_nets.net, lambda n: n, Wrapped, "+network."),
        (cli_nets.net, lambda n: f"module.{n}", Wrapped, "module.+network."),
        (Wrapped, lambda n: n, lambda: Wrapped("net"), "network.+net."),
        (TwoParts, lambda n: n.replace("features.", "features._orig_mod."), TwoParts, ""),
        (TwoParts, lambda n: f"model.{n.replace('head.', 'head._orig_mod.')}", TwoParts, "model."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrappers_are_seen_through(source, rename, target, stripped):
    weights = saved(source())
    model = target()
    loaded = load_weights(model, {"state_dict": renamed(weights, rename)})
    assert loaded.stripped == stripped
    assert (loaded.missing, loaded.unexpected, loaded.mismatched) == ((), (), ())
    for own, expected in zip(model.state_dict().values(), weights.values(), strict=True):
        assert torch.equal(own, expected)


def test_into_a_compiled_model():
    weights = saved(TwoParts())
    model = torch.compile(TwoParts())
    loaded = load_weights(model, weights)
    assert (loaded.missing, loaded.unexpected) == ((), ())
    assert torch.equal(model._orig_mod.head.weight, weights["head.weight"])


def test_every_name_that_does_not_match_is_listed():
    weights = renamed(saved(TwoParts()), lambda n: f"model.{n}")
    weights |= {"loss.weight": torch.ones(2), "model.extra": torch.ones(1)}
    weights["model.head.weight"] = torch.ones(7, 4)
    del weights["model.head.bias"]
    model = TwoParts()
    before = model.state_dict()["features.0.weight"].clone()
    loaded = match_weights(model, weights)
    assert torch.equal(model.features[0].weight, before)  # only a look
    assert loaded.missing == ("head.bias",)
    assert loaded.unexpected == ("loss.weight", "model.extra")
    assert loaded.mismatched == ("head.weight: (7, 4) in the checkpoint, (2, 4) in the model",)
    assert load_weights(model, weights) == loaded
    assert not torch.equal(model.features[0].weight, before)


def test_a_twin_does_not_take_the_places_of_the_network():
    """Weights that are there twice (an EMA copy) are taken from where most of the rest are."""
    weights = saved(Wrapped())
    both = weights | renamed({k: v + 5 for k, v in weights.items()}, lambda n: f"ema.{n}")
    model = Wrapped()
    loaded = load_weights(model, both)
    assert torch.equal(model.network[0].weight, weights["network.0.weight"])
    assert all(name.startswith("ema.") for name in loaded.unexpected)


@pytest.mark.parametrize("zipped", [True, False])
def test_files_new_and_old(tmp_path, zipped):
    weights = saved(TwoParts())
    torch.save(weights, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    model = TwoParts()
    load_weights(model, tmp_path / "w.pt")
    (tmp_path / "w.pt").unlink()  # nothing of it is needed any more
    assert torch.equal(model.head.weight, weights["head.weight"])


def test_a_whole_module_only_when_trusted(tmp_path):
    torch.save(TwoParts(), tmp_path / "module.pt")
    with pytest.raises(ValueError, match=r"TwoParts\), which could run code"):
        load_weights(TwoParts(), tmp_path / "module.pt")
    load_weights(TwoParts(), tmp_path / "module.pt", weights_only=False)


def test_a_torn_file_is_told(tmp_path):
    torch.save(saved(TwoParts()), tmp_path / "w.pt")
    data = (tmp_path / "w.pt").read_bytes()
    for length in (0, 1, 2, 40, len(data) // 2, len(data) - 20):
        (tmp_path / "torn.pt").write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"torn\.pt, which torch cannot read"):
            read_checkpoint(tmp_path / "torn.pt")


@pytest.mark.parametrize(
    ("checkpoint", "moment"),
    [
        ({}, None),
        ({"epoch": 3}, TrainingTime(3, 3)),
        ({"step": 70}, TrainingTime(70, 70)),
        ({"epoch": 3, "global_step": 70}, TrainingTime(3, 70)),
        ({"epoch": 0, "step": 0}, TrainingTime(0, 0)),
        ({"epoch": "third", "step": None}, None),
    ],
)
def test_when_a_checkpoint_of_ones_own_was_saved(checkpoint, moment):
    assert training_time_of({"state_dict": {}, **checkpoint}) == moment


def test_how_good_the_model_was():
    def checkpoint(mode, **state):
        return {"callbacks": {"Other": {}, f"ModelCheckpoint{{'mode': '{mode}'}}": state}}

    score = torch.tensor(0.5)
    assert monitored_value_of(checkpoint("max", monitor="acc", current_score=score)) == 0.5
    assert monitored_value_of(checkpoint("min", monitor="loss", current_score=score)) == -0.5
    for nothing in ({}, checkpoint("max", monitor=None, current_score=None)):
        assert math.isnan(monitored_value_of(nothing))
