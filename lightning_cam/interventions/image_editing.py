"""Parts that exchanges are made of: tiles, squares, colours, spectra, noise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_DEVICES_WITH_GENERATORS = ("cpu", "cuda", "mps")
_BANDS = 16  # of spatial frequencies
_LOWEST_FREQUENCY, _HIGHEST_FREQUENCY = 0.05, 0.71  # in cycles a pixel
_LARGEST_GAIN = 100.0  # of a band's amplitude
_MEDIAN_OF_NORMAL = 0.6745  # of the absolute value, in standard deviations


# --- regions -------------------------------------------------------------------------------------


def middle(height: int, width: int, side: float, device: torch.device | None = None) -> Tensor:
    """Return (height, width) bool, true in the middle `side` of each side."""
    top, left = (round((1 - side) / 2 * n) for n in (height, width))
    inside = torch.zeros(height, width, dtype=torch.bool, device=device)
    inside[top : height - top, left : width - left] = True
    return inside


def squares(corners: Tensor, size: Tensor, height: int, width: int) -> Tensor:
    """Return (M, height, width) bool, true in one rectangle per image.

    Args:
        corners: (M, 2) int64, upper left corners, y and x.
        size: (M, 2) int64, heights and widths.
        height: of the images.
        width: of the images.
    """
    inside = []
    for axis, n in enumerate((height, width)):
        at = torch.arange(n, device=corners.device)[None]
        first = corners[:, axis : axis + 1]
        inside.append((at >= first) & (at < first + size[:, axis : axis + 1]))
    return inside[0][:, :, None] & inside[1][:, None, :]


def random_squares(
    draws: Tensor, area: float, height: int, width: int, margin: float = 0.0
) -> Tensor:
    """Return (M, height, width) bool, true in a rectangle of that share of the area each.

    Args:
        draws: (M, 2) random numbers, 0 to 1: the place of each.
        area: of a rectangle, as a share of the image's.
        height: of the images.
        width: of the images.
        margin: that is left free along each side, as a share of its length; none where a rectangle
            needs all.
    """
    sides = torch.tensor([height, width])
    size = torch.tensor([max(1, round(area**0.5 * n)) for n in (height, width)])
    first = torch.minimum((margin * sides).round().long(), (sides - size) // 2)
    corners = first + (draws * (sides - 2 * first - size + 1)).long()
    return squares(corners, size.expand(len(draws), 2), height, width)


def inpaint(images: Tensor, masks: Tensor) -> Tensor:
    """Return images (B, C, H, W) with the masked part filled smoothly from its surroundings.

    Averages the known pixels over ever larger blocks and takes the finest block that holds any
    (push-pull interpolation, Gortler et al. 1996).

    Args:
        images: (B, C, H, W).
        masks: (B, H, W) bool, true where to fill.
    """
    weights = (~masks)[:, None].to(images.dtype)
    return torch.where(masks[:, None], _push_pull(images * weights, weights), images)


def _push_pull(weighted: Tensor, weights: Tensor) -> Tensor:
    known = weighted / weights.clamp(min=torch.finfo(weights.dtype).tiny)
    if min(weights.shape[2:]) == 1 or bool((weights > 0).all()):
        return torch.where(weights > 0, known, torch.zeros_like(known))
    size = weights.shape[2:]
    half = (max(1, size[0] // 2), max(1, size[1] // 2))
    coarse = _push_pull(F.adaptive_avg_pool2d(weighted, half), F.adaptive_avg_pool2d(weights, half))
    enlarged = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    return torch.where(weights > 0, known, enlarged)


# --- textures ------------------------------------------------------------------------------------


def tile(rectangle: Tensor, height: int, width: int) -> Tensor:
    """Return a texture (C, height, width): a rectangle (C, h, w), mirrored and repeated.

    It does not show the place and shape of what the rectangle was cut beside. After the tiled
    backgrounds of Xiao et al. 2020.
    """
    for dim, n in ((1, height), (2, width)):
        have = rectangle.shape[dim]
        if have < n:
            pair = torch.cat([rectangle, rectangle.flip(dim)], dim=dim)
            rectangle = torch.cat([pair] * -(-n // (2 * have)), dim=dim).narrow(dim, 0, n)
    return rectangle


def largest_rectangles(masks: Tensor) -> list[tuple[slice, slice]]:
    """Return rows and columns of the largest rectangle beside the object, for masks (B, H, W) bool.

    The whole image where there is none.
    """
    whole = slice(masks.shape[1]), slice(masks.shape[2])
    return [largest_rectangle(~mask) or whole for mask in masks.cpu()]


def largest_rectangle(free: Tensor) -> tuple[slice, slice] | None:
    """Return rows and columns of the largest rectangle that is true throughout (H, W) bool.

    None where there is none. By the largest rectangle under the histogram of each row.
    """
    best, found = 0, None
    heights = [0] * free.shape[1]
    for y, row in enumerate(free.tolist()):
        heights = [tall + 1 if known else 0 for tall, known in zip(heights, row, strict=True)]
        stack: list[int] = []  # columns of rising height
        for x in range(len(heights) + 1):
            now = heights[x] if x < len(heights) else 0
            while stack and heights[stack[-1]] >= now:
                tall = heights[stack.pop()]
                left = stack[-1] + 1 if stack else 0
                if tall * (x - left) > best:
                    best = tall * (x - left)
                    found = slice(y + 1 - tall, y + 1), slice(left, x)
            stack.append(x)
    return found


def with_statistics_of(texture: Tensor, images: Tensor, where: Tensor) -> Tensor:
    """Return textures (M, C, H, W) with the images' mean and deviation per channel in `where`."""
    mean, deviation = _statistics(images, where)
    own_mean, own_deviation = _statistics(texture, where)
    return (texture - own_mean) / own_deviation * deviation + mean


