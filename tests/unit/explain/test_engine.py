"""`compute_cams`: maps against a plain backward pass, sites, chunks, wrong arguments."""

import subprocess
import sys

import pytest
import torch
from helpers.nets import ChannelsLast, Containers, ConvNet, Shared, Tokens
from torch import nn

from lightning_cam import compute_cams

METHODS = ["gradcam", "hirescam", "layercam"]


def plain_backward(net, images, classes, features):
    """Return the logits and the gradients of their scores by one pass with the whole graph.

    Args:
        features: returns the layer's output in that pass.
    """
    logits = net(images)
    score = logits[torch.arange(len(images)), torch.as_tensor(classes)].sum()
    (grads,) = torch.autograd.grad(score, features(), allow_unused=True)
    return logits.detach(), grads


def output_of(module):
    """Return a function that returns the module's last output."""
    kept = []
    module.register_forward_hook(lambda _m, _i, out: kept.append(out))
    return lambda: kept[-1]


def maps_of(acts, grads):
    """Return the maps of the three methods from activations and gradients, channels first."""
    acts = acts.detach()
    return {
        "gradcam": (grads.mean((2, 3), keepdim=True) * acts).sum(1).relu(),
        "hirescam": (grads * acts).sum(1).relu(),
        "layercam": (grads.relu() * acts).sum(1).relu(),
    }


# --- results --------------------------------------------------------------------------------------


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
def test_maps_equal_those_of_a_plain_backward_pass(make, layer, to_bchw):
    net, images, classes = make().eval(), torch.randn(3, 3, 16, 16), [0, 2, 1]
    result = compute_cams(net, images, classes, method=METHODS, layers=layer)
    acts = output_of(net.get_submodule(layer))
    logits, grads = plain_backward(net, images, classes, acts)
    for method, expected in maps_of(to_bchw(acts()), to_bchw(grads)).items():
        torch.testing.assert_close(result[method, layer], expected)
    torch.testing.assert_close(result.logits, logits)


def test_tokens_of_an_image_that_is_not_square():
    net = Tokens(prefix=1, cells=6 * 3).eval()
    images = torch.randn(2, 3, 24, 12)
    result = compute_cams(net, images, 1, layers="block")
    acts = output_of(net.block)
    _, grads = plain_backward(net, images, [1, 1], acts)
    as_grid = lambda t: t[:, 1:].transpose(1, 2).reshape(2, 6, 6, 3)
    torch.testing.assert_close(
        result["gradcam", "block"], maps_of(as_grid(acts()), as_grid(grads))["gradcam"]
    )


def test_keys_shapes_classes_and_rows_of_a_result():
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


def test_maps_of_a_batch_are_those_of_its_images_alone():
    net, images, classes = ConvNet(), torch.randn(5, 3, 9, 9), [0, 2, 1, 1, 0]
    whole = compute_cams(net, images, classes, method=METHODS, layers=["a", "b"])
    for i, label in enumerate(classes):
        alone = compute_cams(net, images[i : i + 1], label, method=METHODS, layers=["a", "b"])
        for key, maps in alone.maps.items():
            torch.testing.assert_close(whole[key][i], maps[0])


@pytest.mark.parametrize("targets", [None, 1, [0, 2, 1, 1, 0], lambda out: out[:, 0] - out[:, 2]])
@pytest.mark.parametrize("chunk_size", [1, 2, 5])
def test_chunks_do_not_change_the_result(targets, chunk_size):
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


def test_chunks_bound_the_number_of_images_per_pass():
    net, sizes = ConvNet(), []
    net.register_forward_pre_hook(lambda _m, inputs: sizes.append(len(inputs[0])))
    compute_cams(net, torch.rand(7, 3, 8, 8), 0, layers="b", chunk_size=3)
    assert sizes == [3, 3, 1]


def test_several_methods_and_layers_share_one_pass():
    net, calls = ConvNet(), []
    net.register_forward_hook(lambda *_: calls.append(1))
    compute_cams(net, torch.rand(2, 3, 8, 8), 0, method=METHODS, layers=["a", "b"])
    assert len(calls) == 1


def test_several_layers_give_the_maps_of_each_alone():
    net, images = ConvNet(), torch.randn(3, 3, 8, 8)
    both = compute_cams(net, images, 2, layers=["b", "a"])
    for layer in ("a", "b"):
        alone = compute_cams(net, images, 2, layers=layer)
        torch.testing.assert_close(both["gradcam", layer], alone["gradcam", layer])


def test_the_target_function_may_be_a_contrast():
    net, images = ConvNet(), torch.randn(2, 3, 8, 8)
    contrast = compute_cams(net, images, lambda y: y[:, 0] - y[:, 1], layers="b")["gradcam", "b"]
    with torch.no_grad():
        net.fc.weight[0] -= net.fc.weight[1]
    torch.testing.assert_close(contrast, compute_cams(net, images, 0, layers="b")["gradcam", "b"])


def test_a_model_in_training_mode_is_explained_in_evaluation_mode():
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


# --- sites ----------------------------------------------------------------------------------------


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


def test_a_layer_that_does_not_run_is_reported():
    class Idle(ConvNet):
        def __init__(self):
            super().__init__()
            self.spare = nn.Conv2d(3, 3, 1)

    with pytest.raises(ValueError, match="'spare' did not run"):
        compute_cams(Idle(), torch.rand(1, 3, 8, 8), 0, layers=["b", "spare"])


def test_a_layer_without_height_and_width_is_reported():
    with pytest.raises(ValueError, match=r"'fc' has no spatial output.*got shape \(2, 3\)"):
        compute_cams(ConvNet(), torch.rand(2, 3, 8, 8), 0, layers="fc")


def test_a_container_without_height_and_width_is_reported_beside_other_layers():
    net = Containers(lambda f, v: (v, v * 2), lambda out: out[0][:, :, None, None])
    with pytest.raises(ValueError, match=r"block.* has no spatial output"):
        compute_cams(net, torch.rand(2, 3, 8, 8), 0, layers=["block.conv", "block"])


def test_a_layer_that_the_score_does_not_depend_on_is_reported():
    class TwoHeads(ConvNet):
        def __init__(self):
            super().__init__()
            self.side = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x):
            return super().forward(x), self.side(x).mean((2, 3))

    for layers in ("side", ["b", "side"]):
        with pytest.raises(ValueError, match="does not depend on layer 'side'"):
            compute_cams(TwoHeads(), torch.rand(2, 3, 8, 8), 0, layers=layers)


# --- arguments ------------------------------------------------------------------------------------


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
def test_wrong_images_are_reported(images, error, message):
    with pytest.raises(error, match=message):
        compute_cams(ConvNet(), images, 0)


@pytest.mark.parametrize("chunk_size", [0, -3])
def test_wrong_chunk_sizes_are_reported(chunk_size):
    with pytest.raises(ValueError, match=f"chunk_size of at least 1, got {chunk_size}"):
        compute_cams(ConvNet(), torch.rand(1, 3, 8, 8), 0, chunk_size=chunk_size)


@pytest.mark.slow
def test_only_what_maps_need_is_imported():
    """`torch._dynamo`, which takes a second to import, is for compiled models only."""
    code = (
        "import sys, torch; from lightning_cam import compute_cams;"
        "net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1),"
        "torch.nn.Flatten(), torch.nn.Linear(4, 2));"
        "compute_cams(net, torch.rand(1, 3, 8, 8));"
        "found = {'torch._dynamo', 'lightning', 'pytorch_lightning', 'torchvision', 'cv2'};"
        "print(sorted(found & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, text=True).strip() == "[]"  # noqa: S603
