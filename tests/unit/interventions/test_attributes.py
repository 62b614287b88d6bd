"""Attributes: what is exchanged, and what constructed models are found to rely on."""

import pytest
import torch
from helpers.exchanges import batch_of, collected, exchanged
from helpers.known_models import CLASSES, LABELS, SIZE, Blend, RegionReader, coloured, region
from torch import nn
from torch.nn import functional as F

from lightning_cam.interventions import ATTRIBUTES
from lightning_cam.interventions.attributes import MIDDLE_SIDE, cell_regions
from lightning_cam.interventions.image_editing import middle

CELL = region(0, 5, 0, 5)  # of a grid of 4 x 4
BORDER = ~middle(SIZE, SIZE, 1 - 2 / 16)
IMAGES = torch.rand(len(LABELS), 3, 32, 32, generator=torch.Generator().manual_seed(0))
PARTNERS = torch.arange(len(LABELS)).roll(1)


# --- what is exchanged ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_exchange_with_itself_changes_little_or_nothing(name):
    """A tile and a filled square remain: the exchange within the class is their control."""
    masks = torch.zeros(len(IMAGES), 32, 32, dtype=torch.bool)
    masks[:, 8:24, 8:24] = True
    images = F.avg_pool2d(F.pad(IMAGES, (1,) * 4, mode="reflect"), 3, stride=1)
    own = torch.arange(len(images))
    marks = torch.zeros_like(masks)
    marks[:, 2:5, 2:5] = True
    done = exchanged(name, images, own, masks=masks, marks=marks)
    assert done.shape == images.shape
    if name not in ("surround", "background"):
        assert torch.allclose(done, images, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("patch", cell_regions(torch.tensor([[1, 2]]), 32, 32)[0]),
        ("border", ~middle(32, 32, 1 - 2 / 16)),
        ("context", ~middle(32, 32, MIDDLE_SIDE)),
    ],
)
def test_regions_come_from_the_partner_and_the_rest_stays(name, where):
    done = exchanged(name, IMAGES, PARTNERS, cell=(1, 2))
    assert torch.equal(done, torch.where(where, IMAGES[PARTNERS], IMAGES))


def test_the_controls_of_regions_are_as_large_as_the_regions():
    batch = batch_of(IMAGES, cell=(1, 2))
    for name, largest in (("patch", 0.2), ("border", 0.3)):
        attribute = ATTRIBUTES[name]
        changed = [
            float((make(batch, PARTNERS) != IMAGES).any(dim=1).float().mean())
            for make in (attribute.exchange, attribute.control)
        ]
        assert changed[1] == pytest.approx(changed[0], rel=0.35)
        assert max(changed) < largest


def test_a_control_of_a_patch_is_never_at_its_place():
    for seed in range(10):
        batch = batch_of(IMAGES, cell=(3, 3), seed=seed)
        done = ATTRIBUTES["patch"].control(batch, PARTNERS)
        inner = (slice(None), slice(None), slice(26, 32), slice(26, 32))
        assert torch.equal(done[inner], IMAGES[inner])


def test_a_control_of_the_border_leaves_the_border():
    where = (~middle(32, 32, 1 - 2 / 16)).expand_as(IMAGES)
    for seed in range(10):
        done = ATTRIBUTES["border"].control(batch_of(IMAGES, seed=seed), PARTNERS)
        assert torch.equal(done[where], IMAGES[where])
        assert not torch.equal(done, IMAGES)


def test_a_watermark_is_exchanged_wherever_it_is():
    marks = torch.zeros(3, 32, 32, dtype=torch.bool)
    marks[0, :8, :8] = marks[1, 20:28, 20:28] = True
    images = torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32), torch.zeros(3, 32, 32)])
    images[0, :, :8, :8] = 5.0
    done = exchanged("watermark", images, [1, 2, 2], marks=marks)
    assert (done[0, :, 20:28, 20:28] == 1).all()  # the partner's mark
    assert (done[0, :, :8, :8] == 0).all()  # the own mark was filled in
    assert (done[1] == 1).all()  # its mark was filled in, and the partner has none
    assert (done[2] == 0).all()  # neither has any


def test_the_control_of_a_watermark_is_as_large_and_never_at_its_place():
    marks = torch.zeros(16, 32, 32, dtype=torch.bool)
    marks[:, 4:12, 4:12] = True
    control = ATTRIBUTES["watermark"].control
    images = torch.arange(16.0).view(16, 1, 1, 1).expand(16, 3, 32, 32)
    for seed in range(5):
        done = control(batch_of(images, marks=marks, seed=seed), PARTNERS)
        assert torch.equal(done[:, :, 4:12, 4:12], images[:, :, 4:12, 4:12])
        assert ((done != images).any(dim=1).flatten(1).sum(dim=1) == 64).all()


