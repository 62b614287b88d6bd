"""Maps without an image: one scale for mean maps, a scale per channel for feature maps."""

import torch

from lightning_cam.render import feature_pictures, heat_pictures


def ramp(height=32, width=48):
    return torch.linspace(0, 1, width).expand(1, height, width)


def test_maps_share_one_scale_and_are_grey_where_not_finite():
    maps = torch.stack([ramp()[0], ramp()[0] / 2, torch.full((32, 48), torch.nan)])
    drawn = heat_pictures(maps, (32, 48), top=1.0, colormap="bone")
    assert drawn[0, 0, -1].tolist() == [255, 255, 255]
    assert drawn[1, 0, -1].max() < 200
    assert (drawn[2] == 128).all()


def test_a_channel_has_one_scale_for_all_images_and_each_channel_its_own():
    maps = torch.zeros(2, 2, 1, 2)
    maps[0, 0, 0, 1], maps[1, 0, 0, 1] = 4.0, 2.0
    maps[:, 1, 0, 1] = 1e-6
    drawn = feature_pictures(maps, (2, 4), colormap="bone")
    assert drawn.shape == (2, 2, 2, 4, 3)
    assert drawn[0, 0, 0, -1].tolist() == drawn[0, 1, 0, -1].tolist() == [255, 255, 255]
    assert 80 < int(drawn[1, 0, 0, -1, 0]) < 180
    assert (drawn[:, :, :, :2] == 0).all()


def test_signed_channels_are_white_at_zero():
    maps = torch.tensor([-1.0, 0.0, 1.0]).view(1, 1, 1, 3)
    fell, zero, rose = feature_pictures(maps, (1, 3))[0, 0, 0].int()
    assert fell[2] > fell[0]
    assert rose[0] > rose[2]
    assert zero.min() > 240


def test_channels_of_zeros_are_dark_and_nan_counts_as_zero():
    maps = torch.zeros(1, 2, 2, 2)
    maps[0, 1, 0, 0] = torch.nan
    assert feature_pictures(maps, (4, 4)).float().mean() < 5
