"""Models and images for which reliance on the background, or the noise floor, is known."""

import torch
from torch import nn

CLASSES, SIZE = 4, 20  # the middle, 0.7 of 20, is 14 pixels and leaves a rim of 3
LABELS = torch.arange(16) % CLASSES
_SHARPNESS = 40.0  # factor on the logits: probabilities are close to 0 and 1


# --- reliance -------------------------------------------------------------------------------------


def region(top, bottom, left, right):
    """Return a (SIZE, SIZE) mask of a rectangle."""
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


RIM, MIDDLE = region(0, 2, 0, 20), region(9, 11, 9, 11)
PATCH = region(0, 10, 0, 10)  # a quarter of the image, as large as the top region


class RegionReader(nn.Module):
    """Predicts the class from the mean colour of one region, or of one region per image."""

    def __init__(self, where):
        super().__init__()
        self.layer = nn.Conv2d(CLASSES, CLASSES, 1, bias=False)
        self.layer.weight.data.copy_(torch.eye(CLASSES)[:, :, None, None])
        where = where.float()
        self.register_buffer("where", where / where.sum(dim=(-2, -1), keepdim=True))

    def forward(self, images):
        return _SHARPNESS * (self.layer(images) * self.where).sum(dim=(2, 3))


class Blend(nn.Module):
    """Predicts by a weighted mean of what the rim and what the middle say."""

    def __init__(self, rim_share):
        super().__init__()
        self.rim, self.middle, self.rim_share = RegionReader(RIM), RegionReader(MIDDLE), rim_share

    def forward(self, images):
        rim, middle = self.rim(images).softmax(1), self.middle(images).softmax(1)
        return (self.rim_share * rim + (1 - self.rim_share) * middle).log()


def coloured(where=None):
    """Return 16 images that show their class by a colour in a region, or everywhere; else grey."""
    images = torch.full((len(LABELS), CLASSES, SIZE, SIZE), 1 / CLASSES)
    colours = torch.zeros(len(LABELS), CLASSES, 1, 1)
    colours[torch.arange(len(LABELS)), LABELS] = 1.0
    return torch.where(torch.ones(SIZE, SIZE).bool() if where is None else where, colours, images)


def maps_on(where):
    """Return 16 maps that are above 0 in one region, with a slope so that none is flat."""
    slope = 1 + torch.linspace(0, 0.1, SIZE).expand(SIZE, SIZE)
    return (where * slope).expand(len(LABELS), -1, -1).clone()


# --- noise floor ----------------------------------------------------------------------------------


class FixedPattern(nn.Module):
    """Its map is the same pattern for all images; the image's mean only scales it."""

    def __init__(self, pattern):
        super().__init__()
        self.register_buffer("pattern", pattern)
        self.layer, self.fc = nn.Identity(), nn.Linear(pattern.shape[1], 3)
        self.fc.weight.data.fill_(1.0)

    def forward(self, images):
        strength = images.mean(dim=(1, 2, 3)).view(-1, 1, 1, 1)
        features = self.layer(self.pattern * (1 + strength).abs())
        return self.fc(features.mean(dim=(2, 3)))


class BrightnessGrid(nn.Module):
    """Its map is the image's brightness by cell, so that it is mirrored with the image."""

    def __init__(self, cell):
        super().__init__()
        self.layer, self.fc = nn.AvgPool2d(cell), nn.Linear(3, 3)
        self.fc.weight.data.fill_(1.0)

    def forward(self, images):
        return self.fc(self.layer(images).mean(dim=(2, 3)))


class RightHalfOnly(BrightnessGrid):
    """Ignores the left half of the image, so that a flip changes the map."""

    def forward(self, images):
        features = self.layer(images)
        half = torch.zeros_like(features)
        half[..., features.shape[3] // 2 :] = 1.0
        return self.fc((features * half).mean(dim=(2, 3)))


def smooth_images(count=6, size=32, seed=0):
    """Return images without sharp edges, which a small shift changes little."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0.01, 1)


def mirrored_pattern():
    """Return a (1, 1, 6, 6) pattern that a flip does not change."""
    half = torch.rand(1, 1, 6, 3) + 0.1
    return torch.cat([half, half.flip(3)], dim=3)
