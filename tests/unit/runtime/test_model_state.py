"""A look leaves model, random streams and torch's switches bit for bit as they were."""

import contextlib
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.nets import ConvNet, StatefulNet, state_of
from torch import nn
from torch.nn import functional as F

from lightning_cam import METHODS, compute_cams
from lightning_cam.runtime.model_state import isolated_rng, preserve_model_state

IMAGES = torch.rand(3, 3, 8, 8)
CPU = torch.device("cpu")


def raising(_output):
    raise RuntimeError("inside the target")


ENDS = {
    "well": (lambda out: out[:, 0], contextlib.nullcontext()),
    "in an error": (raising, pytest.raises(RuntimeError, match="inside the target")),
}


@pytest.fixture(params=ENDS)
def look(request):
    """Return a function that looks at a model, in a way that ends well or in an error."""
    target, expectation = ENDS[request.param]

    def run(model, **kwargs):
        kwargs = {"layers": "body.0", "chunk_size": 2} | kwargs
        with expectation:
            compute_cams(model, IMAGES, target, **kwargs)

    return run


def streams():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


# --- model ---


def mixed():
    """A net in training whose first BatchNorm is frozen, as fine-tuning does."""
    net = StatefulNet().train()
    net.stem[1].eval()
    net.stem[0].weight.requires_grad_(requires_grad=False)
    net(IMAGES).sum().backward()
    net.fc.bias.grad = None
    net.body[0].register_forward_hook(lambda *_: None)
    net.fc.register_full_backward_hook(lambda *_: None)
    return net


@pytest.mark.parametrize("layers", ["auto", ["stem", "body"], ["stem.1", "body.2"]], ids=str)
def test_flags_parameters_buffers_gradients_and_hooks_stay(look, layers):
    net = mixed()
    before = state_of(net)
    assert before["flags"] != dict.fromkeys(before["flags"], net.training), "not mixed"
    look(net, layers=layers)
    assert state_of(net) == before


@pytest.mark.parametrize("method", [n for n in METHODS if METHODS[n].place != "attention"])
def test_every_method_leaves_everything_as_it_was(method):
    net = mixed()
    before, drawn = state_of(net), streams()
    target = 0 if method == "cam" else lambda out: out[:, 0]
    if method == "finercam":
        target = 0
    compute_cams(net, IMAGES, target, method=method, layers="body.2")
    assert state_of(net) == before
    assert streams() == drawn
    assert torch.is_grad_enabled()


def test_gradients_that_are_there_stay_the_same_objects_and_none_stays_none(look):
    net = mixed()
    objects = {name: p.grad for name, p in net.named_parameters()}
    look(net)
    assert all(p.grad is objects[name] for name, p in net.named_parameters())
    assert net.fc.bias.grad is None
    assert net.stem[0].weight.grad is None


@pytest.mark.parametrize("mode", [True, False])
def test_overridden_train_methods_are_not_called(look, mode):
    class Strict(StatefulNet):
        def train(self, mode=True):
            if hasattr(self, "built"):
                raise AssertionError("called")
            return super().train(mode)

    net = Strict().train(mode)
    net.built = True
    look(net)
    assert net.training is mode


def test_a_backward_pass_that_is_still_to_come_is_not_disturbed(look):
    net, twin = StatefulNet().train(), StatefulNet().train()
    net.stem[1].eval()
    twin.stem[1].eval()
    twin.load_state_dict(net.state_dict())
    with isolated_rng():
        loss = net(IMAGES).square().sum()
    twin_loss = twin(IMAGES).square().sum()
    look(net)
    loss.backward()
    twin_loss.backward()
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)


def test_training_goes_on_as_if_nobody_had_looked():
    def trained(*, watched):
        torch.manual_seed(1)
        net = StatefulNet().train()
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
        for step in range(4):
            F.cross_entropy(net(IMAGES), torch.tensor([0, 1, 2])).backward()
            if watched:
                compute_cams(net, IMAGES, 1, layers=["stem", "body"])
            if step % 2:  # gradients accumulate over two
                optimizer.step()
                optimizer.zero_grad()
        return net.state_dict()

    free, watched = trained(watched=False), trained(watched=True)
    for name, value in free.items():
        assert torch.equal(value, watched[name]), name


# --- buffers that a forward pass changes ---


class Changing(ConvNet):
    """Does something to its buffers in every forward pass, whatever its mode."""

    def __init__(self, change):
        super().__init__()
        self.change = change
        self.register_buffer("count", torch.tensor([1.0, float("nan"), -0.0]))
        self.register_buffer("cache", None)
        self.register_buffer("flag", torch.tensor([True]))  # what follows begins at an odd byte
        self.register_buffer("scratch", torch.zeros(2), persistent=False)
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x):
        self.change(self, x)
        return super().forward(x)


