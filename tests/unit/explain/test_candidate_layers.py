"""The survey's rules, each on a net small enough to see why."""

import pytest
import torch
from torch import nn

from lightning_cam import compute_cams
from lightning_cam.explain.candidate_layers import choose, survey
from lightning_cam.explain.targets import ClassTarget

IMAGES = torch.rand(2, 3, 16, 16)


def chosen(net):
    return choose(survey(net.eval(), IMAGES, ClassTarget())).name


class Pooled(nn.Module):
    """Returns a container whose features nobody reads on: the pooled ones are taken inside."""

    def __init__(self):
        super().__init__()
        self.stage = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, x):
        features = self.stage(x)
        return {"last_hidden_state": features, "pooler_output": features.mean((2, 3))}


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = Pooled()
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.body(x)["pooler_output"])


def test_a_container_whose_tensor_is_not_read_on_is_passed_over():
    assert chosen(Wrapped()) == "body.stage"
    assert ("gradcam", "body.stage") in compute_cams(Wrapped().eval(), IMAGES, 0).maps


def test_what_the_image_has_no_influence_on_is_passed_over():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Conv2d(3, 4, 4, stride=4)
            self.code = nn.Conv2d(2, 4, 1)
            self.register_buffer("grid", torch.rand(1, 2, 4, 4))
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.head((self.features(x) + self.code(self.grid)).mean((2, 3)))

    assert chosen(Positions()) == "features"


def test_the_stream_of_tokens_is_the_width_that_blocks_write_most():
    class Mixer(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Conv2d(3, 6, 4, stride=4)
            self.norm1, self.norm2 = nn.LayerNorm(6), nn.LayerNorm(6)
            self.wide, self.narrow = nn.Linear(6, 24), nn.Linear(24, 6)
            self.keys = nn.Linear(6, 12)
            self.head = nn.Linear(12, 3)

        def forward(self, x):
            tokens = self.norm1(self.embed(x).flatten(2).transpose(1, 2))
            tokens = self.norm2(tokens + self.narrow(self.wide(tokens).relu()))
            return self.head(self.keys(tokens).mean(1))

    assert chosen(Mixer()) == "norm2"


def test_a_tensor_passed_through_again_keeps_its_place():
    class Parallel(nn.Module):
        def __init__(self):
            super().__init__()
            self.early = nn.Conv2d(3, 4, 3, padding=1)
            self.late = nn.Conv2d(4, 4, 3, stride=2, padding=1)
            self.same = nn.Identity()
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            early = self.early(x)
            late = self.late(early)
            return self.head(torch.cat([late.mean((2, 3)), self.same(early).mean((2, 3))], 1))

    assert chosen(Parallel()) == "late"


@pytest.mark.parametrize("kind", ["ChannelAttentionBlock", "AttentionLayer"])
def test_a_whole_attention_block_is_not_inside_one(kind):
    class Inner(nn.Sequential):
        pass

    Inner.__name__ = kind
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        Inner(nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    assert chosen(net) == "1"
