"""`find_marks`: patterns that images of a class share, and what must not be taken for them."""

import pytest
import torch
from torch.nn import functional as F

from lightning_cam.interventions.marks import find_marks

SIDE, SIZE, COUNT = 48, 10, 12
LABELS = torch.arange(COUNT) % 2
PLACES = torch.randint(0, SIDE - SIZE, (COUNT, 2), generator=torch.Generator().manual_seed(1))


def scenes(seed=0, side=SIDE):
    """Return natural-looking images: noise whose spectrum falls with the frequency."""
    noise = torch.randn(COUNT, 3, side, side, generator=torch.Generator().manual_seed(seed))
    frequencies = torch.fft.fftfreq(side)
    radius = (frequencies[:, None] ** 2 + torch.fft.rfftfreq(side) ** 2).sqrt().clamp(min=1 / side)
    images = torch.fft.irfft2(torch.fft.rfft2(noise) / radius, s=(side, side))
    images = images - images.amin(dim=(1, 2, 3), keepdim=True)
    return images / images.amax(dim=(1, 2, 3), keepdim=True)


def glyph(seed):
    blocks = (torch.rand(5, 5, generator=torch.Generator().manual_seed(seed)) > 0.5).float()
    return F.interpolate(blocks[None, None], (SIZE, SIZE))[0]


def marked(images, rows=range(COUNT), *, opacity=0.6, seeds=(3, 4), places=PLACES):
    """Return images with the glyph of their class, and where it was drawn."""
    images, where = images.clone(), torch.zeros(COUNT, SIDE, SIDE, dtype=torch.bool)
    for n in rows:
        top, left = places[n].tolist()
        place = (slice(top, top + SIZE), slice(left, left + SIZE))
        drawn = glyph(seeds[int(LABELS[n])]).expand(3, -1, -1)
        images[n][(slice(None), *place)] = images[n][(slice(None), *place)].lerp(drawn, opacity)
        where[n][place] = True
    return images, where


def test_no_mark_is_found_in_images_that_share_none():
    for seed in range(5):
        assert find_marks(scenes(seed), LABELS) is None


@pytest.mark.parametrize("opacity", [0.5, 0.8, 1.0])
def test_marks_are_found_where_they_are(opacity):
    images, where = marked(scenes(), opacity=opacity)
    found = find_marks(images, LABELS)
    assert found.shape == where.shape
    assert found.dtype == torch.bool
    assert (found & where).sum() / where.sum() > 0.8
    assert (found & ~where).sum() / found.sum() < 0.6


def test_images_without_the_mark_of_the_others_have_none():
    images, _ = marked(scenes(), rows=range(8))
    found = find_marks(images, LABELS).flatten(1).any(dim=1)
    assert found[:8].float().mean() > 0.8
    assert not found[8:].any()


def test_a_mark_that_one_image_alone_has_is_none():
    assert find_marks(marked(scenes(), rows=[3])[0], LABELS) is None


def test_a_mark_of_another_class_is_none():
    """Seen once in each class: only images of its own class make a pattern a mark."""
    images, _ = marked(scenes(), rows=[0, 1], seeds=(3, 3))
    assert find_marks(images, LABELS) is None


def test_a_mark_at_one_place_is_left_to_the_patch():
    places = torch.tensor([[5, 30]]).repeat(COUNT, 1)
    assert find_marks(marked(scenes(), places=places)[0], LABELS) is None


def test_large_images_are_searched_at_less_resolution():
    images, where = marked(scenes())
    large = F.interpolate(images, scale_factor=4)
    found = find_marks(large, LABELS)
    where = where.repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert found.shape == where.shape
    assert (found & where).sum() / where.sum() > 0.8


def test_nothing_on_the_object_is_a_mark():
    images, where = marked(scenes())
    assert (
        find_marks(images, LABELS, where) is None
        or not (find_marks(images, LABELS, where) & where).any()
    )


def test_edges_stripes_and_flat_images_are_no_marks():
    edges = scenes() * 0.05
    for n, (top, _) in enumerate(PLACES.tolist()):
        edges[n, :, top:] += 0.8
    stripes = (torch.arange(SIDE) / 2).sin().expand(COUNT, 3, SIDE, SIDE)
    for images in (edges, stripes, torch.zeros(COUNT, 3, SIDE, SIDE)):
        assert find_marks(images, LABELS) is None


def test_a_texture_that_fills_the_images_is_no_mark():
    texture = glyph(3).tile(1, 5, 5)[:, :SIDE, :SIDE].expand(COUNT, 3, -1, -1)
    assert find_marks(texture, LABELS) is None


@pytest.mark.parametrize("size", [(12, 12), (15, 40), (16, 400)])
def test_sizes_that_hold_no_two_windows_have_none(size):
    assert find_marks(torch.rand(COUNT, 3, *size), LABELS) is None


def test_the_answer_depends_on_the_images_alone():
    images, _ = marked(scenes())
    state = torch.get_rng_state()
    first, second = find_marks(images, LABELS), find_marks(images, LABELS)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    scaled = find_marks(3 * images - 1, LABELS)
    assert (scaled == first).float().mean() > 0.99
