"""Messages name near misses and what they got."""

import pytest
import torch

from lightning_cam.runtime.messages import describe, unknown_name

KNOWN = ["gradcam", "layercam", "hirescam"]


@pytest.mark.parametrize(
    ("got", "hint"),
    [
        ("grad-cam", " Did you mean 'gradcam'"),
        ("GRADCAM", " Did you mean 'gradcam'"),
        ("zzz", " Known:"),
        (3, " Known:"),
    ],
)
def test_near_misses_come_first(got, hint):
    message = unknown_name("method", got, KNOWN)
    assert message.startswith(f"unknown method {got!r}.{hint}")
    assert message.endswith("Known: gradcam, layercam, hirescam.")


def test_long_lists_may_be_left_out():
    names = [f"layer{n}" for n in range(500)]
    message = unknown_name("layer", "layer499.", names, list_all=False)
    assert "layer499'" in message
    assert "Known" not in message


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.zeros(2, 3), "shape (2, 3), dtype torch.float32"),
        ("text", "a str"),
        (None, "a NoneType"),
    ],
)
def test_values_are_described_by_shape_or_type(value, expected):
    assert describe(value) == expected
