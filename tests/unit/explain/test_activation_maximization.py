"""`maximize_activations`: closed forms for simple networks, models in any mode, errors."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_cam.explain.activation_maximization import (
    Ascent,
    blurred,
    check_activation_target,
    maximize_activations,
)

BARE = Ascent(rate=0.002, jitter=0, decay=0.05, blur=(0.0, 0.0))
SHAPE = (3, 8, 8)


def linear(classes=4, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, classes))


def convnet(classes=3):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3),
        nn.BatchNorm2d(5),
        nn.ReLU(inplace=True),
        nn.Conv2d(5, 6, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, classes),
    )


def cosine(a, b):
    return float(F.cosine_similarity(a.flatten(), b.flatten(), dim=0))


# --- against closed forms -------------------------------------------------------------------------


def test_the_image_of_a_linear_class_is_proportional_to_its_weights():
    """With score w·x, step r·w/rms(w) and decay d, x converges to r (1-d)/d · w/rms(w)."""
    net = linear()
    found = maximize_activations(net, SHAPE, [0, 2], steps=400, bounds=(-50.0, 50.0), ascent=BARE)
    for image, label in zip(found.images, (0, 2), strict=True):
        weights = net[1].weight[label].detach().view(SHAPE)
        step = BARE.rate * 100
        expected = step * (1 - BARE.decay) / BARE.decay * weights / weights.square().mean().sqrt()
        assert torch.allclose(image, expected, rtol=1e-3, atol=1e-3)
    assert found.after == pytest.approx(
        [
            net(image[None])[0, label].item()
            for image, label in zip(found.images, (0, 2), strict=True)
        ],
        rel=1e-4,
    )
    assert all(a > b for a, b in zip(found.after, found.before, strict=True))


def test_within_bounds_the_image_of_a_linear_class_is_at_the_bounds():
    net = linear()
    bounds = (torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([1.0, 1.0, 3.0]))
    ascent = Ascent(rate=1.0, jitter=0, decay=0.0, blur=(0.0, 0.0))
    image = maximize_activations(net, SHAPE, [1], steps=200, bounds=bounds, ascent=ascent).images[0]
    signs = net[1].weight[1].view(SHAPE) > 0
    low, high = (side.view(3, 1, 1).expand(SHAPE) for side in bounds)
    assert torch.equal(image, torch.where(signs, high, low))


def test_the_image_of_a_convolutions_channel_is_its_summed_kernel():
    """The mean of the channel is linear; its gradient is the sum of the kernel at all places."""
    net = convnet()
    found = maximize_activations(
        net, (3, 10, 10), ["0:3"], steps=400, bounds=(-50.0, 50.0), ascent=BARE
    )
    kernel = net[0].weight[3:4].detach()
    expected = F.conv_transpose2d(torch.ones(1, 1, 8, 8), kernel)
    assert cosine(found.images[0], expected[0]) > 0.99999
    assert found.after[0] == pytest.approx(net[0](found.images)[0, 3].mean().item(), rel=1e-4)


def test_with_jitter_all_places_become_similar():
    ascent = Ascent(rate=0.002, jitter=8, decay=0.05, blur=(0.0, 0.0))
    net = linear()
    bare = maximize_activations(net, SHAPE, [0], steps=200, ascent=BARE).images[0]
    moved = maximize_activations(net, SHAPE, [0], steps=200, ascent=ascent).images[0]
    assert moved.std(dim=(1, 2)).mean() < 0.5 * bare.std(dim=(1, 2)).mean()


def test_blurred_steps_give_a_blurred_image():
    net = linear()
    soft = Ascent(rate=0.002, jitter=0, decay=0.05, blur=(1.5, 1.5))
    found = maximize_activations(net, SHAPE, [0], steps=400, bounds=(-50.0, 50.0), ascent=soft)
    expected = blurred(net[1].weight[0].detach().view(1, *SHAPE), 1.5)
    assert cosine(found.images[0], expected[0]) > 0.999


def test_a_blur_is_gaussian_and_keeps_constant_images():
    spot = torch.zeros(1, 2, 21, 21)
    spot[:, :, 10, 10] = 1.0
    out = blurred(spot, 1.3)
    assert out.sum() == pytest.approx(2.0, abs=1e-5)
    assert float(out[0, 0, 10, 12] / out[0, 0, 10, 10]) == pytest.approx(
        np.exp(-2 / 1.3**2), rel=1e-4
    )
    assert torch.allclose(out, out.mT)
    assert torch.allclose(blurred(torch.full((1, 3, 4, 5), 0.7), 2.0), torch.tensor(0.7))
    assert torch.equal(blurred(spot, 0.0), spot)


# --- networks -------------------------------------------------------------------------------------


def test_scores_of_classes_and_channels_rise():
    net = convnet()
    found = maximize_activations(net, (3, 24, 24), [0, 1, 2, "3:4"], steps=40)
    assert found.targets == (0, 1, 2, "3:4")
    assert found.images.shape == (4, 3, 24, 24)
    assert all(a > b for a, b in zip(found.after, found.before, strict=True))
    assert found.after[3] > 10 * found.before[3]
    assert found.images.abs().max() <= 2.0


def test_other_targets_and_the_chunk_size_do_not_change_an_image():
    net = convnet()
    together = maximize_activations(net, (3, 12, 12), [0, "3:1", 2], steps=5)
    apart = maximize_activations(net, (3, 12, 12), [0, "3:1", 2], steps=5, chunk_size=1)
    alone = maximize_activations(net, (3, 12, 12), [2], steps=5)
    assert torch.allclose(together.images, apart.images, atol=1e-5)
    assert torch.allclose(together.images[2:], alone.images, atol=1e-5)
    other = maximize_activations(net, (3, 12, 12), [2], steps=5, seed=1)
    assert not torch.allclose(other.images, alone.images, atol=1e-2)


@pytest.mark.parametrize("chunk_size", [0, -3])
def test_wrong_chunk_sizes_are_reported(chunk_size):
    with pytest.raises(ValueError, match=f"chunk_size of at least 1, got {chunk_size}"):
        maximize_activations(convnet(), (3, 12, 12), [0], steps=1, chunk_size=chunk_size)


def test_the_score_of_a_dead_channel_stays_zero():
    net = convnet()
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.fill_(-1.0)
    found = maximize_activations(net, (3, 12, 12), ["2:0"], steps=10)
    assert found.before == found.after == (0.0,)
    assert found.images.isfinite().all()


def test_the_score_of_a_channel_is_before_in_place_operations():
    net = convnet().eval()
    found = maximize_activations(net, (3, 12, 12), ["1:0"], steps=0)
    before, after = net[:2](found.images)[0, 0].mean(), net[:3](found.images)[0, 0].mean()
    assert after.item() - before.item() > 0.01
    assert found.before[0] == pytest.approx(before.item(), abs=1e-5)
    assert found.before == found.after


def test_dense_outputs_and_layers_that_return_vectors():
    head = nn.Conv2d(3, 2, 1)
    found = maximize_activations(head, (3, 8, 8), [0], steps=20)
    assert found.after[0] > found.before[0]
    vectors = maximize_activations(convnet(), (3, 12, 12), ["6:1"], steps=20)
    classes = maximize_activations(convnet(), (3, 12, 12), [1], steps=20)
    assert torch.allclose(vectors.images, classes.images, atol=1e-5)


@pytest.mark.parametrize(
    "mode", ["frozen", "inference", "compiled", "training", "half", "autocast"]
)
def test_models_in_any_mode(mode):
    net = convnet().eval()
    plain = maximize_activations(net, (3, 12, 12), [0], steps=8).after[0]
    if mode == "frozen":
        net.requires_grad_(requires_grad=False)
    net.train(mode == "training")
    model = torch.compile(net, backend="eager") if mode == "compiled" else net
    model = model.to(torch.bfloat16) if mode == "half" else model
    low = torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode == "autocast")
    with torch.inference_mode(mode == "inference"), low:
        found = maximize_activations(model, (3, 12, 12), [0], steps=8)
    assert found.images.dtype == torch.float32
    assert found.after[0] == pytest.approx(plain, rel=0.2 if mode in ("half", "autocast") else 1e-4)


def test_the_model_and_the_random_streams_are_unchanged():
    net = convnet().train()
    loss = net(torch.rand(4, 3, 12, 12)).sum()  # gradients that accumulate
    loss.backward()
    grads = [p.grad.clone() for p in net.parameters()]
    before = copy.deepcopy(net.state_dict())
    streams = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    maximize_activations(net, (3, 12, 12), [0, "0:1"], steps=4)
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), grads, strict=True))
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert torch.equal(streams[0], torch.get_rng_state())
    assert streams[1:] == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    assert all(module.training for module in net.modules())
    assert not any(module._forward_hooks for module in net.modules())


def test_without_targets_there_are_no_images():
    found = maximize_activations(convnet(), (3, 12, 12), [])
    assert found.images.shape == (0, 3, 12, 12)
    assert found.before == found.after == ()


# --- wrong arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([3], "expected class indices below 3"),
        (["3:6"], "expected channels below 6, got '3:6'"),
        (["1O:0"], "unknown layer '1O'"),
        (["[03]:0"], "expected one layer"),
        (["3"], "'<layer>:<number>', got '3'"),
        (["3:-1"], "'<layer>:<number>'"),
        ([-2], "0 or more, got -2"),
    ],
    ids=str,
)
def test_wrong_targets_are_reported_and_leave_no_hook(targets, message):
    net = convnet()
    with pytest.raises(ValueError, match=message):
        maximize_activations(net, (3, 12, 12), targets, steps=1)
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("target", [1.0, True, None, ("3", 1)], ids=str)
def test_other_types_are_reported(target):
    with pytest.raises(TypeError, match="expected a class index"):
        check_activation_target(target)


def test_a_model_without_gradients_is_reported():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = convnet()

        def forward(self, x):
            with torch.no_grad():
                return self.net(x)

    with pytest.raises(ValueError, match="does not depend on the image"):
        maximize_activations(Cut(), (3, 12, 12), [0], steps=1)


@pytest.mark.parametrize(("shape", "steps"), [((12, 12), 1), ((3, 0, 12), 1), ((3, 12, 12), -1)])
def test_shapes_and_steps_are_checked(shape, steps):
    with pytest.raises(ValueError, match="expected shape"):
        maximize_activations(convnet(), shape, [0], steps=steps)
