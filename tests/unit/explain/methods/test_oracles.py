"""Every method against another way to the same map, to a relative error of 1e-4.

The tables `LAYER_ORACLES`, `PIXEL_ORACLES` and `ATTENTION_ORACLES` say what is compared with what.
"""

import functools

import numpy as np
import pytest
import torch
import torchcam.methods as tc
from helpers.attention_oracles import gradient_attention, rollout
from captum.attr import Deconvolution, GuidedBackprop, Saliency
from helpers.method_nets import (
    CLASSES,
    RELUS,
    SIZE,
    STRIDE,
    ReluNet,
    conv_net,
    shaken,
    timm_vit,
    torchvision_vit,
)
from helpers.nets import state_of
from helpers.oracles import (
    ablation_loop,
    activations,
    captum_ablation,
    captum_channel_mean,
    captum_elementwise,
    captum_gradcam,
    captum_guided_gradcam,
    captum_hirescam,
    captum_pixels,
    contributions,
    finer,
    fullgrad,
    fullgrad_terms,
    grad_cam,
    relative_error,
    score_cam,
    svd,
    torchcam,
)
from pytorch_grad_cam import (
    AblationCAM,
    GradCAM,
    GradCAMElementWise,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    XGradCAM,
)

from lightning_cam import METHODS, compute_cams
from lightning_cam.explain.attribution import AttributionBatch
from lightning_cam.explain.methods import Method
from lightning_cam.explain.methods.fullgrad import decompose
from lightning_cam.runtime.model_state import preserve_model_state
from lightning_cam.explain.targets import resolve_target

pytestmark = [
    # captum says so whenever it hooks ReLUs, and of inputs that it makes leaves of itself.
    pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU activations:UserWarning"),
    pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients"),
]


def variant(name, **options):
    """Return a method with other numbers than its defaults."""
    method = METHODS[name]
    return Method(name, method.title, functools.partial(method.run, **options), method.place)


def times(factor, oracle):
    return lambda *args: factor * oracle(*args)


