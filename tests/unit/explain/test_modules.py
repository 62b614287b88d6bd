"""Names of modules without wrappers, and the module's part of a site's name."""

import pytest
import torch
from helpers.nets import ConvNet
from torch import nn

from lightning_cam.explain.modules import add_forward_hook, module_of, named_modules, unwrap


@pytest.mark.filterwarnings("ignore:.*DataParallel.*")
def test_names_and_models_are_without_wrappers():
    net = nn.Sequential(ConvNet(), nn.Identity())
    plain = set(named_modules(net))
    net[0].b = torch.compile(net[0].b, backend="eager")
    assert set(named_modules(net)) == plain
    assert named_modules(net)["0.b"] is net[0].b._orig_mod
    assert unwrap(torch.compile(nn.DataParallel(net), backend="eager")) is net
    assert unwrap(net) is net


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*is deprecated")
def test_a_scripted_module_is_one_layer():
    net = nn.Sequential(torch.jit.script(nn.Sequential(nn.ReLU(), nn.ReLU())), nn.ReLU())
    assert list(named_modules(net)) == ["0", "1"]
    seen = []
    with add_forward_hook(net[0], lambda *_: seen.append(True)):
        net(torch.rand(1))
    net(torch.rand(1))
    assert seen == [True]


@pytest.mark.parametrize(
    ("site", "module"),
    [
        ("layer4", "layer4"),
        ("relu#1", "relu"),
        ("fpn[0]", "fpn"),
        ("block#1[feat][0]", "block"),
        ("layer[13]*", "layer[13]*"),  # a glob
    ],
)
def test_the_module_of_a_site(site, module):
    assert module_of(site) == module
