"""Tensors whose height, width and channels are equal: the layout by how they were computed."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_cam import compute_cams
from lightning_cam.explain.activation_maximization import maximize_activations
from lightning_cam.explain.candidate_layers import candidate_layers
from lightning_cam.explain.channel_axis import channels_last
from lightning_cam.explain.features import feature_maps
from lightning_cam.explain.layout import Layout, infer_layout
from lightning_cam.explain.targets import resolve_target

SIDE = 6
IMAGES = torch.rand(2, 3, 4 * SIDE, 4 * SIDE, generator=torch.Generator().manual_seed(0))


class Cube(nn.Module):
    """A stem of 6×6 cells, and a block whose output is (B, 6, 6, 6), channels first or last."""

    def __init__(self, *, last):
        super().__init__()
        torch.manual_seed(1)
        self.last = last
        self.stem = nn.Conv2d(3, SIDE, 4, stride=4)
        self.norm = nn.LayerNorm(SIDE)
        self.mlp = nn.Sequential(nn.Linear(SIDE, 4 * SIDE), nn.GELU(), nn.Linear(4 * SIDE, SIDE))
        self.scale = nn.Parameter(torch.rand(SIDE))
        self.act = nn.Tanh()
        self.fc = nn.Linear(SIDE, 3)

    def features(self, x):
        x = self.stem(x).permute(0, 2, 3, 1)
        x = x + self.scale * self.mlp(self.norm(x)).roll((1, 2), dims=(1, 2))
        return x if self.last else x.permute(0, 3, 1, 2)

    def forward(self, x):
        x = self.act(self.features(x))
        return self.fc(x.mean((1, 2) if self.last else (2, 3)))


@pytest.fixture(params=[True, False], ids=["channels last", "channels first"])
def cube(request):
    return Cube(last=request.param)


def acts_and_grads(net, classes):
    acts = net.act(net.features(IMAGES)).detach().requires_grad_()
    scores = net.fc(acts.mean((1, 2) if net.last else (2, 3)))[range(2), classes]
    (grads,) = torch.autograd.grad(scores.sum(), acts)
    moved = (0, 3, 1, 2) if net.last else (0, 1, 2, 3)
    return acts.detach().permute(moved), grads.permute(moved)


@pytest.mark.parametrize("layer", ["act", "auto"])
def test_maps_of_a_cube(cube, layer):
    result = compute_cams(cube, IMAGES, [0, 2], method=["gradcam", "eigencam"], layers=layer)
    acts, grads = acts_and_grads(cube, [0, 2])
    expected = (grads.mean((2, 3), keepdim=True) * acts).sum(1).relu()
    torch.testing.assert_close(result.maps["gradcam", "act"], expected)


def test_maps_without_a_class_and_in_chunks(cube):
    acts, _ = acts_and_grads(cube, [0, 2])
    result = compute_cams(cube, IMAGES, method="channel_mean", layers="act", chunk_size=1)
    torch.testing.assert_close(result.maps["channel_mean", "act"], acts.mean(1).relu())
    (features,) = feature_maps(cube, IMAGES, "act", [0, 4]).values()
    torch.testing.assert_close(features.maps, acts[:, [0, 4]])


def test_frozen_networks(cube):
    cube.requires_grad_(requires_grad=False)
    acts, _ = acts_and_grads(cube, [0, 2])
    with torch.no_grad():
        result = compute_cams(cube, IMAGES, method="channel_mean", layers="act")
    torch.testing.assert_close(result.maps["channel_mean", "act"], acts.mean(1).relu())


def test_the_listing_says_where_the_channels_are(cube):
    kind = "nhwc" if cube.last else "nchw"
    found = {c.name: c for c in candidate_layers(cube, IMAGES, resolve_target(0, 1))}
    assert found["act"].layout == Layout(kind, (SIDE, SIDE), SIDE)
    assert found["stem"].layout.kind == "nchw"
    assert found["norm"].layout.kind == "nhwc"


def test_activation_maximisation_takes_a_channel(cube):
    result = maximize_activations(cube, IMAGES.shape[1:], ["act:2"], steps=1)
    acts = cube.act(cube.features(result.images)).detach()
    channel = acts[..., 2] if cube.last else acts[:, 2]
    assert result.after[0] == pytest.approx(channel.mean().item(), abs=1e-5)


def test_a_tall_image_whose_width_in_cells_equals_its_channels():
    """(B, 8, 4, 2) of an image of 2:1 is two channels of 8×4 cells, or eight of 4×2."""
    assert infer_layout((1, 8, 4, 2), (64, 32)) == Layout("nchw", (4, 2), 8)
    last = infer_layout((1, 8, 4, 2), (64, 32), channels_last=lambda: True)
    assert last == Layout("nhwc", (8, 4), 2)


def test_only_ambiguous_shapes_are_asked_about():
    def asked():
        raise AssertionError

    assert infer_layout((1, 7, 7, 8), (224, 224), channels_last=asked).kind == "nhwc"
    assert infer_layout((1, 8, 7, 7), (224, 224), channels_last=asked).kind == "nchw"


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (lambda x: F.conv2d(x, torch.rand(4, 4, 1, 1)), False),
        (lambda x: F.avg_pool2d(x, 3, 1, 1).relu(), False),
        (lambda x: F.group_norm(x, 2), False),
        (lambda x: F.batch_norm(x, torch.zeros(4), torch.ones(4)), False),
        (lambda x: F.linear(x, torch.rand(4, 4), torch.rand(4)), True),
        (lambda x: F.gelu(F.linear(x, torch.rand(4, 4))) * 2 + 1, True),
        (lambda x: F.layer_norm(x, (4,)), True),
        (lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2), False),
        (lambda x: F.conv2d(x, torch.rand(4, 4, 1, 1)).transpose(1, -1), True),
        (lambda x: F.linear(x.reshape(1, 16, 4), torch.rand(4, 4)).view(1, 4, 4, 4), True),
        (lambda x: x * F.linear(x.mean((2, 3)), torch.rand(4, 4)).view(1, 4, 1, 1), False),
        (lambda x: F.layer_norm(x, (4, 4, 4)), None),
        (torch.tanh, None),
    ],
)
def test_operations_that_tell_the_axis_of_the_channels(operation, expected):
    assert channels_last(operation(torch.rand(1, 4, 4, 4).requires_grad_())) is expected


def test_without_a_graph_nothing_tells():
    assert channels_last(torch.rand(1, 4, 4, 4)) is None


@pytest.mark.zoo
def test_swin_at_384_pixels():
    """Its first stage has 96×96 cells and 96 channels."""
    timm = pytest.importorskip("timm")
    net = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=384, window_size=12, num_classes=5
    ).eval()
    images = torch.rand(1, 3, 384, 384)
    kinds = {c.name: c.layout for c in candidate_layers(net, images, resolve_target(0, 1))}
    assert kinds["layers.0"] == Layout("nhwc", (96, 96), 96)
    result = compute_cams(net, images, 0, method="channel_mean", layers="layers.0.blocks.1")
    acts = net.layers[0](net.patch_embed(images)).detach().permute(0, 3, 1, 2)
    torch.testing.assert_close(
        result.maps["channel_mean", "layers.0.blocks.1"], acts.mean(1).relu(), atol=1e-5, rtol=1e-4
    )
