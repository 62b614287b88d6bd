"""The attributes that are exchanged by default, from the narrowest to the widest.

Each takes an attribute of another image and leaves the rest as it is. Where that is a region, its
shape has nothing to do with the object's, so that no silhouette is left behind.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_cam.interventions.image_editing import (
    inpaint,
    mean_colors,
    middle,
    random_squares,
    squares,
    tile,
    with_noise_of,
    with_sharpness_of,
    with_statistics_of,
)
from lightning_cam.interventions.registry import (
    GRID,
    Attribute,
    ExchangeBatch,
    register_attribute,
)

_MARGIN = 0.25  # of a cell, that is exchanged around it
_BORDER = 1 / 16  # of each side
MIDDLE_SIDE = 0.66  # of each side: what is outside of the middle counts as the surround
_INTERIOR = 0.75  # of each side: colours are compared there, so that no border counts as a colour


def _paste(batch: ExchangeBatch, partners: Tensor, where: Tensor) -> Tensor:
    """Return the images with what is `where`, (M, H, W) or (H, W) bool, from the partners."""
    where = where.to(batch.images.device)
    where = where[:, None] if where.ndim == 3 else where  # noqa: PLR2004
    return torch.where(where, batch.images[partners], batch.images[batch.rows])


# --- regions -------------------------------------------------------------------------------------


def patch(batch: ExchangeBatch, partners: Tensor) -> Tensor:
    """Return the images with the partner's cell, and a margin around it."""
    return _paste(batch, partners, cell_regions(batch.cells, *batch.size))