def in_place(net, x):
    net.count.add_(1)


def replace(net, x):
    net.count = net.count + x.mean()


def replace_not_saved(net, x):
    net.scratch = torch.ones(5)


def resize(net, x):
    net.count = torch.cat([net.count, x.flatten()[:1]])


def resize_in_place(net, x):
    net.scratch.set_(torch.zeros(7))


def retype_in_place(net, x):
    net.scratch.data = torch.zeros(3, dtype=torch.float64)


def fill_none(net, x):
    net.cache = x.mean()


def empty(net, x):
    net.count = None


def add(net, x):
    net.register_buffer("late", x.mean().reshape(1))


def behind_autograds_back(net, x):
    net.count.data.add_(1)


def through_numpy(net, x):
    net.scratch.numpy()[:] += 1


def train_a_part(net, x):
    net.bn.train()
    net.bn(x)


def update_statistics(net, x):
    F.batch_norm(x, net.bn.running_mean, net.bn.running_var, training=True)


@pytest.mark.parametrize(
    "change",
    [
        in_place,
        replace,
        replace_not_saved,
        resize,
        resize_in_place,
        retype_in_place,
        fill_none,
        empty,
        add,
        behind_autograds_back,
        through_numpy,
        train_a_part,
        update_statistics,
    ],
)
def test_buffers_that_forward_rewrites_or_replaces_come_back(look, change):
    net = Changing(change)
    before = state_of(net)
    look(net, layers="b")
    assert state_of(net) == before


def test_a_buffer_that_inference_mode_left_behind():
    """`trainer.validate()` runs in inference mode, and so are buffers that are replaced there."""
    net = Changing(replace)
    with torch.inference_mode():
        net(IMAGES)
    assert net.count.is_inference()
    before = state_of(net)
    compute_cams(net, IMAGES, 0, layers="b")
    assert state_of(net) == before


def test_looks_do_not_add_up_in_a_buffer():
    net = Changing(in_place)
    for _ in range(3):
        compute_cams(net, IMAGES, 0, layers="b", chunk_size=1)
    assert net.count[0] == 1


# --- random streams and switches ---


class Drawing(StatefulNet):
    def forward(self, x):
        noise = random.random() + np.random.rand() + torch.rand(())  # noqa: NPY002
        return super().forward(F.dropout(x, training=True) * noise)


def test_random_streams_go_on_as_if_nothing_was_drawn(look):
    net = Drawing()
    before = streams()
    look(net)
    assert streams() == before


def test_isolated_streams_restore_after_an_error():
    before = streams()

    def draw_and_fail():
        random.seed(7)
        np.random.seed(7)  # noqa: NPY002
        torch.manual_seed(7)
        raise KeyError

    with pytest.raises(KeyError), isolated_rng():
        draw_and_fail()
    assert streams() == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_streams_of_the_gpu_survive_a_probes_seed():
    from lightning_cam import Probe

    before = torch.cuda.get_rng_state()
    Probe.from_dataset([(torch.rand(3, 4, 4), 0)] * 4, 2)
    assert torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.parametrize("around", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_grad_and_inference_mode_stay(look, around):
    net = StatefulNet()
    with around():
        grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        look(net)
        assert torch.is_grad_enabled() is grad
        assert torch.is_inference_mode_enabled() is inference
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("own", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("around", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_modes_of_the_models_own_do_not_leak(look, own, around):
    class OwnMode(StatefulNet):
        def forward(self, x):
            with own():
                x = self.body(self.stem(x))
            return self.fc((x.clone() if x.is_inference() else x).mean((2, 3)))

    net = OwnMode()
    with around():
        grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        look(net)
        assert torch.is_grad_enabled() is grad
        assert torch.is_inference_mode_enabled() is inference


def test_inside_the_body_every_module_evaluates_without_a_graph():
    net = mixed()
    with torch.inference_mode():
        with preserve_model_state(net, CPU):
            assert not any(module.training for module in net.modules())
            assert not torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
        assert torch.is_inference_mode_enabled()
    assert net.training


def test_a_part_that_forward_puts_into_training_comes_back(look):
    def train_everything(net, x):
        net.train()

    net = Changing(train_everything).eval()
    look(net, layers="b")
    assert not any(module.training for module in net.modules())


def test_nothing_is_imported_that_a_look_does_not_need():
    """`torch._dynamo` costs a second, and matters to compiled models only."""
    code = (
        "import sys, torch; from lightning_cam import compute_cams;"
        "net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1),"
        "torch.nn.Flatten(), torch.nn.Linear(4, 2));"
        "compute_cams(net, torch.rand(1, 3, 8, 8));"
        "found = {'torch._dynamo', 'lightning', 'pytorch_lightning', 'torchvision', 'cv2'};"
        "print(sorted(found & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, text=True).strip() == "[]"  # noqa: S603
