"""Two small architectures, a residual network and a plain one, and a pretrained one."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

_ENLARGED = 64  # pixels


def _unit(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Block(nn.Module):
    """Two convolutions with a residual connection."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _unit(inputs, outputs, stride)
        self.second = nn.Sequential(
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.second(self.first(features)) + self.shortcut(features))


def residual(classes: int) -> nn.Module:
    """Return a residual network with maps of 12×12 for images of 48×48."""
    return nn.Sequential(
        _unit(3, 16, 2),
        Block(16, 16, 1),
        Block(16, 32, 2),
        Block(32, 64, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


def plain(classes: int) -> nn.Module:
    """Return convolutions, poolings and a hidden layer, with maps of 6×6 for images of 48×48."""
    return nn.Sequential(
        _unit(3, 24, 2),
        _unit(24, 32),
        nn.MaxPool2d(2),
        _unit(32, 64),
        nn.MaxPool2d(2),
        _unit(64, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, classes),
    )


class Pretrained(nn.Module):
    """EfficientNet-Lite0 with its ImageNet weights, on images enlarged to 64 pixels.

    Args:
        network: that of timm.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def features(self, images: Tensor) -> Tensor:
        """Return the last feature maps."""
        enlarged = F.interpolate(images, size=(_ENLARGED, _ENLARGED), mode="bilinear")
        features: Tensor = self.network.forward_features(enlarged)
        return features

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network.forward_head(self.features(images))
        return logits


def pretrained(classes: int, *, freshly: bool = True) -> Pretrained:
    """Return EfficientNet-Lite0 with ImageNet weights, and a new classifier if `freshly`."""
    from benchmarks.randomization import trained

    network = trained()
    if freshly:
        network.reset_classifier(classes)  # type: ignore[operator]
    return Pretrained(network)


NETWORKS = {"residual": residual, "plain": plain, "pretrained": pretrained}
