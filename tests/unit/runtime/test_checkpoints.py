"""`load_weights` under the prefixes that wrappers add; files of every format that torch writes."""

import math

import pytest
import torch
from helpers import cli_nets
from torch import nn

from lightning_cam.runtime.checkpoints import (
    TrainingTime,
    load_weights,
    match_weights,
    monitored_value_of,
    read_checkpoint,
    training_time_of,
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


def changed_weights(model):
    """Return a model's weights, all changed, so that it shows whether they were loaded."""
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
def test_prefixes_of_wrappers_are_matched(source, rename, target, stripped):
    weights = changed_weights(source())
    model = target()
    loaded = load_weights(model, {"state_dict": renamed(weights, rename)})
    assert loaded.stripped == stripped
    assert (loaded.missing, loaded.unexpected, loaded.mismatched) == ((), (), ())
    for own, expected in zip(model.state_dict().values(), weights.values(), strict=True):
        assert torch.equal(own, expected)


def test_weights_are_loaded_into_a_compiled_model():
    weights = changed_weights(TwoParts())
    model = torch.compile(TwoParts())
    loaded = load_weights(model, weights)
    assert (loaded.missing, loaded.unexpected) == ((), ())
    assert torch.equal(model._orig_mod.head.weight, weights["head.weight"])


def test_all_names_that_do_not_match_are_listed():
    weights = renamed(changed_weights(TwoParts()), lambda n: f"model.{n}")
    weights |= {"loss.weight": torch.ones(2), "model.extra": torch.ones(1)}
    weights["model.head.weight"] = torch.ones(7, 4)
    del weights["model.head.bias"]
    model = TwoParts()
    before = model.state_dict()["features.0.weight"].clone()
    loaded = match_weights(model, weights)
    assert torch.equal(model.features[0].weight, before)  # match_weights changes nothing
    assert loaded.missing == ("head.bias",)
    assert loaded.unexpected == ("loss.weight", "model.extra")
    assert loaded.mismatched == ("head.weight: (7, 4) in the checkpoint, (2, 4) in the model",)
    assert load_weights(model, weights) == loaded
    assert not torch.equal(model.features[0].weight, before)


def test_an_ema_copy_does_not_replace_the_weights_of_the_network():
    """Of weights that are saved twice, those under the prefix of most other weights are taken."""
    weights = changed_weights(Wrapped())
    both = weights | renamed({k: v + 5 for k, v in weights.items()}, lambda n: f"ema.{n}")
    model = Wrapped()
    loaded = load_weights(model, both)
    assert torch.equal(model.network[0].weight, weights["network.0.weight"])
    assert all(name.startswith("ema.") for name in loaded.unexpected)


@pytest.mark.parametrize("zipped", [True, False])
def test_zip_files_and_older_files_are_read(tmp_path, zipped):
    weights = changed_weights(TwoParts())
    torch.save(weights, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    model = TwoParts()
    load_weights(model, tmp_path / "w.pt")
    (tmp_path / "w.pt").unlink()  # loading must not depend on the file afterwards
    assert torch.equal(model.head.weight, weights["head.weight"])


def test_a_pickled_module_is_loaded_only_without_weights_only(tmp_path):
    torch.save(TwoParts(), tmp_path / "module.pt")
    with pytest.raises(ValueError, match=r"TwoParts\), which could run code"):
        load_weights(TwoParts(), tmp_path / "module.pt")
    load_weights(TwoParts(), tmp_path / "module.pt", weights_only=False)


def test_a_truncated_file_is_reported(tmp_path):
    torch.save(changed_weights(TwoParts()), tmp_path / "w.pt")
    data = (tmp_path / "w.pt").read_bytes()
    for length in (0, 1, 2, 40, len(data) // 2, len(data) - 20):
        (tmp_path / "truncated.pt").write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"truncated\.pt, which torch cannot read"):
            read_checkpoint(tmp_path / "truncated.pt")


@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [
        ({}, None),
        ({"epoch": 3}, TrainingTime(3, 3)),
        ({"step": 70}, TrainingTime(70, 70)),
        ({"epoch": 3, "global_step": 70}, TrainingTime(3, 70)),
        ({"epoch": 0, "step": 0}, TrainingTime(0, 0)),
        ({"epoch": "third", "step": None}, None),
    ],
)
def test_training_time_of_a_checkpoint_that_lightning_did_not_write(checkpoint, expected):
    assert training_time_of({"state_dict": {}, **checkpoint}) == expected


def test_monitored_value_is_higher_for_better_models_and_nan_where_unknown():
    def checkpoint(mode, **state):
        return {"callbacks": {"Other": {}, f"ModelCheckpoint{{'mode': '{mode}'}}": state}}

    score = torch.tensor(0.5)
    assert monitored_value_of(checkpoint("max", monitor="acc", current_score=score)) == 0.5
    assert monitored_value_of(checkpoint("min", monitor="loss", current_score=score)) == -0.5
    for unmonitored in ({}, checkpoint("max", monitor=None, current_score=None)):
        assert math.isnan(monitored_value_of(unmonitored))
