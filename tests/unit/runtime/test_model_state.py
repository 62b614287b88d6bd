"""`compute_cams` leaves model, random streams and torch's modes bit for bit as they were."""

import contextlib
import random

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
    "success": (lambda out: out[:, 0], contextlib.nullcontext()),
    "error": (raising, pytest.raises(RuntimeError, match="inside the target")),
}


@pytest.fixture(params=ENDS)
def explain(request):
    """Return a function that computes maps of a model and succeeds, or raises an error."""
    target, expectation = ENDS[request.param]

    def run(model, **kwargs):
        kwargs = {"layers": "body.0", "chunk_size": 2} | kwargs
        with expectation:
            compute_cams(model, IMAGES, target, **kwargs)

    return run


def streams():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


# --- model ----------------------------------------------------------------------------------------


def mixed():
    """Return a network in training mode whose first BatchNorm is frozen, as in fine-tuning."""
    net = StatefulNet().train()
    net.stem[1].eval()
    net.stem[0].weight.requires_grad_(requires_grad=False)
    net(IMAGES).sum().backward()
    net.fc.bias.grad = None
    net.body[0].register_forward_hook(lambda *_: None)
    net.fc.register_full_backward_hook(lambda *_: None)
    return net


@pytest.mark.parametrize("layers", ["auto", ["stem", "body"], ["stem.1", "body.2"]], ids=str)
def test_flags_parameters_buffers_gradients_and_hooks_are_unchanged(explain, layers):
    net = mixed()
    before = state_of(net)
    assert before["flags"] != dict.fromkeys(before["flags"], net.training), "not mixed"
    explain(net, layers=layers)
    assert state_of(net) == before


@pytest.mark.parametrize("method", [n for n in METHODS if METHODS[n].place != "attention"])
def test_every_method_restores_model_and_random_streams(method):
    net = mixed()
    before, drawn = state_of(net), streams()
    target = 0 if method == "cam" else lambda out: out[:, 0]
    if method == "finercam":
        target = 0
    compute_cams(net, IMAGES, target, method=method, layers="body.2")
    assert state_of(net) == before
    assert streams() == drawn
    assert torch.is_grad_enabled()


def test_gradients_stay_the_same_objects_and_none_stays_none(explain):
    net = mixed()
    objects = {name: p.grad for name, p in net.named_parameters()}
    explain(net)
    assert all(p.grad is objects[name] for name, p in net.named_parameters())
    assert net.fc.bias.grad is None
    assert net.stem[0].weight.grad is None


@pytest.mark.parametrize("mode", [True, False])
def test_overridden_train_methods_are_not_called(explain, mode):
    class Strict(StatefulNet):
        def train(self, mode=True):
            if hasattr(self, "built"):
                raise AssertionError("called")
            return super().train(mode)

    net = Strict().train(mode)
    net.built = True
    explain(net)
    assert net.training is mode


def test_a_pending_backward_pass_gives_the_same_gradients(explain):
    net, twin = StatefulNet().train(), StatefulNet().train()
    net.stem[1].eval()
    twin.stem[1].eval()
    twin.load_state_dict(net.state_dict())
    with isolated_rng():
        loss = net(IMAGES).square().sum()
    twin_loss = twin(IMAGES).square().sum()
    explain(net)
    loss.backward()
    twin_loss.backward()
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)


def test_weights_after_training_are_the_same_with_and_without_maps():
    def trained(*, explained):
        torch.manual_seed(1)
        net = StatefulNet().train()
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
        for step in range(4):
            F.cross_entropy(net(IMAGES), torch.tensor([0, 1, 2])).backward()
            if explained:
                compute_cams(net, IMAGES, 1, layers=["stem", "body"])
            if step % 2:  # gradients accumulate over two
                optimizer.step()
                optimizer.zero_grad()
        return net.state_dict()

    plain, explained = trained(explained=False), trained(explained=True)
    for name, value in plain.items():
        assert torch.equal(value, explained[name]), name


# --- buffers that a forward pass changes ----------------------------------------------------------


