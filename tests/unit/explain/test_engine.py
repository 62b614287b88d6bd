import math

import pytest
import torch
from helpers.nets import ChannelsLast, Containers, ConvNet, Shared, Tokens
from torch import nn
from torch.nn import functional as F

from lightning_cam import compute_cams

METHODS = ["gradcam", "hirescam", "layercam"]


def by_hand(net, images, classes, features):
    """Return the three methods' maps of a layer whose output, made channels first, `features` is.

    The plain way: keep the whole graph, one backward pass from the logits to the features.
    """
    logits = net(images)
    score = logits[torch.arange(len(images)), torch.as_tensor(classes)].sum()
    (grads,) = torch.autograd.grad(score, features(), allow_unused=True)
    return logits.detach(), grads


def watched(net, module):
    """Return a function that gives what the module returned last."""
    kept = []
    module.register_forward_hook(lambda _m, _i, out: kept.append(out))
    return lambda: kept[-1]


def maps_of(acts, grads):
    acts = acts.detach()
    return {
        "gradcam": (grads.mean((2, 3), keepdim=True) * acts).sum(1).relu(),
        "hirescam": (grads * acts).sum(1).relu(),
        "layercam": (grads.relu() * acts).sum(1).relu(),
    }


# --- results ---


@pytest.mark.parametrize(
    ("make", "layer", "to_bchw"),
    [
        (ConvNet, "a", lambda t: t),
        (ConvNet, "b", lambda t: t),
        (ChannelsLast, "block", lambda t: t.permute(0, 3, 1, 2)),
        (Tokens, "block", lambda t: t[:, 1:].transpose(1, 2).reshape(3, 6, 4, 4)),
        (
            lambda: Tokens(prefix=5),
            "block",
            lambda t: t[:, 5:].transpose(1, 2).reshape(3, 6, 4, 4),
        ),
        (
            lambda: Tokens(prefix=0),
            "norm",
            lambda t: t.transpose(1, 2).reshape(3, 6, 4, 4),
        ),
    ],
    ids=["conv a", "conv b", "channels last", "class token", "registers", "bare tokens"],
)
def test_maps_are_those_of_a_plain_backward_pass(make, layer, to_bchw):
    net, images, classes = make().eval(), torch.randn(3, 3, 16, 16), [0, 2, 1]
    result = compute_cams(net, images, classes, method=METHODS, layers=layer)
    acts = watched(net, net.get_submodule(layer))
    logits, grads = by_hand(net, images, classes, acts)
    for method, expected in maps_of(to_bchw(acts()), to_bchw(grads)).items():
        torch.testing.assert_close(result[method, layer], expected)
    torch.testing.assert_close(result.logits, logits)


def test_a_grid_that_is_not_square():
    net = Tokens(prefix=1, cells=6 * 3).eval()
    images = torch.randn(2, 3, 24, 12)
    result = compute_cams(net, images, 1, layers="block")
    acts = watched(net, net.block)
    _, grads = by_hand(net, images, [1, 1], acts)
    as_grid = lambda t: t[:, 1:].transpose(1, 2).reshape(2, 6, 6, 3)
    torch.testing.assert_close(
        result["gradcam", "block"], maps_of(as_grid(acts()), as_grid(grads))["gradcam"]
    )


def test_results_say_what_they_are():
    net, images = ConvNet(), torch.rand(5, 3, 8, 6)
    result = compute_cams(net, images, [0, 1, 2, 0, 1], method=METHODS[:2], layers=["b", "a"])
    assert list(result.maps) == [
        ("gradcam", "b"),
        ("gradcam", "a"),
        ("hirescam", "b"),
        ("hirescam", "a"),
    ] or list(result.maps) == [
        ("gradcam", "b"),
        ("hirescam", "b"),
        ("gradcam", "a"),
        ("hirescam", "a"),
    ]
    for maps in result.maps.values():
        assert (maps.shape, maps.dtype) == ((5, 8, 6), torch.float32)
        assert not maps.requires_grad
    assert result.classes.tolist() == [0, 1, 2, 0, 1]
    assert result.rows.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(result.logits, net(images).detach())
    assert not result.logits.requires_grad


def test_a_batch_is_its_images_one_by_one():
    net, images, classes = ConvNet(), torch.randn(5, 3, 9, 9), [0, 2, 1, 1, 0]
    whole = compute_cams(net, images, classes, method=METHODS, layers=["a", "b"])
    for i, label in enumerate(classes):
        alone = compute_cams(net, images[i : i + 1], label, method=METHODS, layers=["a", "b"])
        for key, maps in alone.maps.items():
            torch.testing.assert_close(whole[key][i], maps[0])


