"""Panel `features`: an image per layer, a column per channel."""

import torch
from helpers.scenes import KEY, probe_of, snapshot_of, spot

from lightning_cam.explain.features import FeatureMaps
from lightning_cam.monitor import History
from lightning_cam.output.config import OutputConfig
from lightning_cam.output.panels.renderer import PanelRenderer


def drawn(features):
    probe = probe_of()
    snapshot = snapshot_of(probe, 0, {KEY: spot(4, 3)})
    renderer = PanelRenderer("cam", probe, OutputConfig(panels=["features"]))
    pictures = renderer.draw(snapshot, History().past_of(snapshot), features=features)
    return {picture.tag: picture for picture in pictures}


def test_there_is_an_image_per_layer_with_a_column_per_channel():
    one = FeatureMaps(torch.rand(3, 2, 4, 4), (7, 1), 64)
    two = FeatureMaps(torch.randn(3, 5, 4, 4), (0, 1, 2, 3, 4), 5)
    pictures = drawn({"layer3": one, "fpn[0]": two})
    assert next(iter(pictures)) == "cam/features/layer3"
    narrow, wide = (picture.pixels.shape for picture in pictures.values())
    assert wide[1] - narrow[1] == 3 * (96 + 6)
    assert "2 of 64 channels" in pictures["cam/features/layer3"].caption
    assert {picture.group for picture in pictures.values()} == {"cam/features"}


def test_tags_are_safe_as_paths():
    pictures = drawn({"fpn[0]": FeatureMaps(torch.rand(3, 2, 4, 4), (0, 1), 2)})
    assert all("[" not in tag for tag in pictures)


def test_there_is_none_where_nothing_was_computed():
    assert drawn(None) == drawn({}) == {}
