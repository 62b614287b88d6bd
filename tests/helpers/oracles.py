"""Other implementations of the same maps: libraries where they are right, else definitions.

An oracle takes (net, images, classes) and returns maps; the network's target layer is `net.layer`.
"""

import functools

import numpy as np
import pytest
import torch
from captum.attr import (
    GuidedGradCam,
    LayerActivation,
    LayerFeatureAblation,
    LayerGradCam,
    LayerGradientXActivation,
)
from torch.nn import functional as F


def relative_error(maps, expected):
    """Return the largest error over the images in units of each map's largest value.

    A map of zeros is compared in units of the largest value of the other maps.
    """
    assert maps.shape == expected.shape
    scale = expected.flatten(1).abs().amax(1)
    assert (scale > 0).sum() > len(scale) / 2, "most maps are zero"
    scale = torch.where(scale > 0, scale, scale.max())
    return ((maps - expected).flatten(1).abs().amax(1) / scale).max().item()


# --- libraries ------------------------------------------------------------------------------------


def torchcam(kind, **options):
    """Return torchcam's maps at the layer's resolution, without its scaling to 0..1."""

    def oracle(net, images, classes):
        if not hasattr(kind, "__enter__"):
            pytest.skip("this torchcam explains one image at a time")
        with kind(net, "layer", **options) as cam:
            return cam(classes.tolist(), net(images), normalized=False)[0].relu().detach()

    return oracle


def grad_cam(kind):
    """Return the maps of the package grad-cam before it scales them to 0..1."""

    def oracle(net, images, classes):
        with kind(net, [net.layer]) as cam:
            _scores(cam.activations_and_grads(images), classes).sum().backward()
            held = cam.activations_and_grads
            acts, grads = held.activations[0].numpy(), held.gradients[0].numpy()
            targets = [lambda out, k=k: out[k] for k in classes.tolist()]
            found = cam.get_cam_image(images, net.layer, targets, acts, grads, eigen_smooth=False)
        return torch.from_numpy(found).relu()

    return oracle


def captum_gradcam(net, images, classes):
    """Captum's Grad-CAM."""
    return gradcam_unrectified(net, images, classes).relu()


def gradcam_unrectified(net, images, classes):
    """Captum's Grad-CAM with its negative parts."""
    return LayerGradCam(net, net.layer).attribute(images, classes)[:, 0].detach()


def contributions(net, images, classes):
    """Captum's gradient ⊙ activation, (N, C, h, w)."""
    return LayerGradientXActivation(net, net.layer).attribute(images, classes).detach()


def activations(net, images):
    """Captum's record of the layer's output, (N, C, h, w)."""
    return LayerActivation(net, net.layer).attribute(images).detach()


def captum_hirescam(net, images, classes):
    return contributions(net, images, classes).sum(1).relu()


def captum_elementwise(net, images, classes):
    return contributions(net, images, classes).relu().sum(1)


def captum_channel_mean(net, images, classes):
    return activations(net, images).mean(1)


def captum_ablation(net, images, classes):
    """Captum's loss of score when a channel is zeroed, as a share of the score's magnitude."""
    acts = activations(net, images)
    channel = torch.arange(acts.shape[1])[:, None, None].expand(acts.shape[1:])
    ablation = LayerFeatureAblation(net, net.layer)
    lost = ablation.attribute(images, target=classes, layer_mask=channel[None])
    clean = _scores(net(images), classes)[:, None, None, None].abs()
    return (lost / clean * acts).sum(1).relu().detach()


def captum_pixels(kind):
    """Return a pixel attribution of captum as its largest magnitude over channels."""

    def oracle(net, images, classes):
        return kind(net).attribute(images.clone(), target=classes).abs().amax(1).detach()

    return oracle


def captum_guided_gradcam(net, images, classes):
    found = GuidedGradCam(net, net.layer).attribute(
        images.clone(), classes, interpolate_mode="bilinear"
    )
    return found.abs().amax(1).detach()


# --- definitions ----------------------------------------------------------------------------------


