"""Grad-CAM, HiResCAM and LayerCAM on networks whose gradients are known in closed form."""

import pytest
import torch
from torch import nn

from lightning_cam import compute_cams

# One image of two channels, two by two cells.
ACTS = torch.tensor([[[[1.0, 2.0], [3.0, 0.0]], [[4.0, 1.0], [0.0, 2.0]]]])
# A linear score's gradient is its weights: channel means 0.5 and -1.
WEIGHTS = torch.tensor([[[[1.0, -1.0], [2.0, 0.0]], [[-2.0, 1.0], [1.0, -4.0]]]])
EXPECTED = {
    "gradcam": [[0.0, 0.0], [1.5, 0.0]],  # .5*1-4, .5*2-1, .5*3-0, 0-2
    "hirescam": [[0.0, 0.0], [6.0, 0.0]],  # 1-8, -2+1, 6+0, 0-8
    "layercam": [[1.0, 1.0], [6.0, 0.0]],  # 1, 0+1, 6+0, 0
}


def _linear_in_cells():
    net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(8, 2, bias=False))
    with torch.no_grad():
        net[2].weight.copy_(torch.stack([WEIGHTS.flatten(), -WEIGHTS.flatten()]))
    return net


@pytest.mark.parametrize("method", EXPECTED)
def test_method_by_hand(method):
    result = compute_cams(_linear_in_cells(), ACTS, 0, method=method, layers="0")
    torch.testing.assert_close(result[method, "0"], torch.tensor([EXPECTED[method]]))


def test_maps_of_the_other_class_have_negated_gradients():
    result = compute_cams(_linear_in_cells(), ACTS, 1, method=list(EXPECTED), layers="0")
    expected = {
        "gradcam": [[3.5, 0.0], [0.0, 2.0]],
        "hirescam": [[7.0, 1.0], [0.0, 8.0]],
        "layercam": [[8.0, 2.0], [0.0, 8.0]],
    }
    for method, maps in expected.items():
        torch.testing.assert_close(result[method, "0"], torch.tensor([maps]))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        # S = sum(A^2) over both channels, so g = 2A and its channel means are 3 and 3.5.
        ("gradcam", [[3 * 1 + 3.5 * 4, 3 * 2 + 3.5 * 1], [3 * 3.0, 3.5 * 2]]),
        ("hirescam", [[34.0, 10.0], [18.0, 8.0]]),
        ("layercam", [[34.0, 10.0], [18.0, 8.0]]),
    ],
)
def test_maps_of_a_quadratic_score(method, expected):
    def energy(output):
        return output.square().flatten(1).sum(1)

    net = nn.Sequential(nn.Identity(), nn.Identity())
    result = compute_cams(net, ACTS, energy, method=method, layers="0")
    torch.testing.assert_close(result[method, "0"], torch.tensor([expected]))


def test_gradcam_equals_hirescam_before_pooling_and_a_linear_head():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )
    images = torch.rand(4, 3, 10, 10)
    result = compute_cams(net, images, [0, 1, 2, 3], method=["gradcam", "hirescam"], layers="1")
    assert result["gradcam", "1"].max() > 0
    torch.testing.assert_close(result["gradcam", "1"], result["hirescam", "1"])


def test_gradcam_equals_cam_before_pooling_and_a_linear_head():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )
    images = torch.rand(2, 3, 10, 10)
    features = net[:2](images)
    cam = torch.einsum("bchw,c->bhw", features, net[4].weight[3]).relu() / 64  # Zhou et al. 2016
    maps = compute_cams(net, images, 3, layers="1")["gradcam", "1"]
    torch.testing.assert_close(maps, cam.detach())


def test_layercam_ignores_negative_gradients():
    net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(8, 1, bias=False))
    nn.init.constant_(net[2].weight, -1.0)
    maps = compute_cams(net, ACTS, 1, method="layercam", layers="0")["layercam", "0"]
    assert torch.equal(maps, torch.zeros(1, 2, 2))
