"""`compute_cams` under other precisions, modes of torch, in-place operations and wrappers."""

import math

import pytest
import torch
from helpers.nets import ConvNet
from torch import nn
from torch.nn import functional as F

from lightning_cam import compute_cams

METHODS = ["gradcam", "hirescam", "layercam"]


# --- precision ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_models_of_other_precision_give_float32_maps(dtype):
    net, images = ConvNet(), torch.rand(3, 3, 8, 8)
    expected = compute_cams(net, images, 1, method=METHODS, layers="b")
    result = compute_cams(net.to(dtype), images.to(dtype), 1, method=METHODS, layers="b")
    assert result.logits.dtype == torch.float32
    for key, maps in result.maps.items():
        assert maps.dtype == torch.float32
        tolerance = 0.05 * expected[key].max().item() if dtype == torch.bfloat16 else 1e-7
        torch.testing.assert_close(maps, expected[key], atol=tolerance, rtol=0.05)


@pytest.mark.filterwarnings("ignore:.*CPU Autocast.*")
def test_under_autocast_the_model_runs_in_its_precision_and_maps_are_float32():
    net, images = ConvNet(), torch.rand(3, 3, 8, 8)
    full = compute_cams(net, images, 1, method=METHODS, layers="b")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = net(images)
        result = compute_cams(net, images, 1, method=METHODS, layers="b")
        assert torch.is_autocast_enabled("cpu")
    assert logits.dtype == torch.bfloat16
    assert torch.equal(result.logits, logits.float())
    assert not torch.equal(result.logits, full.logits)
    for key, maps in result.maps.items():
        assert maps.dtype == torch.float32
        torch.testing.assert_close(maps, full[key], atol=0.05 * full[key].max().item(), rtol=0.05)


