"""Attention methods: fused and explicit attention, dependence on the class."""

import pytest
import torch
from helpers.method_nets import images_of, map_of, timm_vit, torchvision_vit
from helpers.oracles import relative_error


@pytest.mark.parametrize("method", ["rollout", "gradient_attention"])
def test_fused_attention_has_the_maps_of_explicit_attention(method):
    net, images = timm_vit(fused=True), images_of(3, 16)
    fused = map_of(net, images, 1, method)
    for block in net.blocks:
        block.attn.fused_attn = False
    assert relative_error(fused, map_of(net, images, 1, method)) <= 1e-5


def test_gradient_attention_depends_on_the_class_and_rollout_does_not():
    net, images = torchvision_vit(), images_of(3, 16)
    maps = {
        m: [map_of(net, images, k, m) for k in (0, 1)] for m in ("rollout", "gradient_attention")
    }
    torch.testing.assert_close(*maps["rollout"])
    assert relative_error(*maps["gradient_attention"]) > 0.01
