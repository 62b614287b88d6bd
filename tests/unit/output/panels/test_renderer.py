"""`PanelRenderer`: the configured panels, for probes of any size, shape and names."""

import numpy as np
import pytest
import torch
from helpers.scenes import KEY, OTHER, draw, probe_of, spots

from lightning_cam import Probe
from lightning_cam.output.config import OutputConfig
from lightning_cam.output.panels import PANELS

PER_IMAGE = {"enrichment": torch.tensor([0.4, 0.1, 0.3, 0.2])}


def test_only_the_named_panels_are_drawn():
    for name in ("timeline", "comparison", "classes", "animation", "worst"):
        pictures = draw(probe_of(), spots([0, 5]), per_image=PER_IMAGE, panels=[name])
        assert list(pictures) == [name]
    assert draw(probe_of(), spots([0]), panels=[]) == {}


def test_panels_are_drawn_in_the_given_order():
    names = ["worst", "classes", "timeline"]
    assert list(draw(probe_of(), spots([0, 5]), per_image=PER_IMAGE, panels=names)) == names


def test_default_panels_need_no_passes_of_their_own():
    default = OutputConfig().panel_names
    pictures = draw(probe_of(), spots([0, 5]), per_image=PER_IMAGE, panels=default)
    overlays = [name for name in pictures if name.startswith("overlay/")]
    assert overlays == [f"overlay/{i:02d}" for i in range(4)]
    expected = {"timeline", "comparison", "worst", "classes"}  # `methods` needs several maps
    assert set(pictures) - set(overlays) == expected
    assert not any(PANELS[name].slow for name in default)


def test_without_pictures_nothing_is_drawn():
    assert draw(probe_of(), spots([0]), num_pictures=0) == {}


def test_only_some_images_have_overlays():
    pictures = draw(probe_of(), spots([0]), num_pictures=2, panels=["overlay"])
    assert list(pictures) == ["overlay/00", "overlay/01"]


@pytest.mark.parametrize("count", [1, 2, 9, 64])
def test_any_number_of_samples(count):
    per_image = {"enrichment": torch.rand(count), "relevance_mass": torch.rand(count)}
    pictures = draw(probe_of(count), spots([0, 5, 3], count), best=1, per_image=per_image)
    assert {"timeline", "comparison", "worst", "classes", "animation"} < set(pictures)
    for picture in pictures.values():
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.shape[2] == 3
        assert max(picture.pixels.shape) < 1600


@pytest.mark.parametrize(
    ("size", "channels", "grid"),
    [((20, 90), 1, (2, 2)), ((90, 20), 3, (14, 3)), ((64, 64), 5, (1, 1)), ((8, 8), 2, (14, 14))],
    ids=str,
)
def test_any_shape_of_images_and_maps(size, channels, grid):
    mask = torch.zeros(3, *size, dtype=torch.bool)
    mask[:, 5:10, 5:10] = True
    probe = Probe(torch.randn(3, channels, *size), [0, 1, 2], masks=mask)
    maps = [{KEY: torch.rand(3, *grid), OTHER: torch.rand(3, *grid)} for _ in range(3)]
    per_image = {"enrichment": torch.rand(3)}
    for picture in draw(probe, maps, best=0, per_image=per_image, scale="run").values():
        assert picture.pixels.size > 0


@pytest.mark.parametrize("name", ["x" * 300, "<script>", "犬", "", "a\nb"], ids=ascii)
def test_any_class_name(name):
    probe = probe_of(class_names=[name] * 8)
    for tag, picture in draw(probe, spots([0, 5]), per_image=PER_IMAGE).items():
        assert picture.pixels.shape[1] < 1600, tag
