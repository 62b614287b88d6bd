"""What holds for every method: chunks, batches, seeds, errors, single logits, other targets."""

import pytest
import torch
from helpers.method_nets import (
    CLASSES,
    conv_net,
    images_of,
    likely_classes,
    map_of,
    setting,
    shaken,
)
from helpers.nets import state_of
from helpers.oracles import relative_error
from torch import nn

from lightning_cam import METHODS, MultiLabelTarget

CONV_METHODS = [name for name in METHODS if METHODS[name].place != "attention"]


@pytest.mark.parametrize("chunk_size", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_chunks_do_not_change_maps(method, chunk_size):
    net, images = setting(method)
    classes = likely_classes(net, images)
    whole = map_of(net, images, classes, method)
    parts = map_of(net, images, classes, method, chunk_size=chunk_size)
    assert relative_error(parts, whole) <= 1e-5


@pytest.mark.parametrize("method", [name for name in METHODS if name != "random"])
def test_maps_of_a_batch_are_those_of_its_images_alone(method):
    net, images = setting(method)
    classes = likely_classes(net, images)
    whole = map_of(net, images, classes, method)
    alone = [map_of(net, images[i : i + 1], int(k), method) for i, k in enumerate(classes)]
    assert relative_error(torch.cat(alone), whole) <= 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_repeatable_by_seed_and_leave_the_global_stream(method):
    net, images = setting(method)
    before = torch.get_rng_state()
    first, again, other = (map_of(net, images, 1, method, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    drawn = method in {"random", "smoothgrad", "smooth_gradcam++", "sscam"}
    assert torch.equal(first, other) != drawn


class StopError(Exception):
    """Raised inside of a forward pass."""


@pytest.mark.parametrize("when", ["first pass", "last pass"])
@pytest.mark.parametrize("method", METHODS)
def test_an_error_in_a_forward_pass_leaves_everything_unchanged(method, when):
    net, images = setting(method)
    calls, fatal = [], [None]

    def count(*_):
        calls.append(1)
        if len(calls) == fatal[0]:
            raise StopError

    net.head.register_forward_pre_hook(count)
    net.train()
    map_of(net, images, 1, method)
    fatal[0] = 1 if when == "first pass" else len(calls)
    calls.clear()
    modes = lambda: (torch.is_grad_enabled(), torch.backends.mha.get_fastpath_enabled())
    before, random, switches = state_of(net), torch.get_rng_state(), modes()
    with pytest.raises(StopError):
        map_of(net, images, 1, method)
    assert state_of(net) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert modes() == switches
    assert not torch.overrides._get_current_function_mode_stack()


# --- single logits and other scores ---------------------------------------------------------------


def binary_net():
    net = conv_net("gap")
    net.head = shaken(nn.Linear(6, 1))
    return net


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize(("method", "factor"), [("cam", 25), ("finercam", 1), ("hirescam", 1)])
def test_maps_of_a_single_logit_equal_gradcam_before_a_linear_head(method, factor, label):
    net, images = binary_net(), images_of()
    expected = map_of(net, images, label, "gradcam") * factor
    assert relative_error(map_of(net, images, label, method), expected) <= 1e-5


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("method", CONV_METHODS)
def test_every_method_accepts_a_single_logit(method, label):
    assert map_of(binary_net(), images_of(2), label, method).isfinite().all()


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("finercam", lambda out: out[:, 1]),
        ("finercam", MultiLabelTarget(torch.ones(6, CLASSES), "mean")),
        ("cam", lambda out: out[:, -1]),  # -1 also stands for no class
        ("cam", MultiLabelTarget(torch.ones(6, CLASSES), "mean")),
        ("cam", "difference"),
    ],
)
def test_methods_of_classes_reject_other_scores(method, target):
    with pytest.raises(ValueError, match="Use 'gradcam'"):
        map_of(conv_net("gap"), images_of(6), target, method)
