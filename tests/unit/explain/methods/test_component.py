"""Principal components: smoothing by them, images that are not finite; random maps."""

import numpy as np
import pytest
import torch
from helpers.method_nets import SIZE, STRIDE, conv_net, images_of, likely_classes, map_of
from helpers.nets import ConvNet
from helpers.oracles import activations, relative_error, svd

from lightning_cam import compute_cams


@pytest.mark.parametrize(
    ("method", "parts"),
    [
        ("gradcam", lambda acts, grads: grads.mean((2, 3), keepdim=True) * acts),
        ("hirescam", lambda acts, grads: grads * acts),
        ("layercam", lambda acts, grads: grads.relu() * acts),
        ("elementwise_gradcam", lambda acts, grads: (grads * acts).relu()),
        ("cam", None),
    ],
)
def test_component_smoothing_is_numpys_first_component_of_the_contributions(method, parts):
    net, images = conv_net("gap" if method == "cam" else "curved"), images_of()
    classes = net(images).argmax(1) if method == "cam" else likely_classes(net, images)

    def contributions_of(net, images, classes):
        acts = activations(net, images)
        if parts is None:
            return net.head.weight[classes].detach()[:, :, None, None] * acts
        leaf = acts.clone().requires_grad_()
        tail = net[list(dict(net.named_children())).index("layer") + 1 :]
        (grads,) = torch.autograd.grad(tail(leaf).gather(1, classes[:, None]).sum(), leaf)
        return parts(acts, grads)

    maps = map_of(net, images, classes, method, eigen_smooth=True)
    assert relative_error(maps, svd(contributions_of)(net, images, classes)) <= 1e-4


def test_hirescam_with_component_smoothing_is_eigengradcam():
    net, images = conv_net(), images_of()
    torch.testing.assert_close(
        map_of(net, images, 1, "hirescam", eigen_smooth=True),
        map_of(net, images, 1, "eigengradcam"),
    )


@pytest.mark.parametrize("method", ["eigencam", "eigengradcam", "gradcam"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_image_that_is_not_finite_gives_nan_for_its_own_map_only(method, value):
    net, images = conv_net(), images_of(6)
    expected = map_of(net, images, 1, method, eigen_smooth=True)
    images[2, 0, 4, 4] = value
    maps = map_of(net, images, 1, method, eigen_smooth=True)
    assert maps[2].isnan().all()
    kept = [0, 1, 3, 4, 5]
    torch.testing.assert_close(maps[kept], expected[kept])


def test_random_maps_are_uniform_noise_in_the_layers_shape():
    maps = compute_cams(conv_net(), images_of(40), method="random", layers="stem")["random", "stem"]
    assert maps.shape == (40, SIZE // STRIDE, SIZE // STRIDE)
    levels, _ = np.histogram(maps.numpy(), bins=4, range=(0, 1))
    assert levels.sum() == maps.numel()
    assert levels.min() > 0.85 * maps.numel() / 4
    assert len(torch.unique(maps.flatten(1), dim=0)) == 40


def test_without_targets_the_layer_is_found_by_all_outputs():
    net, images = ConvNet(), torch.rand(2, 3, 16, 16)
    found = compute_cams(net, images, method="eigencam")
    named = compute_cams(net, images, [0, 1], method="eigencam")
    assert found.maps.keys() == named.maps.keys()
    for key, maps in found.maps.items():
        torch.testing.assert_close(maps, named.maps[key])
