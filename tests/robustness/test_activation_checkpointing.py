"""Networks that recompute activations in the backward pass get the same maps."""

import pytest
import torch
from robustness.non_interference.modules import Checkpointed
from torch.utils import checkpoint as torch_checkpoint

from lightning_cam import compute_cams

METHODS = ("gradcam", "layercam", "fullgrad", "smoothgrad", "guided_backprop")


@pytest.mark.parametrize("layers", ["auto", ["first", "second.0"]], ids=["auto", "two"])
@pytest.mark.parametrize("parts", [("classify",), ("first", "second", "classify")], ids=len)
@pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "not reentrant"])
def test_recomputed_parts_give_the_same_maps(reentrant, parts, layers):
    images, labels = torch.rand(3, 3, 16, 16), torch.tensor([0, 1, 2])
    plain, recomputed = Checkpointed((), reentrant=False), Checkpointed(parts, reentrant=reentrant)
    found, expected = (
        compute_cams(net, images, labels, method=METHODS, layers=layers).maps
        for net in (recomputed, plain)
    )
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert all(parameter.grad is None for parameter in recomputed.parameters())


def test_checkpointing_works_again_after_an_error():
    before = dict(vars(torch_checkpoint))

    def fails(_):
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        compute_cams(Checkpointed((), reentrant=True), torch.rand(1, 3, 16, 16), fails)
    assert all(vars(torch_checkpoint)[name] is value for name, value in before.items())