@pytest.mark.parametrize("targets", [None, 1, [0, 2, 1, 1, 0], lambda out: out[:, 0] - out[:, 2]])
@pytest.mark.parametrize("chunk_size", [1, 2, 5])
def test_chunks_do_not_matter(targets, chunk_size):
    net, images = ConvNet(), torch.randn(5, 3, 9, 9)
    whole = compute_cams(net, images, targets, method=METHODS, layers=["a", "b"])
    parts = compute_cams(
        net, images, targets, method=METHODS, layers=["a", "b"], chunk_size=chunk_size
    )
    assert list(parts.maps) == list(whole.maps)
    for key, maps in whole.maps.items():
        torch.testing.assert_close(parts[key], maps)
    torch.testing.assert_close(parts.logits, whole.logits)
    assert torch.equal(parts.classes, whole.classes)
    assert torch.equal(parts.rows, whole.rows)


def test_chunks_bound_how_many_images_run_at_a_time():
    net, sizes = ConvNet(), []
    net.register_forward_pre_hook(lambda _m, inputs: sizes.append(len(inputs[0])))
    compute_cams(net, torch.rand(7, 3, 8, 8), 0, layers="b", chunk_size=3)
    assert sizes == [3, 3, 1]


def test_several_methods_and_layers_share_one_pass():
    net, calls = ConvNet(), []
    net.register_forward_hook(lambda *_: calls.append(1))
    compute_cams(net, torch.rand(2, 3, 8, 8), 0, method=METHODS, layers=["a", "b"])
    assert len(calls) == 1


def test_several_layers_give_what_each_gives_alone():
    net, images = ConvNet(), torch.randn(3, 3, 8, 8)
    both = compute_cams(net, images, 2, layers=["b", "a"])
    for layer in ("a", "b"):
        alone = compute_cams(net, images, 2, layers=layer)
        torch.testing.assert_close(both["gradcam", layer], alone["gradcam", layer])


def test_the_score_is_a_contrast_where_the_target_is_one():
    net, images = ConvNet(), torch.randn(2, 3, 8, 8)
    contrast = compute_cams(net, images, lambda y: y[:, 0] - y[:, 1], layers="b")["gradcam", "b"]
    with torch.no_grad():
        net.fc.weight[0] -= net.fc.weight[1]
    torch.testing.assert_close(contrast, compute_cams(net, images, 0, layers="b")["gradcam", "b"])


def test_a_model_in_training_is_looked_at_in_evaluation():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.Dropout(0.9),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    net[1].running_mean.normal_()
    images = torch.randn(4, 3, 8, 8)
    expected = compute_cams(net.eval(), images, 0, layers="0")["gradcam", "0"]
    assert torch.equal(compute_cams(net.train(), images, 0, layers="0")["gradcam", "0"], expected)


# --- sites ---


def test_a_module_that_runs_twice_has_two_sites():
    net, images = Shared().eval(), torch.randn(2, 3, 8, 8)
    result = compute_cams(net, images, 1, method=METHODS, layers="conv")
    assert {layer for _, layer in result.maps} == {"conv#0", "conv#1"}
    first = net.conv(images)
    second = net.conv(torch.tanh(first))
    score = net.fc(second.mean((2, 3)))[:, 1].sum()
    for site, acts in (("conv#0", first), ("conv#1", second)):
        (grads,) = torch.autograd.grad(score, acts, retain_graph=True)
        for method, expected in maps_of(acts, grads).items():
            torch.testing.assert_close(result[method, site], expected)


@pytest.mark.parametrize(
    ("wrap", "pick", "site"),
    [
        (lambda f, v: (f, v), lambda out: out[0], "block[0]"),
        (lambda f, v: [v, f], lambda out: out[1], "block[1]"),
        (lambda f, v: {"feat": f, "vector": v}, lambda out: out["feat"], "block[feat]"),
        (lambda f, v: (None, {"deep": (f,)}), lambda out: out[1]["deep"][0], "block[1][deep][0]"),
        (lambda f, v: f, lambda out: out, "block"),
    ],
    ids=["tuple", "list", "dict", "nested", "bare"],
)
def test_a_layer_that_returns_a_container_has_sites_inside(wrap, pick, site):
    net, images = Containers(wrap, pick), torch.randn(2, 3, 8, 8)
    result = compute_cams(net, images, 0, layers="block")
    assert list(result.maps) == [("gradcam", site)]
    plain = compute_cams(net, images, 0, layers="block.conv")["gradcam", "block.conv"]
    torch.testing.assert_close(result["gradcam", site], plain)


def test_a_layer_that_never_runs():
    class Idle(ConvNet):
        def __init__(self):
            super().__init__()
            self.spare = nn.Conv2d(3, 3, 1)

    with pytest.raises(ValueError, match="'spare' did not run"):
        compute_cams(Idle(), torch.rand(1, 3, 8, 8), 0, layers=["b", "spare"])