def patch_elsewhere(batch: ExchangeBatch, partners: Tensor) -> Tensor:
    """Return the images with another cell of the partner, chosen at random."""
    index = GRID * batch.cells[:, 0] + batch.cells[:, 1]
    steps = 1 + (batch.draws[:, 0] * (GRID**2 - 1)).long()
    other = (index + steps) % GRID**2
    cells = torch.stack((other // GRID, other % GRID), dim=1)
    return _paste(batch, partners, cell_regions(cells, *batch.size))


def cell_regions(cells: Tensor, height: int, width: int) -> Tensor:
    """Return (M, height, width) bool, true in a cell of the grid and its margin, per image."""
    size = torch.tensor([height, width], device=cells.device) / GRID
    first = ((cells - _MARGIN) * size).round().long().clamp(min=0)
    last = ((cells + 1 + _MARGIN) * size).round().long()
    return squares(first, last - first, height, width)


def watermark(batch: ExchangeBatch, partners: Tensor) -> Tensor:
    """Return the images with the partner's marks in place of their own.

    Their own are filled in, so that a mark at another place does not remain. Images without marks
    get the partner's; where neither has any, nothing changes.
    """
    assert batch.marks is not None
    return _with_marks(batch, partners, batch.marks[partners])


def watermark_elsewhere(batch: ExchangeBatch, partners: Tensor) -> Tensor:
    """Return the same with equally large parts of the partner, moved to a random place."""
    assert batch.marks is not None
    steps = ((0.25 + 0.5 * batch.draws) * torch.tensor(batch.size)).long().tolist()
    marks = [
        batch.marks[partner].roll(tuple(step), (0, 1))
        for partner, step in zip(partners.tolist(), steps, strict=True)
    ]
    return _with_marks(batch, partners, torch.stack(marks))


def _with_marks(batch: ExchangeBatch, partners: Tensor, pasted: Tensor) -> Tensor:
    assert batch.marks is not None
    device = batch.images.device
    filled = inpaint(batch.images[batch.rows], batch.marks[batch.rows].to(device))
    return torch.where(pasted[:, None].to(device), batch.images[partners], filled)


def border(batch: ExchangeBatch, partners: Tensor) -> Tensor:
    """Return the images with the partner's border, a sixteenth of each side."""
    return _paste(batch, partners, ~middle(*batch.size, 1 - 2 * _BORDER))


def border_elsewhere(batch: ExchangeBatch, partners: Tensor) -> Tensor:
    """Return the images with a rectangle of the border's area at a random place inside of it.

    Inside, since a control that held a part of the border would hide a part of its effect.
    """
    area = float((~middle(*batch.size, 1 - 2 * _BORDER)).float().mean())
    regions = random_squares(batch.draws, area, *batch.size, margin=_BORDER)
    return _paste(batch, partners, regions)


def surround(batch: ExchangeBatch, partners: Tensor) -> Tensor:
    """Return the images with the texture of one edge of the partner around their middle.

    A strip is tiled, so that no shape of an object is left, and given the image's own colours.
    """
    height, width = batch.size
    where = ~middle(height, width, MIDDLE_SIDE, batch.images.device)
    rows, columns = (max(1, round((1 - MIDDLE_SIDE) / 2 * n)) for n in (height, width))
    every = slice(None)
    strips = (
        (slice(rows), every),
        (slice(-rows, None), every),
        (every, slice(columns)),
        (every, slice(-columns, None)),
    )
    textures = []
    for partner, (draw, shift) in zip(partners.tolist(), batch.draws.tolist(), strict=True):
        n = int(draw * len(strips))
        strip = batch.images[partner][:, strips[n][0], strips[n][1]]
        along = 2 if n < 2 else 1  # noqa: PLR2004 - the first two are horizontal
        strip = strip.roll(int(shift * strip.shape[along]), along)
        textures.append(tile(strip, height, width))
    images = batch.images[batch.rows]
    return torch.where(where, with_statistics_of(torch.stack(textures), images, where), images)


def surroundings(batch: ExchangeBatch, partners: Tensor) -> Tensor:
    """Return the images with all that is around the partner's middle."""
    return _paste(batch, partners, ~middle(*batch.size, MIDDLE_SIDE))


def background(batch: ExchangeBatch, partners: Tensor) -> Tensor:
    """Return the objects on the partner's background.

    Tiled from the largest rectangle beside the partner's object, so that no hole of the object's
    shape remains. Xiao et al. 2020.
    """
    assert batch.masks is not None
    height, width = batch.size
    textures = {}
    for partner in set(partners.tolist()):
        rows, columns = batch.rectangles[partner]
        textures[partner] = tile(batch.images[partner][:, rows, columns], height, width)
    backgrounds = torch.stack([textures[partner] for partner in partners.tolist()])
    return torch.where(batch.masks[batch.rows][:, None], batch.images[batch.rows], backgrounds)


# --- the whole image -----------------------------------------------------------------------------


def color(batch: ExchangeBatch, partners: Tensor) -> Tensor:
    """Return the images shifted by the difference of the mean colours in the interior."""
    where = middle(*batch.size, _INTERIOR, batch.images.device)
    images = batch.images[batch.rows]
    shift = mean_colors(batch.images[partners], where) - mean_colors(images, where)
    return images + shift


def sharpness(batch: ExchangeBatch, partners: Tensor) -> Tensor:
    """Return the images as sharp or blurred as the partners."""
    return with_sharpness_of(batch.images[batch.rows], batch.images[partners])


def noise(batch: ExchangeBatch, partners: Tensor) -> Tensor:
    """Return the images as noisy as the partners."""
    images = batch.images[batch.rows]
    return with_noise_of(images, batch.images[partners], batch.seed)


for _attribute in (
    Attribute("patch", "a patch", patch, 0.25, patch_elsewhere),
    Attribute("watermark", "a mark that images of the class share", watermark, 0.15,
              watermark_elsewhere, marks=True, weight=2.0),
    Attribute("border", "the border of the image", border, 0.05, border_elsewhere),
    Attribute("noise", "the noise of the image", noise, 0.1),
    Attribute("sharpness", "how sharp the image is", sharpness, 0.2),
    Attribute("surround", "the texture around the object", surround, 0.15, masks=False),
    Attribute("background", "the background", background, 0.15, masks=True),
    Attribute("color", "the overall colour", color, 0.5),
    Attribute("context", "the surroundings of the object", surroundings, 0.65, masks=False,
              weight=0.5),
):  # fmt: skip
    register_attribute(_attribute)