def _statistics(images: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    weights = where.to(images.dtype)
    weights = weights / weights.sum(dim=(-2, -1), keepdim=True).clamp(min=1)
    mean = (images * weights).sum(dim=(-2, -1), keepdim=True)
    variance = ((images - mean).square() * weights).sum(dim=(-2, -1), keepdim=True)
    return mean, variance.sqrt().clamp(min=1e-2)


def mean_colors(images: Tensor, where: Tensor) -> Tensor:
    """Return the mean of each channel (M, C, 1, 1) over `where` (H, W)."""
    return _statistics(images, where)[0]


# --- sharpness and noise -------------------------------------------------------------------------


def with_sharpness_of(images: Tensor, partners: Tensor) -> Tensor:
    """Return images whose amplitude in each band of spatial frequencies is the partner's.

    Phases, and with them all shapes, stay. Images are mirrored at their edges, since jumps there
    would hide how sharp they are.
    """
    height, width = images.shape[2:]
    mirrored = _mirrored(images.float())
    spectrum, other = torch.fft.rfft2(mirrored), torch.fft.rfft2(_mirrored(partners.float()))
    vertical = torch.fft.fftfreq(2 * height, device=images.device)[:, None]
    radius = (vertical**2 + torch.fft.rfftfreq(2 * width, device=images.device) ** 2).sqrt()
    share = (radius - _LOWEST_FREQUENCY) / (_HIGHEST_FREQUENCY - _LOWEST_FREQUENCY)
    bands = (share * _BANDS).floor().long().clamp(max=_BANDS - 1) + 1
    bands = bands.masked_fill(radius < _LOWEST_FREQUENCY, 0).flatten()
    power, wanted = (_power_in_bands(each, bands) for each in (spectrum, other))
    gains = (wanted / power.clamp(min=torch.finfo(power.dtype).tiny)).sqrt()
    gains = gains.clamp(max=_LARGEST_GAIN)
    gains[:, 0] = 1
    changed = spectrum * gains[:, bands].view(len(images), 1, *radius.shape)
    changed_images: Tensor = torch.fft.irfft2(changed, s=mirrored.shape[2:])
    return changed_images[..., :height, :width].to(images.dtype)


def _mirrored(images: Tensor) -> Tensor:
    images = torch.cat([images, images.flip(-1)], dim=-1)
    return torch.cat([images, images.flip(-2)], dim=-2)


def _power_in_bands(spectrum: Tensor, bands: Tensor) -> Tensor:
    """Return (M, number of bands + 1), summed over the channels."""
    power = spectrum.abs().square().sum(dim=1).flatten(1)
    found = torch.zeros(len(power), _BANDS + 1, device=power.device, dtype=power.dtype)
    return found.index_add_(1, bands, power)


def noise_levels(images: Tensor) -> Tensor:
    """Return the standard deviation of each image's noise (M, 1, 1, 1).

    The median of the finest diagonal wavelet coefficients. Donoho and Johnstone 1994.
    """
    height, width = (2 * (n // 2) for n in images.shape[2:])
    even = images[..., :height, :width]
    a, b = even[..., ::2, ::2], even[..., ::2, 1::2]
    c, d = even[..., 1::2, ::2], even[..., 1::2, 1::2]
    diagonal = ((a - b - c + d) / 2).abs().flatten(1).float()
    return (diagonal.median(dim=1).values / _MEDIAN_OF_NORMAL).view(-1, 1, 1, 1).to(images.dtype)


def with_noise_of(images: Tensor, partners: Tensor, seed: int) -> Tensor:
    """Return images with noise added or smoothed away until there is as much as in the partners.

    Smoothed as by a Wiener filter: towards the mean of 3×3 pixels where the variance among them is
    no more than the noise's.
    """
    surplus = noise_levels(partners).square() - noise_levels(images).square()
    noisy = images + surplus.clamp(min=0).sqrt() * noise_like(images, seed)
    mean = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    square = F.avg_pool2d(F.pad(images.square(), (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    variance = square - mean.square()
    kept = (variance + surplus.clamp(max=0)).clamp(min=0) / variance.clamp(min=1e-8)
    return torch.where(surplus > 0, noisy, mean + (images - mean) * kept)


def noise_like(images: Tensor, seed: int) -> Tensor:
    """Return standard normal noise (C, H, W) for images, from a private stream on their device.

    Drawn on the CPU it would take longer than the network's passes on a fast device.
    """
    known = images.device.type in _DEVICES_WITH_GENERATORS
    device = images.device if known else torch.device("cpu")
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(images.shape[1:], generator=generator, device=device).to(images)