class Changing(ConvNet):
    """Calls `change(self, x)` in every forward pass, in training and in evaluation mode."""

    def __init__(self, change):
        super().__init__()
        self.change = change
        self.register_buffer("count", torch.tensor([1.0, float("nan"), -0.0]))
        self.register_buffer("cache", None)
        self.register_buffer("flag", torch.tensor([True]))  # one byte: misaligns the next
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


def without_version_counter(net, x):
    net.count.data.add_(1)


def through_numpy(net, x):
    net.scratch.numpy()[:] += 1


def train_a_submodule(net, x):
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
        without_version_counter,
        through_numpy,
        train_a_submodule,
        update_statistics,
    ],
)
def test_buffers_that_forward_changes_or_replaces_are_restored(explain, change):
    net = Changing(change)
    before = state_of(net)
    explain(net, layers="b")
    assert state_of(net) == before


def test_a_buffer_made_in_inference_mode_is_restored():
    """`trainer.validate()` runs in inference mode; buffers replaced there are inference tensors."""
    net = Changing(replace)
    with torch.inference_mode():
        net(IMAGES)
    assert net.count.is_inference()
    before = state_of(net)
    compute_cams(net, IMAGES, 0, layers="b")
    assert state_of(net) == before


def test_repeated_calls_do_not_accumulate_in_a_buffer():
    net = Changing(in_place)
    for _ in range(3):
        compute_cams(net, IMAGES, 0, layers="b", chunk_size=1)
    assert net.count[0] == 1


# --- random streams and modes ---------------------------------------------------------------------


class Drawing(StatefulNet):
    def forward(self, x):
        noise = random.random() + np.random.rand() + torch.rand(())  # noqa: NPY002
        return super().forward(F.dropout(x, training=True) * noise)


def test_random_streams_are_unchanged_by_a_model_that_draws(explain):
    net = Drawing()
    before = streams()
    explain(net)
    assert streams() == before


def test_isolated_rng_restores_after_an_error():
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
def test_sampling_a_probe_leaves_the_random_stream_of_the_gpu():
    from lightning_cam import Probe

    before = torch.cuda.get_rng_state()
    Probe.from_dataset([(torch.rand(3, 4, 4), 0)] * 4, 2)
    assert torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.parametrize("around", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_grad_and_inference_mode_are_unchanged(explain, around):
    net = StatefulNet()
    with around():
        grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        explain(net)
        assert torch.is_grad_enabled() is grad
        assert torch.is_inference_mode_enabled() is inference
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("own", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("around", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_modes_that_the_model_sets_itself_do_not_leak(explain, own, around):
    class OwnMode(StatefulNet):
        def forward(self, x):
            with own():
                x = self.body(self.stem(x))
            return self.fc((x.clone() if x.is_inference() else x).mean((2, 3)))

    net = OwnMode()
    with around():
        grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        explain(net)
        assert torch.is_grad_enabled() is grad
        assert torch.is_inference_mode_enabled() is inference


def test_inside_the_body_all_modules_are_in_evaluation_mode_without_gradients():
    net = mixed()
    with torch.inference_mode():
        with preserve_model_state(net, CPU):
            assert not any(module.training for module in net.modules())
            assert not torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
        assert torch.is_inference_mode_enabled()
    assert net.training


def test_submodules_that_forward_puts_into_training_mode_are_restored(explain):
    def train_everything(net, x):
        net.train()

    net = Changing(train_everything).eval()
    explain(net, layers="b")
    assert not any(module.training for module in net.modules())


def test_attributes_that_a_forward_pass_replaces_adds_or_removes_are_restored():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls, self.gone = 0, "there"

        def forward(self, images):
            self.calls += 1
            self.features = images
            del self.gone
            return images

    net = nn.Sequential(Counting())
    before = dict(vars(net[0]))
    with preserve_model_state(net, CPU):
        net(torch.rand(1))
        assert net[0].calls == 1
    assert vars(net[0]) == before


def test_lazy_modules_that_a_pass_initialises_stay_so():
    net = nn.Sequential(nn.LazyLinear(3))
    with preserve_model_state(net, CPU):
        net(torch.rand(2, 5))
    assert type(net[0]) is nn.Linear
    assert net[0].in_features == 5
    assert net(torch.rand(2, 5)).shape == (2, 3)
