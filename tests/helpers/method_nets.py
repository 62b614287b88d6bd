"""Networks that methods are compared on: small, double precision, uneven enough to tell apart."""

from collections import OrderedDict

import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

CLASSES = 5
# Three pixels a cell: upsampling by an odd factor meets each cell's centre, so that a mask has the
# same range before and after it. torchcam scales before, the paper and this package after.
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
            cell), "curved" (a convolution and a ReLU more, so that gradients differ by place), or
            "positive" (the same with a bias that makes every score positive).
        loudness: factor on the scores, against constants that oracles add to denominators.
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
    """Two convolutions with a ReLU each, spelled as `relu` spells it."""

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
