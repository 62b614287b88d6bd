"""Every method against another implementation or its definition, to a relative error of 1e-4.

The tables `LAYER_ORACLES`, `PIXEL_ORACLES` and `ATTENTION_ORACLES` list what is compared.
"""

import pytest
import torchcam.methods as tc
from captum.attr import Deconvolution, GuidedBackprop, Saliency
from helpers.attention_oracles import gradient_attention, rollout
from helpers.method_nets import (
    SIZE,
    STRIDE,
    conv_net,
    images_of,
    labels_of,
    map_of,
    timm_vit,
    torchvision_vit,
    variant,
)
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
from lightning_cam.explain.methods import Method

pytestmark = [
    # captum warns whenever it hooks ReLUs, and about inputs that it makes require gradients.
    pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU activations:UserWarning"),
    pytest.mark.filterwarnings("ignore:Input Tensor . did not already require gradients"),
]


def times(factor, oracle):
    return lambda *args: factor * oracle(*args)


CELLS = (SIZE // STRIDE) ** 2
NO_NOISE = torchcam(tc.SmoothGradCAMpp, std=1e-9)  # it rejects a standard deviation of 0
QUARTERS = tuple(i / 4 for i in range(1, 5))

# Method, what it is compared with, what follows the layer in the network (see `conv_net`), factor
# on the scores: 100 where the oracle adds an epsilon to denominators. Before linear tails gradients
# do not depend on noise.
# Not used because they are wrong: grad-cam's Eigen-CAM (centred, arbitrary sign), its
# Finer-CAM (gradients of the shares) and torchcam's (plain mean), torchcam's Grad-CAM++ (divides a
# copy, so that α stays g²), its Smooth Grad-CAM++ with noise (maps the last noisy image) and where
# gradients differ by place (Σ(A·g³) for ΣA · g³). Not used because they make other choices:
# grad-cam's Score-CAM (aligns corners), torchcam's IS-CAM of several steps (adds up their factors).
LAYER_ORACLES = [
    ("cam", "torchcam", "gap", 1, torchcam(tc.CAM, fc_layer="head")),
    ("cam", "captum Grad-CAM × cells", "gap", 1, times(CELLS, captum_gradcam)),
    ("gradcam", "captum", "curved", 1, captum_gradcam),
    ("gradcam", "torchcam", "curved", 1, torchcam(tc.GradCAM)),
    ("gradcam", "grad-cam", "curved", 1, grad_cam(GradCAM)),
    ("gradcam++", "grad-cam", "curved", 100, grad_cam(GradCAMPlusPlus)),
    ("gradcam++", "torchcam Smooth Grad-CAM++, no noise", "gap", 100, NO_NOISE),
    (variant("smooth_gradcam++", level=0.0), "grad-cam Grad-CAM++", "curved", 100,
     grad_cam(GradCAMPlusPlus)),
    ("smooth_gradcam++", "grad-cam Grad-CAM++", "linear", 100, grad_cam(GradCAMPlusPlus)),
    (variant("smooth_gradcam++", level=0.0), "torchcam, no noise", "gap", 100, NO_NOISE),
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
NO_ORACLE = {"random"}  # see `test_component.py`


def name_of(method):
    return method if isinstance(method, str) else method.name


def case_name(value):
    return name_of(value) if isinstance(value, (str, Method)) else ""


def test_every_method_is_compared():
    compared = [name_of(row[0]) for row in LAYER_ORACLES + PIXEL_ORACLES + ATTENTION_ORACLES]
    assert set(compared) | NO_ORACLE == set(METHODS)


@pytest.mark.parametrize(
    ("method", "with_what", "tail", "loudness", "oracle"),
    LAYER_ORACLES + PIXEL_ORACLES,
    ids=case_name,
)
def test_maps_equal_those_of_the_oracle(method, with_what, tail, loudness, oracle):
    net, images, classes = conv_net(tail, loudness), images_of(), labels_of()
    expected = oracle(net, images, classes)
    assert relative_error(map_of(net, images, classes, method), expected) <= 1e-4


@pytest.mark.parametrize(("method", "oracle"), ATTENTION_ORACLES, ids=case_name)
@pytest.mark.parametrize("vit", VITS)
def test_attention_maps_equal_those_of_explicit_matrices(vit, method, oracle):
    make, prefix = VITS[vit]
    net, images, classes = make(), images_of(3, 16), labels_of(3)
    maps = map_of(net, images, classes, method)
    assert relative_error(maps, oracle(net, images, classes, prefix)) <= 1e-4


def test_fused_layers_equal_torchcam():
    net, images = conv_net(), images_of()
    names = ["stem", "layer", "last"]
    result = compute_cams(net, images, 1, method="layercam", layers=names, fuse_layers=True)
    maps = [result["layercam", name] for name in names]
    scaled = [m / m.amax((1, 2), keepdim=True).clamp(min=1e-30) for m in maps]
    assert (
        relative_error(result["layercam", "stem+layer+last"], tc.LayerCAM.fuse_cams(scaled)) <= 1e-5
    )