CELLS = (SIZE // STRIDE) ** 2
HUSHED = torchcam(tc.SmoothGradCAMpp, std=1e-9)  # noise of 0 is refused
QUARTERS = tuple(i / 4 for i in range(1, 5))

# Method, what it is compared with, what follows the layer in the network (see `conv_net`), factor
# on the scores: loud ones where the oracle adds an epsilon to denominators. Behind linear tails
# gradients do not feel noise.
# Not used because they are not right: grad-cam's Eigen-CAM (centred, sign left to chance), its
# Finer-CAM (gradients of the shares) and torchcam's (plain mean), torchcam's Grad-CAM++ (divides a
# copy, so that α stays g²), its Smooth Grad-CAM++ with noise (maps the last noisy image) and where
# gradients differ by place (Σ(A·g³) for ΣA · g³). Not used because they choose otherwise:
# grad-cam's Score-CAM (aligns corners), torchcam's IS-CAM of several steps (adds up their factors).
LAYER_ORACLES = [
    ("cam", "torchcam", "gap", 1, torchcam(tc.CAM, fc_layer="head")),
    ("cam", "captum Grad-CAM × cells", "gap", 1, times(CELLS, captum_gradcam)),
    ("gradcam", "captum", "curved", 1, captum_gradcam),
    ("gradcam", "torchcam", "curved", 1, torchcam(tc.GradCAM)),
    ("gradcam", "grad-cam", "curved", 1, grad_cam(GradCAM)),
    ("gradcam++", "grad-cam", "curved", 100, grad_cam(GradCAMPlusPlus)),
    ("gradcam++", "torchcam Smooth Grad-CAM++, no noise", "gap", 100, HUSHED),
    (variant("smooth_gradcam++", level=0.0), "grad-cam Grad-CAM++", "curved", 100,
     grad_cam(GradCAMPlusPlus)),
    ("smooth_gradcam++", "grad-cam Grad-CAM++", "linear", 100, grad_cam(GradCAMPlusPlus)),
    (variant("smooth_gradcam++", level=0.0), "torchcam, no noise", "gap", 100, HUSHED),
    ("xgradcam", "torchcam", "curved", 1, torchcam(tc.XGradCAM)),
    ("xgradcam", "grad-cam", "curved", 1, grad_cam(XGradCAM)),
    ("hirescam", "captum gradient × activation", "curved", 1, captum_hirescam),
    ("hirescam", "grad-cam", "curved", 1, grad_cam(HiResCAM)),
    ("hirescam", "captum Grad-CAM", "gap", 1, captum_gradcam),
    ("elementwise_gradcam", "captum gradient × activation", "curved", 1, captum_elementwise),
    ("elementwise_gradcam", "grad-cam", "curved", 1, grad_cam(GradCAMElementWise)),
    ("layercam", "torchcam", "curved", 1, torchcam(tc.LayerCAM)),
    ("layercam", "grad-cam", "curved", 1, grad_cam(LayerCAM)),
    (variant("finercam", weight=0.0), "captum Grad-CAM", "curved", 1, captum_gradcam),
    (variant("finercam", weight=0.6), "captum Grad-CAM maps combined", "curved", 1, finer(0.6)),
    ("finercam", "captum Grad-CAM maps combined", "curved", 1, finer(1.0)),
    ("eigencam", "numpy SVD", "curved", 1, svd(lambda net, images, _: activations(net, images))),
    ("eigengradcam", "numpy SVD", "curved", 1, svd(contributions)),
    ("channel_mean", "captum LayerActivation", "curved", 1, captum_channel_mean),
    ("scorecam", "torchcam", "curved", 1, torchcam(tc.ScoreCAM)),
    ("scorecam", "a loop over channels", "curved", 1, score_cam(lambda mask: [mask])),
    (variant("sscam", level=0.0), "torchcam Score-CAM", "curved", 1, torchcam(tc.ScoreCAM)),
    (variant("iscam", steps=1), "torchcam Score-CAM", "curved", 1, torchcam(tc.ScoreCAM)),
    ("iscam", "a loop over channels and steps", "curved", 1,
     score_cam(lambda mask: [q * mask for q in QUARTERS])),
    ("ablationcam", "captum LayerFeatureAblation", "curved", 1, captum_ablation),
    ("ablationcam", "a loop over channels", "curved", 1, ablation_loop),
    # grad-cam divides by the score itself, which agrees where that is positive.
    ("ablationcam", "grad-cam", "positive", 1, grad_cam(AblationCAM)),
    ("guided_gradcam", "captum", "curved", 1, captum_guided_gradcam),
]  # fmt: skip
PIXEL_ORACLES = [
    ("gradient", "captum Saliency", "curved", 1, captum_pixels(Saliency)),
    (variant("smoothgrad", level=0.0), "captum Saliency", "curved", 1, captum_pixels(Saliency)),
    ("guided_backprop", "captum", "curved", 1, captum_pixels(GuidedBackprop)),
    ("deconvnet", "captum", "curved", 1, captum_pixels(Deconvolution)),
    ("fullgrad", "terms by hand", "curved", 1, fullgrad),
    ("fullgrad", "terms by hand", "gap", 1, fullgrad),
]
VITS = {
    "torchvision": (torchvision_vit, 1),
    "timm, fused": (lambda: timm_vit(fused=True), 1),
    "timm, explicit": (lambda: timm_vit(fused=False), 1),
    "timm, registers": (lambda: timm_vit(fused=True, reg_tokens=4), 5),
    "timm, no class token": (
        lambda: timm_vit(fused=True, class_token=False, global_pool="avg"),
        0,
    ),
}
ATTENTION_ORACLES = [("rollout", rollout), ("gradient_attention", gradient_attention)]
NO_ORACLE = {"random"}  # it is what its generator says: see the tests below


def images_of(count=8, size=SIZE):
    return torch.randn(count, 3, size, size, dtype=torch.float64)


def labels_of(count=8):
    return torch.arange(count) * 3 % CLASSES


def likely_of(net, images):
    """Return the first and the second class by turns: few maps of theirs are all zero."""
    ranked = net(images).argsort(1, descending=True)
    return ranked[torch.arange(len(images)), torch.arange(len(images)) % 2]


def name_of(method):
    return method if isinstance(method, str) else method.name


def case_name(value):
    return name_of(value) if isinstance(value, (str, Method)) else ""


def map_of(net, images, targets, method, layers="layer", **options):
    """Return the one map of one method."""
    result = compute_cams(net, images, targets, method=method, layers=layers, **options)
    (maps,) = result.maps.values()
    return maps.double()


def test_the_tables_hold_every_method():
    compared = [name_of(row[0]) for row in LAYER_ORACLES + PIXEL_ORACLES + ATTENTION_ORACLES]
    assert set(compared) | NO_ORACLE == set(METHODS)


@pytest.mark.parametrize(
    ("method", "with_what", "tail", "loudness", "oracle"),
    LAYER_ORACLES + PIXEL_ORACLES,
    ids=case_name,
)
def test_maps_equal_their_oracles(method, with_what, tail, loudness, oracle):
    net, images, classes = conv_net(tail, loudness), images_of(), labels_of()
    expected = oracle(net, images, classes)
    assert relative_error(map_of(net, images, classes, method), expected) <= 1e-4


@pytest.mark.parametrize(("method", "oracle"), ATTENTION_ORACLES, ids=case_name)
@pytest.mark.parametrize("vit", VITS)
def test_attention_equals_explicit_matrices(vit, method, oracle):
    make, prefix = VITS[vit]
    net, images, classes = make(), images_of(3, 16), labels_of(3)
    maps = map_of(net, images, classes, method)
    assert relative_error(maps, oracle(net, images, classes, prefix)) <= 1e-4


# --- identities ----------------------------------------------------------------------------------


def test_completeness_of_fullgrad():
    """x·dS/dx and b·dS/db of a piecewise linear network sum up to its score."""
    net, images, classes = conv_net(), images_of(), labels_of()
    with preserve_model_state(net, images.device):
        target = resolve_target(classes, len(images))
        chunk = AttributionBatch(net, images, slice(0, len(images)), target, {}, frozenset())
        total = decompose(chunk).total().double()
    scores = net(images).gather(1, classes[:, None])[:, 0].detach()
    by_hand = sum(term.flatten(1).sum(1) for term in fullgrad_terms(net, images, classes))
    torch.testing.assert_close(by_hand, scores)  # the oracle's oracle
    torch.testing.assert_close(total, scores, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet", "guided_gradcam"])
@pytest.mark.parametrize("spelling", RELUS)
def test_however_a_relu_is_spelled_guided_methods_find_it(spelling, method):
    net = shaken(ReluNet(RELUS[spelling]))
    oracle = ReluNet(torch.relu).double()
    oracle.load_state_dict(net.state_dict())
    images = images_of(3, 9) / 10  # below the six of ReLU6
    expected = map_of(oracle, images, 1, method, layers="b")
    assert relative_error(map_of(net, images, 1, method, layers="b"), expected) <= 1e-6


@pytest.mark.parametrize("method", ["rollout", "gradient_attention"])
def test_fused_attention_is_its_definition(method):
    net, images = timm_vit(fused=True), images_of(3, 16)
    fused = map_of(net, images, 1, method)
    for block in net.blocks:
        block.attn.fused_attn = False
    assert relative_error(fused, map_of(net, images, 1, method)) <= 1e-5


def test_rollout_knows_no_class_and_gradient_attention_does():
    net, images = torchvision_vit(), images_of(3, 16)
    maps = {
        m: [map_of(net, images, k, m) for k in (0, 1)] for m in ("rollout", "gradient_attention")
    }
    torch.testing.assert_close(*maps["rollout"])
    assert relative_error(*maps["gradient_attention"]) > 0.01


@pytest.mark.parametrize("method", ["smoothgrad", "smooth_gradcam++"])
def test_noise_has_the_deviation_it_is_said_to_have(method):
    net, images, seen = (
        conv_net(),
        images_of(2, 60) * torch.tensor([1.0, 7.0])[:, None, None, None],
        [],
    )
    net = torch.nn.Sequential(net.stem, net.relu, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    compute_cams(net, images, 0, method=variant(method, level=0.2, samples=3), layers="0")
    noise = torch.stack([each - images for each in seen if not torch.equal(each, images)])
    assert len(noise) == 3
    spread = (images.amax((1, 2, 3)) - images.amin((1, 2, 3))) * 0.2
    torch.testing.assert_close(noise.std((0, 2, 3, 4)), spread, rtol=0.05, atol=0)
    # ... and is another one each time, but the same for every image, so that batches do not matter
    assert not torch.allclose(noise[0], noise[1])
    torch.testing.assert_close(noise[:, 0] / spread[0], noise[:, 1] / spread[1])


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["gradcam", "eigencam", "gradient", "scorecam"])
def test_augmentation_smoothing_is_the_mean_over_six_views(method):
    net, images = conv_net(), images_of()
    classes = net(images).argmax(1)  # of the images as they are, whatever a view is taken for
    smooth = map_of(net, images, None, method, aug_smooth=True)
    views = [
        (mirror(map_of(net, mirror(images) * factor, classes, method)))
        for factor in (0.9, 1.0, 1.1)
        for mirror in (lambda t: t, lambda t: t.flip(-1))
    ]
    assert relative_error(smooth, torch.stack(views).mean(0)) <= 1e-5


@pytest.mark.parametrize(
    ("method", "parts"),
    [
        ("gradcam", lambda acts, grads: grads.mean((2, 3), keepdim=True) * acts),
        ("hirescam", lambda acts, grads: grads * acts),
        ("layercam", lambda acts, grads: grads.relu() * acts),
        ("elementwise_gradcam", lambda acts, grads: (grads * acts).relu()),
        ("cam", None),
    ],
)
def test_component_smoothing_is_numpys_first_component_of_the_contributions(method, parts):
    net, images = conv_net("gap" if method == "cam" else "curved"), images_of()
    classes = net(images).argmax(1) if method == "cam" else likely_of(net, images)

    def contributions_of(net, images, classes):
        acts = activations(net, images)
        if parts is None:
            return net.head.weight[classes].detach()[:, :, None, None] * acts
        leaf = acts.clone().requires_grad_()
        tail = net[list(dict(net.named_children())).index("layer") + 1 :]
        (grads,) = torch.autograd.grad(tail(leaf).gather(1, classes[:, None]).sum(), leaf)
        return parts(acts, grads)

    maps = map_of(net, images, classes, method, eigen_smooth=True)
    assert relative_error(maps, svd(contributions_of)(net, images, classes)) <= 1e-4


def test_hirescam_smoothed_by_its_component_is_eigengradcam():
    net, images = conv_net(), images_of()
    torch.testing.assert_close(
        map_of(net, images, 1, "hirescam", eigen_smooth=True),
        map_of(net, images, 1, "eigengradcam"),
    )


def test_fusion_is_torchcams():
    net, images = conv_net(), images_of()
    names = ["stem", "layer", "last"]
    result = compute_cams(net, images, 1, method="layercam", layers=names, fuse_layers=True)
    maps = [result["layercam", name] for name in names]
    scaled = [m / m.amax((1, 2), keepdim=True).clamp(min=1e-30) for m in maps]
    assert (
        relative_error(result["layercam", "stem+layer+last"], tc.LayerCAM.fuse_cams(scaled)) <= 1e-5
    )


# --- every method alike --------------------------------------------------------------------------

LAYER_METHODS = [name for name in METHODS if METHODS[name].place != "attention"]


def setting(method):
    """Return a network and images that the method can explain."""
    if METHODS[method].place == "attention":
        return timm_vit(fused=True), images_of(5, 16)
    return conv_net("gap" if method == "cam" else "curved"), images_of(5)


@pytest.mark.parametrize("chunk_size", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_chunks_change_no_map(method, chunk_size):
    net, images = setting(method)
    classes = likely_of(net, images)
    whole = map_of(net, images, classes, method)
    parts = map_of(net, images, classes, method, chunk_size=chunk_size)
    assert relative_error(parts, whole) <= 1e-5


@pytest.mark.parametrize("method", [name for name in METHODS if name != "random"])
def test_a_batch_is_its_images_one_by_one(method):
    net, images = setting(method)
    classes = likely_of(net, images)
    whole = map_of(net, images, classes, method)
    alone = [map_of(net, images[i : i + 1], int(k), method) for i, k in enumerate(classes)]
    assert relative_error(torch.cat(alone), whole) <= 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_seeds_make_maps_repeatable_and_leave_the_global_stream_alone(method):
    net, images = setting(method)
    before = torch.get_rng_state()
    first, again, other = (map_of(net, images, 1, method, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    drawn = method in {"random", "smoothgrad", "smooth_gradcam++", "sscam"}
    assert torch.equal(first, other) != drawn


class StopError(Exception):
    """What goes wrong below."""


@pytest.mark.parametrize("when", ["first pass", "last pass"])
@pytest.mark.parametrize("method", METHODS)
def test_an_error_inside_leaves_everything_as_it_was(method, when):
    net, images = setting(method)
    calls, fatal = [], [None]

    def count(*_):
        calls.append(1)
        if len(calls) == fatal[0]:
            raise StopError

    net.head.register_forward_pre_hook(count)
    net.train()
    map_of(net, images, 1, method)
    fatal[0] = 1 if when == "first pass" else len(calls)
    calls.clear()
    modes = lambda: (torch.is_grad_enabled(), torch.backends.mha.get_fastpath_enabled())
    before, random, switches = state_of(net), torch.get_rng_state(), modes()
    with pytest.raises(StopError):
        map_of(net, images, 1, method)
    assert state_of(net) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert modes() == switches
    assert not torch.overrides._get_current_function_mode_stack()


def test_random_maps_are_uniform_noise_of_the_layers_shape():
    maps = compute_cams(conv_net(), images_of(40), method="random", layers="stem")["random", "stem"]
    assert maps.shape == (40, SIZE // STRIDE, SIZE // STRIDE)
    levels, _ = np.histogram(maps.numpy(), bins=4, range=(0, 1))
    assert levels.sum() == maps.numel()
    assert levels.min() > 0.85 * maps.numel() / 4
    assert len(torch.unique(maps.flatten(1), dim=0)) == 40
