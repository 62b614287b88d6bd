"""`layers=`: names, globs, positions and modules; what `"auto"` chooses on known networks."""

import pytest
import torch
from helpers.nets import ChannelsLast, ConvNet, Tokens
from torch import nn
from torchvision import models

from lightning_cam import compute_cams
from lightning_cam.explain.candidate_layers import candidate_layers, choose_layer
from lightning_cam.explain.targets import resolve_target

IMAGES = torch.rand(2, 3, 16, 16)


def chosen_layer(net, images):
    return choose_layer(candidate_layers(net, images, resolve_target(0, 1))).name


def layers_of(net, layers, images=IMAGES, targets=0):
    return [layer for _, layer in compute_cams(net, images, targets, layers=layers).maps]


class Deep(nn.Module):
    """Stages under a prefix, as Lightning modules hold their networks."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential()
        for name in ("layer1", "layer2", "layer3"):
            self.backbone.add_module(name, nn.Sequential(nn.Conv2d(3, 3, 1), nn.Tanh()))
        self.neck = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Tanh())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(3, 4)

    def forward(self, x):
        return self.head(self.pool(self.neck(self.backbone(x))).flatten(1))


# --- names, globs, positions, modules -------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ("neck", ["neck"]),
        ("backbone.layer2.0", ["backbone.layer2.0"]),
        (["neck.0", "backbone.layer1"], ["neck.0", "backbone.layer1"]),
        (("neck.0",), ["neck.0"]),
        (["neck", "neck"], ["neck"]),
        ("backbone.layer?", ["backbone.layer1", "backbone.layer2", "backbone.layer3"]),
        ("backbone.layer[13]", ["backbone.layer1", "backbone.layer3"]),
        ("*.layer2.*", ["backbone.layer2.0", "backbone.layer2.1"]),
        (["neck", "n*k"], ["neck"]),
        ("layer2", ["backbone.layer2"]),  # the end of a name is enough where only one has it
        ("layer2.0", ["backbone.layer2.0"]),
        (["auto", "neck.0"], ["neck", "neck.0"]),
    ],
)
def test_names_and_globs(layers, names):
    assert layers_of(Deep(), layers) == names


def test_modules_can_be_given():
    net = Deep()
    assert layers_of(net, net.neck[0]) == ["neck.0"]
    assert layers_of(net, [net.backbone.layer1, "neck"]) == ["backbone.layer1", "neck"]


def test_negative_positions_count_from_the_last_candidate():
    net = Deep()
    found = [layers_of(net, position)[0] for position in (-1, -2, -3, -4)]
    assert found == ["neck", "neck.0", "backbone", "backbone.layer3.0"]
    assert layers_of(net, [-1, -3]) == ["neck", "backbone"]


def test_a_module_that_is_not_in_the_model_is_reported():
    with pytest.raises(ValueError, match="got a Conv2d that is not in it"):
        layers_of(Deep(), nn.Conv2d(3, 3, 1))


@pytest.mark.parametrize("layers", [[], ()])
def test_an_empty_sequence_is_reported(layers):
    with pytest.raises(ValueError, match="at least one layer, got an empty sequence"):
        layers_of(Deep(), layers)


@pytest.mark.parametrize("layers", [1.5, None, [None], [("neck",)], True, {"neck"}])
def test_other_types_are_reported(layers):
    with pytest.raises(TypeError, match="layer"):
        layers_of(Deep(), layers)


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("nek", "'neck'"),
        ("backbone.layer4", "'backbone.layer3'"),
        ("backbone.layr2", "'backbone.layer2'"),
    ],
)
def test_an_unknown_name_is_reported_with_near_misses_and_candidates(typo, meant):
    with pytest.raises(ValueError, match=rf"unknown layer '{typo}'\. Did you mean") as raised:
        layers_of(Deep(), typo)
    message = str(raised.value)
    assert meant in message
    assert "neck  Sequential  3×16×16" in message


def test_a_glob_that_matches_nothing_is_reported():
    with pytest.raises(ValueError, match="unknown layer 'stage\\*'"):
        layers_of(Deep(), "stage*")


@pytest.mark.parametrize("position", [0, 3, -99])
def test_positions_out_of_range_are_reported(position):
    with pytest.raises(ValueError, match=rf"position from -\d+ to -1, got {position}"):
        layers_of(Deep(), position)


def test_an_ambiguous_end_of_a_name_is_reported():
    with pytest.raises(ValueError, match=r"backbone\.layer1\.0.*backbone\.layer2\.0|neck\.0"):
        layers_of(Deep(), "0")


def test_an_unknown_name_is_reported_although_the_model_raises():
    """The list of candidates needs a forward pass; the message does not."""

    class Broken(Deep):
        def forward(self, x):
            raise RuntimeError("broken")

    with pytest.raises(ValueError, match="unknown layer 'nek'"):
        layers_of(Broken(), "nek")


# --- auto -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "size", "layer"),
    [
        (models.resnet18, 64, "layer4"),
        (models.densenet121, 64, "features"),
        (models.mobilenet_v2, 64, "features"),
        (models.efficientnet_b0, 64, "features"),
        (models.convnext_tiny, 64, "features"),
        (models.swin_t, 64, "norm"),
        (
            lambda: models.vit_b_16(image_size=64),
            64,
            "encoder.layers.encoder_layer_11.ln_1",
        ),
    ],
    ids=["resnet18", "densenet121", "mobilenet_v2", "efficientnet_b0", "convnext", "swin", "vit"],
)
def test_auto_chooses_the_usual_layer_of_known_networks(make, size, layer):
    net = make().eval()
    assert chosen_layer(net, torch.rand(1, 3, size, size)) == layer


@pytest.mark.slow
def test_auto_chooses_the_last_relu_before_the_last_pooling_of_vgg():
    net = models.vgg11(init_weights=False)
    net.classifier = nn.Linear(512 * 7 * 7, 10)
    assert layers_of(net, "auto", torch.rand(1, 3, 64, 64)) == ["features.19"]


@pytest.mark.parametrize(
    ("make", "layer"),
    [
        (ConvNet, "b"),
        (Deep, "neck"),
        (lambda: Tokens(prefix=1), "block"),
        (lambda: Tokens(prefix=5), "block"),
        (lambda: Tokens(prefix=0), "norm"),
        (ChannelsLast, "block"),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(784, 3)),
            "1",
        ),
        (
            lambda: nn.Sequential(
                nn.Conv2d(3, 4, 3),
                nn.ReLU(),
                nn.Conv2d(4, 3, 1),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
            ),
            "1",
        ),
    ],
    ids=[
        "functional",
        "nested",
        "class token",
        "registers",
        "bare tokens",
        "channels last",
        "flatten",
        "fully convolutional",
    ],
)
def test_auto_on_small_networks_of_all_layouts(make, layer):
    assert layers_of(make(), "auto") == [layer]


@pytest.mark.parametrize("targets", [None, 1, [0, 1], lambda out: out[:, 0]])
def test_auto_works_with_a_head_of_zeros(targets):
    net = Deep()
    nn.init.zeros_(net.head.weight)
    nn.init.zeros_(net.head.bias)
    assert layers_of(net, "auto", targets=targets) == ["neck"]


@pytest.mark.parametrize("frozen", [True, False])
def test_auto_works_with_frozen_parameters(frozen):
    assert layers_of(Deep().requires_grad_(not frozen), "auto") == ["neck"]


def test_auto_follows_the_score_and_not_the_order_of_execution():
    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.left(x).tanh().mean((2, 3)), self.right(x).tanh().mean((2, 3))

    net = TwoHeads()
    assert layers_of(net, "auto", targets=lambda out: out[0][:, 0]) == ["left"]
    assert layers_of(net, "auto", targets=lambda out: out[1][:, 0]) == ["right"]


def test_auto_chooses_anew_after_the_model_changed():
    net = Deep()
    assert layers_of(net, "auto") == ["neck"]
    net.neck = nn.Identity()
    assert layers_of(net, "auto") == ["backbone"]


def test_auto_without_candidates_is_reported():
    net = nn.Sequential(nn.Flatten(), nn.Linear(768, 3))
    with pytest.raises(ValueError, match=r"no layer with a spatial output.*layers=\.\.\."):
        layers_of(net, "auto")


def test_auto_is_the_same_in_every_mode_of_torch():
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        net = Deep()
        with mode():
            assert layers_of(net, "auto", targets=None) == ["neck"]


def test_candidates_of_a_nested_network_have_aliases_and_no_drawback():
    net = Deep()
    candidates = {c.name: c for c in candidate_layers(net, IMAGES, resolve_target(0, 2))}
    assert candidates["neck"].drawback == ""
    assert "neck.1" in candidates["neck"].aliases
    assert str(candidates["neck"]) == "neck  Sequential  3×16×16"
    assert choose_layer(list(candidates.values())).name == "neck"


# --- modules with several names -------------------------------------------------------------------


class TwoNames(nn.Module):
    """One convolution registered as `first` and as `second.conv`, run once."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Module()
        self.second.conv = self.first
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.second.conv(x).tanh().mean((2, 3)))


def test_a_shared_module_has_the_same_maps_under_each_of_its_names():
    net = TwoNames()
    maps = compute_cams(net, IMAGES, 0, layers=["first", "second.conv"]).maps
    assert [layer for _, layer in maps] == ["first", "second.conv"]
    assert torch.equal(*maps.values())
    for name, found in maps.items():
        assert torch.equal(compute_cams(net, IMAGES, 0, layers=name[1]).maps[name], found)


def test_a_shared_module_is_listed_and_found_once_under_its_first_name():
    net = TwoNames()
    assert [c.name for c in candidate_layers(net, IMAGES, resolve_target(0, 1))] == ["first"]
    for layers in ("auto", -1, net.second.conv, ["first", net.first]):
        assert layers_of(net, layers) == ["first"]
    assert layers_of(net, "*[tv]") == ["first"]
    assert layers_of(net, "conv") == ["second.conv"]


def test_the_end_of_a_name_may_fit_several_names_of_one_module():
    net = TwoNames()
    net.third = nn.Module()
    net.third.conv = net.first
    assert layers_of(net, "conv") == ["second.conv"]
    assert layers_of(net, "*.conv") == ["second.conv"]
