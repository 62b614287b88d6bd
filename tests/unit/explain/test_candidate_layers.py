"""Which layers are candidates, and which one `"auto"` chooses, rule by rule on small networks."""

import pytest
import torch
from torch import nn

from lightning_cam import compute_cams
from lightning_cam.explain.candidate_layers import (
    cached_candidate_layers,
    candidate_layers,
    choose_layer,
    format_candidates,
)
from lightning_cam.explain.targets import ClassTarget

IMAGES = torch.rand(2, 3, 16, 16)


def chosen(net):
    return choose_layer(candidate_layers(net.eval(), IMAGES, ClassTarget())).name


class Pooled(nn.Module):
    """Returns features and their pooled values, of which only the latter are used."""

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


def test_a_container_whose_features_are_not_used_is_not_chosen():
    assert chosen(Wrapped()) == "body.stage"
    assert ("gradcam", "body.stage") in compute_cams(Wrapped().eval(), IMAGES, 0).maps


def test_a_layer_that_does_not_depend_on_the_image_is_not_chosen():
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


def test_the_stream_of_tokens_has_the_width_that_blocks_return_most_often():
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


def test_a_tensor_that_is_passed_on_later_keeps_its_place_in_the_order():
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
def test_an_attention_block_is_a_candidate(kind):
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


# --- the list -------------------------------------------------------------------------------------


def plain_net():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3),
    )  # fmt: skip


def test_candidates_are_in_order_of_execution_with_layout_and_drawback():
    first, second = candidate_layers(plain_net(), IMAGES, ClassTarget())
    assert (first.name, first.kind, first.drawback) == ("0", "Conv2d", "")
    assert str(first) == "0  Conv2d  4×16×16"
    assert (second.name, second.drawback) == ("1", "after a pooling")
    assert str(second) == "1  MaxPool2d  4×8×8  (after a pooling)"


def test_a_tensor_with_several_names_is_one_candidate():
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Identity()), *plain_net()[2:])
    (candidate,) = candidate_layers(net, IMAGES, ClassTarget())
    assert candidate.name == "0"
    assert set(candidate.aliases) == {"0.0", "0.1"}


def test_a_layer_with_a_drawback_is_chosen_where_there_is_no_other():
    net = nn.Sequential(nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    assert chosen(net) == "0"


def test_without_candidates_an_error_says_what_to_do():
    with pytest.raises(ValueError, match=r"found no layer with a spatial output.*layers=\.\.\."):
        chosen(nn.Sequential(nn.Flatten(), nn.Linear(768, 3)))


def test_messages_list_the_last_candidates():
    candidates = candidate_layers(plain_net(), IMAGES, ClassTarget())
    text = format_candidates(candidates * 10)
    assert text.splitlines()[1:] == [f"  {candidate}" for candidate in candidates] * 6


def test_the_network_and_its_hooks_are_unchanged():
    net = plain_net().train()
    before = torch.get_rng_state()
    candidate_layers(net, IMAGES, ClassTarget())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for module in net.modules())
    assert not any(module._forward_hooks for module in net.modules())
    assert all(p.grad is None for p in net.parameters())


def test_candidates_are_cached_until_modules_or_image_shape_change():
    net, target = plain_net(), ClassTarget()
    first = cached_candidate_layers(net, IMAGES, target)
    assert cached_candidate_layers(net, IMAGES * 2, target) is first
    assert cached_candidate_layers(net, torch.rand(1, 3, 8, 8), target) is not first
    first = cached_candidate_layers(net, IMAGES, target)
    net[0] = nn.Conv2d(3, 4, 3, padding=1)
    assert cached_candidate_layers(net, IMAGES, target) is not first


class Squaring(nn.Module):
    """Resizes any image to a square."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, images):
        square = nn.functional.interpolate(images, size=(16, 16))
        return self.fc(self.last(self.conv(square)).relu().mean((2, 3)))


def test_layers_of_a_model_that_changes_the_image_s_proportions_are_found():
    found = candidate_layers(Squaring(), torch.rand(2, 3, 10, 24), ClassTarget(None))
    assert choose_layer(found).name == "last"
    assert choose_layer(found).layout.grid == (16, 16)