def _scores(logits, classes):
    return logits.gather(1, classes[:, None])[:, 0]


def svd(of):
    """Return numpy's first uncentred component of `of(net, images, classes)`, (N, C, h, w).

    Its sign is that in which it agrees with the sum over channels.
    """

    def oracle(net, images, classes):
        maps = []
        for matrix in of(net, images, classes).flatten(2).transpose(1, 2).numpy():
            left, values, _ = np.linalg.svd(matrix, full_matrices=False)
            first = left[:, 0] * values[0]
            maps.append(first * (1 if first @ matrix.sum(1) >= 0 else -1))
        size = activations(net, images).shape[2:]
        return torch.from_numpy(np.stack(maps)).reshape(-1, *size).relu()

    return oracle


def finer(weight):
    """Return Finer-CAM from whole Grad-CAM maps: M_c - γ Σ p_d M_d over the closest classes."""

    def oracle(net, images, classes):
        logits = net(images).detach()
        total = gradcam_unrectified(net, images, classes)
        for i, own in enumerate(classes.tolist()):
            distance = {d: abs(logits[i, d] - logits[i, own]) for d in range(logits.shape[1])}
            del distance[own]
            rivals = sorted(distance, key=distance.get)[:3]
            shares = logits[i, rivals].exp() / logits[i, rivals].exp().sum()
            for share, rival in zip(shares, rivals, strict=True):
                one = gradcam_unrectified(net, images[i : i + 1], torch.tensor([rival]))
                total[i] -= weight * share * one[0]
        return total.relu()

    return oracle


def score_cam(masks_of):
    """Return Score-CAM by one pass for each channel and mask, the masks' scores averaged.

    Args:
        masks_of: from a mask scaled to 0..1 to those that the image is multiplied by.
    """

    def oracle(net, images, classes):
        acts = activations(net, images)
        scores = []
        for channel in acts.unbind(1):
            mask = F.interpolate(channel[:, None], images.shape[2:], mode="bilinear")
            mask = mask - mask.amin((2, 3), keepdim=True)
            mask = mask / mask.amax((2, 3), keepdim=True).clamp(min=1e-300)
            each = [_scores(net(images * seen), classes) for seen in masks_of(mask)]
            scores.append(torch.stack(each).mean(0))
        weights = torch.stack(scores, 1).softmax(1)[:, :, None, None]
        return (weights * acts).sum(1).relu().detach()

    return oracle


def ablation_loop(net, images, classes):
    """Ablation-CAM by zeroing one channel after the other in the network's tail."""
    tail = net[list(dict(net.named_children())).index("layer") + 1 :]
    acts = activations(net, images)
    clean = _scores(tail(acts), classes)
    total = torch.zeros_like(acts[:, 0])
    for k in range(acts.shape[1]):
        kept = acts.clone()
        kept[:, k] = 0
        lost = (clean - _scores(tail(kept), classes)) / clean.abs()
        total += lost[:, None, None] * acts[:, k]
    return total.relu().detach()


def fullgrad_terms(net, images, classes):
    """Return x ⊙ dS/dx and b ⊙ dS/db of each layer; b is an affine layer's output for zeros."""
    kept = [(images.clone().requires_grad_(), None)]
    for module in net:
        before = kept[-1][0]
        bias = module(torch.zeros_like(before)).detach()
        kept.append((module(before), bias))
    grads = torch.autograd.grad(_scores(kept[-1][0], classes).sum(), [out for out, _ in kept])
    biases = [bias * grad for (_, bias), grad in zip(kept[1:], grads[1:], strict=True)]
    return [images * grads[0], *biases]


def fullgrad(net, images, classes):
    """FullGrad: magnitudes of the terms with height and width, upsampled and summed."""
    terms = [term for term in fullgrad_terms(net, images, classes) if term.ndim == images.ndim]
    heats = [term.abs().sum(1, keepdim=True) for term in terms if term.shape[2:].numel() > 1]
    grow = functools.partial(F.interpolate, size=images.shape[2:], mode="bilinear")
    return torch.cat([grow(heat) for heat in heats], 1).sum(1)
