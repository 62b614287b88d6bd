"""How models are called, how a state becomes text, and which sharding is refused."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lightning_cam.integrations.transformers_trainer import (
    call_with_keyword,
    check_sharding,
    packed,
    unpacked,
)


class Text(nn.Module):
    def forward(self, input_ids=None, pixel_values=None):
        return pixel_values


class Plain(nn.Module):
    def forward(self, x):
        return x


class Wrapper(nn.Module):
    def forward(self, *args, **kwargs):
        return kwargs["pixel_values"]


@pytest.mark.parametrize("kind", [Text, Plain, Wrapper])
def test_images_are_passed_by_keyword_where_there_is_one(kind):
    images = torch.rand(1, 3, 4, 4)
    assert call_with_keyword(kind(), images) is images


def test_a_state_survives_as_text():
    state = {"validations": 3, "probes": {"val": {"maps": torch.rand(2, 3), "n": [1.5, None]}}}
    text = packed(state)
    assert text.isascii()
    found = unpacked(text)
    assert torch.equal(found["probes"]["val"]["maps"], state["probes"]["val"]["maps"])
    assert found["validations"] == 3
    assert found["probes"]["val"]["n"] == [1.5, None]


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_a_state_that_holds_more_than_weights_is_not_read(capsys):
    with pytest.raises(Exception, match="Weights only load failed"):
        unpacked(packed({"evil": Evil()}))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("fsdp", "zero", "refused"),
    [(False, None, False), (True, None, True), (False, 2, False), (False, 3, True)],
)
def test_weights_in_parts_are_refused(fsdp, zero, refused):
    plugin = SimpleNamespace(zero_stage=zero)
    trainer = SimpleNamespace(
        is_fsdp_enabled=fsdp,
        is_deepspeed_enabled=zero is not None,
        accelerator=SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=plugin)),
    )
    if not refused:
        check_sharding(trainer)
        return
    with pytest.raises(ValueError, match="sharded by"):
        check_sharding(trainer)
