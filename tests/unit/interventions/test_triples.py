"""Triples: an image, a partner of its class, and one of another class."""

import torch

from lightning_cam.interventions.triples import draw_triples

LABELS = torch.tensor([0, 0, 0, 1, 1, 2])


def draw(count=500, labels=LABELS, usable=None, seed=0):
    usable = torch.ones(len(labels), dtype=torch.bool) if usable is None else usable
    return draw_triples(labels, usable, count, torch.Generator().manual_seed(seed))


def test_partners_are_other_images_of_the_right_class():
    rows, same, other = draw()
    assert (rows != same).all()
    assert (LABELS[rows] == LABELS[same]).all()
    assert (LABELS[rows] != LABELS[other]).all()
    assert set(rows.tolist()) == {0, 1, 2, 3, 4}  # of class 2 there is no second image
    assert set(other.tolist()) == {0, 1, 2, 3, 4, 5}


def test_every_possible_triple_is_about_equally_likely():
    rows, same, _ = draw(6000)
    assert torch.bincount(rows, minlength=6)[:5].float().std() < 60
    of_first = same[rows == 0]
    assert abs(float((of_first == 1).float().mean()) - 0.5) < 0.06


def test_unusable_images_are_not_taken():
    usable = torch.tensor([True, False, True, True, True, False])
    drawn = torch.cat(draw(usable=usable))
    assert set(drawn.tolist()) == {0, 2, 3, 4}


def test_none_without_partners_of_both_kinds():
    assert not len(draw(labels=torch.arange(6)).rows)
    assert not len(draw(labels=torch.zeros(6, dtype=torch.long)).rows)


def test_draws_depend_on_the_generator_alone():
    before = torch.get_rng_state()
    assert torch.equal(draw().rows, draw().rows)
    assert not torch.equal(draw().rows, draw(seed=1).rows)
    assert torch.equal(torch.get_rng_state(), before)
