"""Small networks that several test modules use, and their state as plain values."""

import torch
from torch import nn
from torch.nn import functional as F


class ConvNet(nn.Module):
    """Two convolutions, global average pooling, a linear head."""

    def __init__(self, classes=3):
        super().__init__()
        self.a = nn.Conv2d(3, 4, 3, padding=1)
        self.b = nn.Conv2d(4, 5, 3, padding=1)
        self.fc = nn.Linear(5, classes)

    def features(self, x):
        return F.relu(self.b(F.relu(self.a(x))))

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


class StatefulNet(nn.Module):
    """A network with state that an evaluation could change: statistics, dropout, flags."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.drop = nn.Dropout(0.5)
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.body(self.drop(self.stem(x))).mean((2, 3)))


class Returning(nn.Module):
    """A network whose output is `wrap(logits)`."""

    def __init__(self, net, wrap):
        super().__init__()
        self.net = net
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(self.net(x))


class Shared(nn.Module):
    """Runs its one convolution twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        return self.fc(self.conv(torch.tanh(self.conv(x))).mean((2, 3)))


class Block(nn.Module):
    """Returns `wrap` of its feature map and of a vector, in whatever container `wrap` makes."""

    def __init__(self, wrap):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.wrap = wrap

    def forward(self, x):
        features = self.conv(x)
        return self.wrap(features, features.flatten(2).amax(2))


class Containers(nn.Module):
    """Takes its feature map out of a block's container with `pick`."""

    def __init__(self, wrap, pick):
        super().__init__()
        self.block = Block(wrap)
        self.fc = nn.Linear(4, 3)
        self.pick = pick

    def forward(self, x):
        return self.fc(self.pick(self.block(x)).mean((2, 3)))


class Tokens(nn.Module):
    """Patches as a row of tokens behind class and register tokens, one mixing layer, a head.

    The head reads the class token where there is a prefix, else the mean of the tokens.
    """

    def __init__(self, prefix=1, channels=6, patch=4, cells=16):
        super().__init__()
        self.embed = nn.Conv2d(3, channels, patch, stride=patch)
        self.prefix = nn.Parameter(torch.randn(1, prefix, channels))
        self.block = nn.Linear(channels, channels)
        self.mix = nn.Parameter(torch.randn(prefix + cells, prefix + cells) / 4)
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, 3)

    def forward(self, x):
        patches = self.embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.prefix.expand(len(x), -1, -1), patches], dim=1)
        tokens = torch.tanh(self.mix @ self.block(tokens))
        tokens = self.norm(tokens)
        return self.head(tokens[:, 0] if self.prefix.shape[1] else tokens.mean(1))


class ChannelsLast(nn.Module):
    """Works on (B, H, W, C), as Swin does."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 6, 2, stride=2)
        self.block = nn.Linear(6, 12)
        self.fc = nn.Linear(12, 3)

    def forward(self, x):
        return self.fc(self.block(self.embed(x).permute(0, 2, 3, 1)).tanh().mean((1, 2)))


def bits(tensor):
    """Return a tensor's bytes, so that NaN and signed zeros compare too."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def state_of(model):
    """Return all that an evaluation must leave unchanged, as plain values to compare."""
    return {
        "flags": {name: module.training for name, module in model.named_modules()},
        "parameters": {name: bits(p) for name, p in model.named_parameters()},
        "requires_grad": {name: p.requires_grad for name, p in model.named_parameters()},
        "grads": {
            name: None if p.grad is None else (id(p.grad), bits(p.grad))
            for name, p in model.named_parameters()
        },
        "buffers": {
            (name, key): None if buffer is None else (id(buffer), bits(buffer))
            for name, module in model.named_modules()
            for key, buffer in module._buffers.items()
        },
        "hooks": {
            name: (
                len(module._forward_hooks),
                len(module._forward_pre_hooks),
                len(module._backward_hooks),
                len(module._backward_pre_hooks),
            )
            for name, module in model.named_modules()
        },
    }