def test_colours_move_as_a_whole_and_not_by_what_is_at_the_edge():
    framed = IMAGES.clone()
    framed[1, :, :4] += 10
    done = exchanged("color", framed, [1] + [0] * 15)
    shift = (done - framed)[0]
    assert torch.allclose(shift, shift[:, :1, :1].expand_as(shift), atol=1e-4)
    assert shift.abs().max() < 1


def test_the_surround_shows_texture_but_neither_colours_nor_the_middle_of_the_partner():
    partner = IMAGES[1] + 5
    done = exchanged("surround", torch.stack([IMAGES[0], partner]), [1, 0])[0]
    inside = middle(32, 32, MIDDLE_SIDE)
    assert torch.equal(done[:, inside], IMAGES[0][:, inside])
    assert not torch.equal(done[:, ~inside], IMAGES[0][:, ~inside])
    assert done[:, ~inside].mean().item() == pytest.approx(
        IMAGES[0][:, ~inside].mean().item(), 1e-3
    )


# --- what constructed models rely on --------------------------------------------------------------


def reliance(model, images, name, **known):
    evidence = collected(model, images, LABELS, names={name}, **known)
    return evidence.found[name].estimate.value


@pytest.mark.parametrize(("name", "where"), [("patch", CELL), ("border", BORDER)])
def test_a_model_that_reads_only_the_region_relies_on_it_entirely(name, where):
    assert reliance(RegionReader(where), coloured(where), name) > 0.9
    everywhere = torch.ones(SIZE, SIZE, dtype=torch.bool)
    assert reliance(RegionReader(everywhere), coloured(), name) < 0.1


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_part_of_what_is_known_is_measured_as_that_part(share):
    """The rim and the middle both show the class; the rim decides a share of it."""
    found = reliance(Blend(share), coloured(), "context", rounds=30)
    assert found == pytest.approx(share, abs=0.08)


def test_a_model_that_reads_the_mean_colour_relies_on_the_colour():
    everywhere = torch.ones(SIZE, SIZE, dtype=torch.bool)
    assert reliance(RegionReader(everywhere), coloured(), "color") > 0.9


class DetailReader(nn.Module):
    """Predicts the class from how much neighbouring pixels differ."""

    def forward(self, images):
        detail = images.diff(dim=-1).square().mean(dim=(1, 2, 3)).sqrt()
        return torch.stack([0 * detail, 80 * (detail - 0.06)], dim=1)


@pytest.mark.parametrize("name", ["noise", "sharpness"])
def test_a_model_that_reads_noise_relies_on_it(name):
    labels = LABELS % 2
    coarse = torch.rand(len(labels), 3, 5, 5, generator=torch.Generator().manual_seed(0))
    images = F.interpolate(coarse, size=(32, 32), mode="bicubic")
    noise = 0.15 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    images = images + noise * labels.view(-1, 1, 1, 1)
    evidence = collected(DetailReader(), images, labels, names={name})
    assert evidence.found[name].estimate.value > 0.5


# --- silhouettes ----------------------------------------------------------------------------------


def silhouettes(seed=0):
    """Return evenly coloured shapes on noise, their labels and masks."""
    generator = torch.Generator().manual_seed(seed)
    bars = torch.zeros(CLASSES, 24, 24, dtype=torch.bool)
    bars[0, 10:14, 4:20] = bars[1, 4:20, 10:14] = True
    bars[2, 8:16, 8:16] = True
    bars[3, 4:20, 6:9] = bars[3, 4:20, 15:18] = True
    masks = bars[LABELS]
    noise = 0.3 * torch.rand(len(LABELS), 1, 24, 24, generator=generator)
    return torch.where(masks[:, None], 1.0, noise), masks


class ShapeReader(nn.Module):
    """Predicts the class from the shape of whatever is smooth: an object, or a filled hole."""

    def __init__(self):
        super().__init__()
        _, masks = silhouettes()
        self.register_buffer("templates", masks[:CLASSES].float())

    def forward(self, images):
        padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
        mean, square = F.avg_pool2d(padded, 3, 1), F.avg_pool2d(padded.square(), 3, 1)
        even = ((square - mean.square()) < 1e-4).float()[:, 0]
        overlap = (even[:, None] * self.templates).sum(dim=(2, 3)) / self.templates.sum((1, 2))
        return 40 * overlap


def test_a_silhouette_is_no_background():
    """A hole of the partner's shape would be read as the partner's class; a tile shows none."""
    images, masks = silhouettes()
    model = ShapeReader()
    assert (model(images).argmax(dim=1) == LABELS).all()
    evidence = collected(model, images, LABELS, masks=masks, rounds=10, names={"background"})
    assert evidence.found["background"].estimate.value < 0.1
    assert evidence.leading is None