def test_a_training_step_in_the_same_autocast_has_the_same_gradients():
    """Autocast caches cast weights; those of a pass without a graph must not remain there."""
    net, images = ConvNet(), torch.rand(2, 3, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        compute_cams(net, images, 1, layers="b")
        net(images).float().sum().backward()
    got = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        net(images).float().sum().backward()
    for grad, parameter in zip(got, net.parameters(), strict=True):
        assert torch.equal(grad, parameter.grad)


# --- modes of torch and of the model --------------------------------------------------------------


def _expected(net, images):
    return compute_cams(net, images, [0, 1], method=METHODS, layers=["a", "b"])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("targets", [None, 1, [0, 1], torch.tensor([0, 1]), lambda y: y[:, 1]])
def test_grad_and_inference_mode_outside_do_not_change_maps(mode, targets):
    net, images = ConvNet(), torch.rand(2, 3, 8, 8)
    expected = compute_cams(net, images, targets, method=METHODS, layers=["a", "b"])
    with mode():
        result = compute_cams(net, images, targets, method=METHODS, layers=["a", "b"])
    for key, maps in expected.maps.items():
        assert torch.equal(result[key], maps)


def test_images_and_targets_may_be_inference_tensors():
    net, images = ConvNet(), torch.rand(2, 3, 8, 8)
    expected = _expected(net, images)
    with torch.inference_mode():
        made = images.clone()
        result = compute_cams(
            net, made, torch.tensor([0, 1]), method=METHODS, layers=["a", "b"], chunk_size=1
        )
    assert made.is_inference()
    for key, maps in expected.maps.items():
        torch.testing.assert_close(result[key], maps)


class OwnMode(ConvNet):
    """Runs its first convolutions under a mode of its own, as frozen backbones do."""

    def __init__(self, mode, depth):
        super().__init__()
        self.mode = mode
        self.depth = depth

    def forward(self, x):
        with self.mode():
            x = F.relu(self.a(x))
            if self.depth == 2:
                x = F.relu(self.b(x))
        x = x.clone() if x.is_inference() else x
        if self.depth == 1:
            x = F.relu(self.b(x))
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("around", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("layers", ["a", "b", ["a", "b"], ["b", "a"], "auto"], ids=str)
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_backbone_that_runs_under_its_own_mode_has_the_same_maps(mode, depth, layers, around):
    net, images = OwnMode(mode, depth), torch.rand(2, 3, 8, 8)
    plain = ConvNet()
    plain.load_state_dict(net.state_dict())
    with around():
        result = compute_cams(net, images, [0, 1], layers=layers)
    names = [layer for _, layer in result.maps]
    expected = compute_cams(plain, images, [0, 1], layers=names)
    for key, maps in expected.maps.items():
        torch.testing.assert_close(result[key], maps)


def test_activation_checkpointing_does_not_change_maps():
    class Checkpointed(ConvNet):
        def features(self, x):
            x = torch.utils.checkpoint.checkpoint(
                lambda t: F.relu(self.a(t)), x, use_reentrant=False
            )
            return torch.utils.checkpoint.checkpoint(
                lambda t: F.relu(self.b(t)), x, use_reentrant=False
            )

    net, images = Checkpointed(), torch.rand(2, 3, 8, 8)
    plain = ConvNet()
    plain.load_state_dict(net.state_dict())
    expected, result = _expected(plain, images), _expected(net, images)
    for key, maps in expected.maps.items():
        torch.testing.assert_close(result[key], maps)


def test_a_model_that_overwrites_its_input_does_not_change_the_images():
    class Overwriting(ConvNet):
        def forward(self, x):
            return super().forward(x.sub_(0.5).div_(0.25))

    net, images = Overwriting(), torch.rand(2, 3, 8, 8)
    plain = ConvNet()
    plain.load_state_dict(net.state_dict())
    kept = images.clone()
    result = _expected(net, images)
    assert torch.equal(images, kept)
    expected = _expected(plain, (kept - 0.5) / 0.25)
    for key, maps in expected.maps.items():
        torch.testing.assert_close(result[key], maps)


def test_images_that_require_gradients_get_no_gradients():
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    result = _expected(ConvNet(), images)
    assert images.grad is None
    assert images.requires_grad
    assert not any(maps.requires_grad for maps in result.maps.values())


def test_an_in_place_activation_can_be_the_layer():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    images = torch.randn(2, 3, 8, 8)
    result = compute_cams(net, images, 1, method="hirescam", layers=["0", "1"])
    net[1].inplace = False
    expected = compute_cams(net, images, 1, method="hirescam", layers=["0", "1"])
    for key, maps in expected.maps.items():
        assert torch.equal(result[key], maps)


def test_maps_that_are_not_finite_are_returned_unchanged():
    net = ConvNet()
    with torch.no_grad():
        net.b.bias[0] = math.nan
    assert compute_cams(net, torch.rand(1, 3, 8, 8), 0, layers="b")["gradcam", "b"].isnan().all()


# --- wrappers -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*DataParallel.*")
def test_data_parallel_does_not_change_maps():
    net, images = ConvNet(), torch.rand(2, 3, 8, 8)
    expected, result = _expected(net, images), _expected(nn.DataParallel(net), images)
    for key, maps in expected.maps.items():
        assert torch.equal(result[key], maps)


@pytest.mark.parametrize("how", ["whole", "part", "in place"])
def test_compiled_models_keep_their_names_and_graphs(how):
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    counter = CompileCounter()
    net, images = ConvNet(), torch.rand(2, 3, 8, 8)
    expected = _expected(net, images)
    if how == "whole":
        compiled = torch.compile(net, backend=counter)
    elif how == "part":
        net.b = torch.compile(net.b, backend=counter)
        compiled = net
    else:
        net.compile(backend=counter)
        compiled = net
    with torch.no_grad():
        compiled(images)
    graphs = counter.frame_count
    assert graphs > 0
    result = _expected(compiled, images)
    assert list(result.maps) == list(expected.maps)
    for key, maps in expected.maps.items():
        torch.testing.assert_close(result[key], maps)
    with torch.no_grad():
        compiled(images)
    assert counter.frame_count == graphs
    torch._dynamo.reset()
