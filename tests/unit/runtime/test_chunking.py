"""Batches run in parts whose size suits the device, and give the same maps."""

import pytest
import torch

from lightning_cam import compute_cams
from lightning_cam.runtime.batching import default_chunk_size


@pytest.mark.parametrize(
    ("side", "threads", "expected"),
    [(224, 1, 4), (224, 2, 8), (224, 9, 36), (32, 1, 64), (112, 1, 16), (448, 2, 2), (4000, 1, 1)],
)
def test_a_processor_takes_few(monkeypatch, side, threads, expected):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert default_chunk_size(torch.empty(1, 3, 1, 1).expand(9, 3, side, side)) == expected


def test_an_accelerator_takes_64():
    assert default_chunk_size(torch.empty(9, 3, 224, 224, device="meta")) == 64


def test_parts_give_the_maps_of_the_whole():
    torch.manual_seed(0)
    body = torch.nn.Conv2d(3, 4, 3, stride=16)
    net = torch.nn.Sequential(
        body, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    net.append(torch.nn.Linear(4, 5))
    images = torch.rand(5, 3, 224, 224)
    seen = []
    handle = body.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    parts = compute_cams(net, images, layers="0")
    size = default_chunk_size(images)
    assert size < len(images)
    assert max(seen) == size
    seen.clear()
    whole = compute_cams(net, images, layers="0", chunk_size=5)
    handle.remove()
    assert max(seen) == 5
    torch.testing.assert_close(parts["gradcam", "0"], whole["gradcam", "0"])
    torch.testing.assert_close(parts.logits, whole.logits)
