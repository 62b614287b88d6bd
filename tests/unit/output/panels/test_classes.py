"""Panel `classes`: the mean map of each class, without flat maps."""

import torch
from helpers.scenes import KEY, draw, probe_of, spot

from lightning_cam import Probe


def classes(probe, maps, **options):
    return draw(probe, [{KEY: maps}], panels=["classes"], **options)["classes"]


def test_each_tile_is_the_mean_of_its_class():
    """One class has its maps on the left, the other one on the right."""
    maps = torch.zeros(2, 4, 4)
    maps[0, :, 0], maps[1, :, 3] = 1.0, 1.0
    picture = classes(probe_of(2), maps, colormap="bone")
    row = picture.pixels[30 : 30 + 100].astype(int).mean(axis=(0, 2))
    every, left, right = (row[6 + n * 118 : 6 + n * 118 + 112] for n in range(3))
    assert left[:14].mean() > 4 * left[-56:].mean() + 50
    assert right[-14:].mean() > 4 * right[:56].mean() + 50
    assert abs(every[:14].mean() - every[-14:].mean()) < 5
    assert "full heat" in picture.caption


def test_flat_maps_are_left_out():
    maps = spot(4, 3)
    maps[1] = 0.0
    assert classes(probe_of(), maps) is not None
    assert draw(probe_of(), [{KEY: torch.zeros(4, 4, 4)}], panels=["classes"]) == {}


def test_the_scale_is_the_mean_of_the_tiles_peaks():
    """Two classes with all of their attention in one of 16 cells; all maps share it equally."""
    maps = torch.zeros(2, 4, 4)
    maps[0, 0, 0], maps[1, 3, 3] = 1.0, 2.0
    assert f"full heat {(16 + 16 + 8) / 3:.1f} x even" in classes(probe_of(2), maps).caption


def test_of_many_classes_the_first_are_shown_and_the_caption_says_so():
    probe = Probe(torch.rand(40, 3, 16, 16), torch.arange(40))
    assert classes(probe, spot(40, 3)).caption.endswith("the first 23 of 40 classes")