def test_a_layer_without_height_and_width():
    with pytest.raises(ValueError, match=r"'fc' has no spatial output.*got shape \(2, 3\)"):
        compute_cams(ConvNet(), torch.rand(2, 3, 8, 8), 0, layers="fc")


def test_a_container_without_height_and_width_is_not_dropped_beside_a_good_layer():
    net = Containers(lambda f, v: (v, v * 2), lambda out: out[0][:, :, None, None])
    with pytest.raises(ValueError, match=r"block.* has no spatial output"):
        compute_cams(net, torch.rand(2, 3, 8, 8), 0, layers=["block.conv", "block"])


def test_a_layer_that_the_score_does_not_depend_on():
    class TwoHeads(ConvNet):
        def __init__(self):
            super().__init__()
            self.side = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x):
            return super().forward(x), self.side(x).mean((2, 3))

    for layers in ("side", ["b", "side"]):
        with pytest.raises(ValueError, match="does not depend on layer 'side'"):
            compute_cams(TwoHeads(), torch.rand(2, 3, 8, 8), 0, layers=layers)


# --- arguments ---


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (None, TypeError, "NoneType"),
        ([[1.0]], TypeError, "list"),
        (torch.rand(3, 8, 8), ValueError, r"\(B, C, H, W\).*got shape \(3, 8, 8\).*batch"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), ValueError, "floating point.*uint8"),
        (torch.rand(0, 3, 8, 8), ValueError, "at least one image"),
    ],
)
def test_bad_images_say_what_came(images, error, message):
    with pytest.raises(error, match=message):
        compute_cams(ConvNet(), images, 0)


@pytest.mark.parametrize("chunk_size", [0, -3])
def test_bad_chunk_sizes(chunk_size):
    with pytest.raises(ValueError, match=f"chunk_size of at least 1, got {chunk_size}"):
        compute_cams(ConvNet(), torch.rand(1, 3, 8, 8), 0, chunk_size=chunk_size)


# --- precision ---


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_model_of_another_precision_gives_float32_maps(dtype):
    net, images = ConvNet(), torch.rand(3, 3, 8, 8)
    expected = compute_cams(net, images, 1, method=METHODS, layers="b")
    result = compute_cams(net.to(dtype), images.to(dtype), 1, method=METHODS, layers="b")
    assert result.logits.dtype == torch.float32
    for key, maps in result.maps.items():
        assert maps.dtype == torch.float32
        tolerance = 0.05 * expected[key].max().item() if dtype == torch.bfloat16 else 1e-7
        torch.testing.assert_close(maps, expected[key], atol=tolerance, rtol=0.05)


@pytest.mark.filterwarnings("ignore:.*CPU Autocast.*")
def test_under_autocast_the_model_runs_in_the_precision_around_it_and_maps_are_float32():
    net, images = ConvNet(), torch.rand(3, 3, 8, 8)
    full = compute_cams(net, images, 1, method=METHODS, layers="b")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = net(images)
        result = compute_cams(net, images, 1, method=METHODS, layers="b")
        assert torch.is_autocast_enabled("cpu")
    assert logits.dtype == torch.bfloat16
    assert torch.equal(result.logits, logits.float())
    assert not torch.equal(result.logits, full.logits)
    for key, maps in result.maps.items():
        assert maps.dtype == torch.float32
        torch.testing.assert_close(maps, full[key], atol=0.05 * full[key].max().item(), rtol=0.05)


