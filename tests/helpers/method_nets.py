"""Small networks in double precision, with random weights, on which methods are compared."""

import functools
from collections import OrderedDict

import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from lightning_cam import METHODS, compute_cams
from lightning_cam.explain.methods import Method

CLASSES = 5
# Three pixels per cell: upsampling by an odd factor meets each cell's centre, so that a mask has
# the same range before and after it. torchcam scales before, the paper and this package after.
SIZE, STRIDE = 15, 3


def shaken(net, scale=0.5):
    """Return the network in double precision with random weights and statistics everywhere."""
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            tensor.normal_(std=scale)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)
    return net.double().eval()


def conv_net(tail="curved", loudness=1.0):
    """Return a network whose `layer` has 6 channels of 5 × 5 cells; no ReLU is in place.

    Args:
        tail: what follows `layer`: "gap" (pooling and a linear head), "linear" (a weight for each
            cell), "curved" (another convolution and ReLU, so that gradients differ by place), or
            "positive" (the same with a bias that makes every score positive).
        loudness: factor on the scores, since some oracles add constants to denominators.
    """
    body = OrderedDict(
        stem=nn.Conv2d(3, 8, 3, stride=STRIDE),
        norm=nn.BatchNorm2d(8),
        relu=nn.ReLU(),
        conv=nn.Conv2d(8, 6, 3, padding=1),
        layer=nn.ReLU(),
    )
    cells = 6 * (SIZE // STRIDE) ** 2
    tails = {
        "gap": {
            "pool": nn.AdaptiveAvgPool2d(1),
            "flat": nn.Flatten(),
            "head": nn.Linear(6, CLASSES),
        },
        "linear": {"flat": nn.Flatten(), "head": nn.Linear(cells, CLASSES)},
        "curved": {
            "last": nn.Conv2d(6, 7, 3, padding=1),
            "bend": nn.ReLU(),
            "pool": nn.AdaptiveAvgPool2d(1),
            "flat": nn.Flatten(),
            "head": nn.Linear(7, CLASSES),
        },
    }
    positive = tail == "positive"
    body.update(tails["curved" if positive else tail])
    net = shaken(nn.Sequential(body))
    with torch.no_grad():
        net.head.bias.add_(20.0 * positive)
        net.head.weight.mul_(loudness)
    return net


class ReluNet(nn.Module):
    """Two convolutions with a ReLU each, called in the way of `relu`."""

    def __init__(self, relu):
        super().__init__()
        self.a = nn.Conv2d(3, 4, 3)
        self.b = nn.Conv2d(4, 5, 3)
        self.head = nn.Linear(5, CLASSES)
        self.relu = relu

    def forward(self, x):
        return self.head(self.relu(self.b(self.relu(self.a(x)))).mean((2, 3)))


RELUS = {
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "F.relu_": F.relu_,
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu": lambda x: x.relu(),
    "Tensor.relu_": lambda x: x.relu_(),
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6 in place": nn.ReLU6(inplace=True),
    "F.relu6": F.relu6,
    "nn.Hardtanh": nn.Hardtanh(0, 6),
    "F.hardtanh": lambda x: F.hardtanh(x, 0, 6),
    "F.hardtanh in place, by name": lambda x: F.hardtanh_(x, min_val=0.0, max_val=6.0),
}


def torchvision_vit():
    """Return a vision transformer on `nn.MultiheadAttention`, 16 patches of a 16 × 16 image."""
    return shaken(
        torchvision.models.VisionTransformer(
            image_size=16,
            patch_size=4,
            num_layers=3,
            num_heads=2,
            hidden_dim=8,
            mlp_dim=16,
            num_classes=CLASSES,
        )
    )


def timm_vit(*, fused, **options):
    """Return timm's vision transformer of the same size, with or without fused attention."""
    net = timm.models.VisionTransformer(
        img_size=16,
        patch_size=4,
        depth=3,
        num_heads=2,
        embed_dim=8,
        num_classes=CLASSES,
        **options,
    )
    for block in net.blocks:
        block.attn.fused_attn = fused
    return shaken(net)


# --- images, classes and maps ---------------------------------------------------------------------


def images_of(count=8, size=SIZE):
    return torch.randn(count, 3, size, size, dtype=torch.float64)


def labels_of(count=8):
    return torch.arange(count) * 3 % CLASSES


def likely_classes(net, images):
    """Return the most and the second most probable class in turn: few of their maps are zero."""
    ranked = net(images).argsort(1, descending=True)
    return ranked[torch.arange(len(images)), torch.arange(len(images)) % 2]


def map_of(net, images, targets, method, layers="layer", **options):
    """Return the only map of one method."""
    result = compute_cams(net, images, targets, method=method, layers=layers, **options)
    (maps,) = result.maps.values()
    return maps.double()


def variant(name, **options):
    """Return a method with other parameters than its defaults."""
    method = METHODS[name]
    return Method(name, method.title, functools.partial(method.run, **options), method.place)


def setting(method, count=5):
    """Return a network and images that a method can explain."""
    if METHODS[method].place == "attention":
        return timm_vit(fused=True), images_of(count, 16)
    return conv_net("gap" if method == "cam" else "curved"), images_of(count)