def test_training_goes_on_inside_the_same_autocast():
    """Autocast caches weights that it cast: a look without a graph must not leave its own there."""
    net, images = ConvNet(), torch.rand(2, 3, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        compute_cams(net, images, 1, layers="b")
        net(images).float().sum().backward()
    got = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        net(images).float().sum().backward()
    for grad, parameter in zip(got, net.parameters(), strict=True):
        assert torch.equal(grad, parameter.grad)


# --- modes of torch and of the model ---


def _expected(net, images):
    return compute_cams(net, images, [0, 1], method=METHODS, layers=["a", "b"])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("targets", [None, 1, [0, 1], torch.tensor([0, 1]), lambda y: y[:, 1]])
def test_grad_and_inference_mode_around_do_not_matter(mode, targets):
    net, images = ConvNet(), torch.rand(2, 3, 8, 8)
    expected = compute_cams(net, images, targets, method=METHODS, layers=["a", "b"])
    with mode():
        result = compute_cams(net, images, targets, method=METHODS, layers=["a", "b"])
    for key, maps in expected.maps.items():
        assert torch.equal(result[key], maps)


def test_images_and_targets_made_in_inference_mode():
    net, images = ConvNet(), torch.rand(2, 3, 8, 8)
    expected = _expected(net, images)
    with torch.inference_mode():
        made = images.clone()
        result = compute_cams(
            net, made, torch.tensor([0, 1]), method=METHODS, layers=["a", "b"], chunk_size=1
        )
    assert made.is_inference()
    for key, maps in expected.maps.items():
        torch.testing.assert_close(result[key], maps)


class OwnMode(ConvNet):
    """Runs its first convolution under a mode of its own, as frozen backbones are."""

    def __init__(self, mode, depth):
        super().__init__()
        self.mode = mode
        self.depth = depth

    def forward(self, x):
        with self.mode():
            x = F.relu(self.a(x))
            if self.depth == 2:
                x = F.relu(self.b(x))
        x = x.clone() if x.is_inference() else x
        if self.depth == 1:
            x = F.relu(self.b(x))
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("around", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("layers", ["a", "b", ["a", "b"], ["b", "a"], "auto"], ids=str)
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_model_that_runs_its_backbone_under_a_mode_of_its_own(mode, depth, layers, around):
    net, images = OwnMode(mode, depth), torch.rand(2, 3, 8, 8)
    plain = ConvNet()
    plain.load_state_dict(net.state_dict())
    with around():
        result = compute_cams(net, images, [0, 1], layers=layers)
    names = [layer for _, layer in result.maps]
    expected = compute_cams(plain, images, [0, 1], layers=names)
    for key, maps in expected.maps.items():
        torch.testing.assert_close(result[key], maps)


def test_gradient_checkpointing():
    class Checkpointed(ConvNet):
        def features(self, x):
            x = torch.utils.checkpoint.checkpoint(
                lambda t: F.relu(self.a(t)), x, use_reentrant=False
            )
            return torch.utils.checkpoint.checkpoint(
                lambda t: F.relu(self.b(t)), x, use_reentrant=False
            )

    net, images = Checkpointed(), torch.rand(2, 3, 8, 8)
    plain = ConvNet()
    plain.load_state_dict(net.state_dict())
    expected, result = _expected(plain, images), _expected(net, images)
    for key, maps in expected.maps.items():
        torch.testing.assert_close(result[key], maps)


def test_a_model_that_overwrites_its_input_sees_and_spoils_nothing():
    class Overwriting(ConvNet):
        def forward(self, x):
            return super().forward(x.sub_(0.5).div_(0.25))

    net, images = Overwriting(), torch.rand(2, 3, 8, 8)
    plain = ConvNet()
    plain.load_state_dict(net.state_dict())
    kept = images.clone()
    result = _expected(net, images)
    assert torch.equal(images, kept)
    expected = _expected(plain, (kept - 0.5) / 0.25)
    for key, maps in expected.maps.items():
        torch.testing.assert_close(result[key], maps)


def test_images_that_require_gradients_get_none():
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    result = _expected(ConvNet(), images)
    assert images.grad is None
    assert images.requires_grad
    assert not any(maps.requires_grad for maps in result.maps.values())


def test_an_inplace_activation_as_the_watched_layer():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    images = torch.randn(2, 3, 8, 8)
    result = compute_cams(net, images, 1, method="hirescam", layers=["0", "1"])
    net[1].inplace = False
    expected = compute_cams(net, images, 1, method="hirescam", layers=["0", "1"])
    for key, maps in expected.maps.items():
        assert torch.equal(result[key], maps)


def test_maps_that_are_not_finite_come_back_as_they_are():
    net = ConvNet()
    with torch.no_grad():
        net.b.bias[0] = math.nan
    assert compute_cams(net, torch.rand(1, 3, 8, 8), 0, layers="b")["gradcam", "b"].isnan().all()


# --- wrappers ---


@pytest.mark.filterwarnings("ignore:.*DataParallel.*")
def test_data_parallel():
    net, images = ConvNet(), torch.rand(2, 3, 8, 8)
    expected, result = _expected(net, images), _expected(nn.DataParallel(net), images)
    for key, maps in expected.maps.items():
        assert torch.equal(result[key], maps)


@pytest.mark.parametrize("how", ["whole", "part", "in place"])
def test_compiled_models_keep_names_and_graphs(how):
    from torch._dynamo.testing import CompileCounter

    torch._dynamo.reset()
    counter = CompileCounter()
    net, images = ConvNet(), torch.rand(2, 3, 8, 8)
    expected = _expected(net, images)
    if how == "whole":
        compiled = torch.compile(net, backend=counter)
    elif how == "part":
        net.b = torch.compile(net.b, backend=counter)
        compiled = net
    else:
        net.compile(backend=counter)
        compiled = net
    with torch.no_grad():
        compiled(images)
    graphs = counter.frame_count
    assert graphs > 0
    result = _expected(compiled, images)
    assert list(result.maps) == list(expected.maps)
    for key, maps in expected.maps.items():
        torch.testing.assert_close(result[key], maps)
    with torch.no_grad():
        compiled(images)
    assert counter.frame_count == graphs
    torch._dynamo.reset()
