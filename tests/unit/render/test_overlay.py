"""Maps over images: colours, outlines, scales, differences, images in display range."""

import cv2
import numpy as np
import pytest
import torch

from lightning_cam.render import (
    COLORMAPS,
    difference,
    displayable,
    overlay,
    picture_size,
    plain,
    sized_masks,
)


def image(height=32, width=48):
    """Return a batch of one image whose pixels are multiples of 1/255."""
    values = torch.arange(3 * height * width).reshape(1, 3, height, width) * 7 % 256
    return values / 255


def pixels(images):
    return images.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1)


def ramp(height=32, width=48):
    return torch.linspace(0, 1, width).expand(1, height, width)


def test_alpha_zero_is_the_image():
    assert torch.equal(overlay(image(), ramp(), alpha=0.0), pixels(image()))


@pytest.mark.parametrize("name", COLORMAPS)
def test_alpha_one_is_opencvs_colour_map_weighted_by_the_root_of_the_heat(name):
    drawn = overlay(image(), ramp(), colormap=name, alpha=1.0)[0].numpy()
    index = ramp()[0].mul(255).round().to(torch.uint8).numpy()
    colors = cv2.applyColorMap(index, getattr(cv2, f"COLORMAP_{name.upper()}"))[:, :, ::-1]
    weight = ramp()[0].sqrt().numpy()[:, :, None]
    expected = image()[0].permute(1, 2, 0).numpy() * 255 * (1 - weight) + colors * weight
    assert np.abs(drawn - expected).max() <= 0.51
    assert np.array_equal(drawn[:, -1], colors[:, -1])


def test_half_alpha_is_halfway():
    drawn = overlay(image(), ramp(), alpha=0.5).float()
    plain, colors = pixels(image()).float(), overlay(image(), ramp(), alpha=1.0).float()
    assert (drawn - (plain + colors) / 2).abs().max() <= 0.5


def test_the_maximum_has_the_last_colour_and_zero_the_first():
    drawn = overlay(image(), ramp() * 1e-20, colormap="bone", alpha=1.0)[0, 0]
    assert drawn[0].tolist() == [0, 0, 0]
    assert drawn[-1].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(1, 4, 6),
        torch.full((1, 4, 6), torch.nan),
        torch.full((1, 4, 6), torch.inf),
        torch.ones(1, 4, 6).index_fill(2, torch.tensor(3), torch.nan),
        torch.full((1, 4, 6), -1.0),
        torch.full((1, 4, 6), 0.3),
    ],
    ids=["zero", "nan", "infinite", "partly nan", "negative", "flat"],
)
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_flat_and_undefined_maps_show_the_plain_image(bad, alpha):
    assert torch.equal(overlay(image(), bad, alpha=alpha), pixels(image()))


def test_maps_of_a_batch_do_not_depend_on_each_other():
    maps = torch.cat([ramp() * 100, torch.full((1, 32, 48), torch.nan), ramp().flip(2)])
    together = overlay(image().expand(3, -1, -1, -1), maps)
    alone = [overlay(image(), each[None]) for each in maps]
    assert torch.equal(together, torch.cat(alone))


def test_the_map_is_drawn_at_the_right_place():
    maps = torch.zeros(1, 4, 6)
    maps[0, 0, 5] = 1.0
    drawn = overlay(torch.zeros(1, 3, 32, 48), maps, colormap="bone", alpha=1.0)[0].float().sum(2)
    assert drawn[:8, 40:].mean() > 10 * max(drawn[16:].mean(), drawn[:, :32].mean(), 1e-3)


def test_the_outline_surrounds_the_mask():
    mask = torch.zeros(1, 32, 48, dtype=torch.bool)
    mask[0, 5:12, 0:20] = True  # at the image's edge
    drawn = overlay(torch.zeros(1, 3, 32, 48), ramp(), masks=mask, alpha=0.0)[0]
    expected = torch.zeros(32, 48, dtype=torch.bool)
    expected[4:13, 0:21] = True
    expected[5:12, 0:20] = False
    assert torch.equal((drawn == 255).all(dim=2), expected)
    assert torch.equal((drawn == 0).all(dim=2), ~expected)


@pytest.mark.parametrize("filled", [True, False])
def test_a_full_or_empty_mask_has_no_outline(filled):
    mask = torch.full((1, 32, 48), filled)
    assert torch.equal(overlay(image(), ramp(), masks=mask, alpha=0.0), pixels(image()))


@pytest.mark.parametrize("size", [(64, 96), (16, 24), (224, 336), (33, 47)])
def test_images_have_the_given_size(size):
    mask = torch.zeros(1, 32, 48, dtype=torch.bool)
    drawn = overlay(image(), torch.rand(1, 3, 5), masks=mask, size=size)
    assert drawn.shape == (1, *size, 3)
    assert drawn.dtype == torch.uint8


def test_a_constant_image_keeps_its_colour_at_any_size():
    color = torch.tensor([10, 200, 90]).view(1, 3, 1, 1).expand(1, 3, 20, 20) / 255
    for size in ((224, 224), (7, 7)):
        drawn = overlay(color, torch.zeros(1, 2, 2), size=size)
        assert drawn.unique(dim=2).shape == (1, *size, 3) or (drawn == drawn[0, 0, 0]).all()
        assert drawn[0, 0, 0].tolist() == [10, 200, 90]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_maps_of_any_precision_can_be_drawn(dtype):
    maps = ramp().to(dtype)
    assert torch.equal(overlay(image(), maps), overlay(image(), maps.float()))


def test_arguments_are_not_changed():
    images, maps = image(), ramp().clone()
    before = images.clone(), maps.clone()
    overlay(images, maps)
    assert torch.equal(images, before[0])
    assert torch.equal(maps, before[1])


@pytest.mark.parametrize("size", [(224, 224), (230, 400)])
def test_the_outline_is_white_then_black_and_equally_wide_on_all_sides(size):
    mask = torch.zeros(1, *size, dtype=torch.bool)
    mask[0, 100:120, 50:70] = True
    grey = torch.full((1, 3, *size), 0.5)
    row = plain(grey, size, mask)[0, 110, 40:80, 0].tolist()
    column = plain(grey, size, mask)[0, 90:130, 60, 0].tolist()
    expected = [128] * 6 + [0] * 2 + [255] * 2 + [128] * 20 + [255] * 2 + [0] * 2 + [128] * 6
    assert row == column == expected


def test_masks_are_resized_without_interpolation():
    mask = torch.zeros(1, 4, 6, dtype=torch.bool)
    mask[0, 1, 2] = True
    sized = sized_masks(mask, (8, 12))
    assert sized.nonzero()[:, 1:].tolist() == [[2, 4], [2, 5], [3, 4], [3, 5]]


# --- one scale for several images -----------------------------------------------------------------


def test_peaks_set_the_scale():
    full, half = ramp(), ramp() / 2
    peaks = torch.ones(1)
    assert torch.equal(overlay(image(), full, peaks=peaks), overlay(image(), full))
    drawn = overlay(torch.zeros(1, 3, 32, 48), half, peaks=peaks, colormap="bone", alpha=1.0)
    whole = overlay(torch.zeros(1, 3, 32, 48), full, peaks=peaks, colormap="bone", alpha=1.0)
    # The end of the ramp has the colour of the middle of the full one.
    assert (drawn[0, 0, -1].int() - whole[0, 0, 24].int()).abs().max() <= 3
    assert drawn[0, 0, -1].max() < whole[0, 0, -1].min()


def test_peaks_of_zero_show_the_plain_image():
    bad = torch.zeros(1, 4, 6)
    assert torch.equal(overlay(image(), bad, peaks=torch.zeros(1)), pixels(image()))


# --- differences ----------------------------------------------------------------------------------


def test_no_change_is_grey_an_increase_red_and_a_decrease_blue():
    maps = torch.zeros(2, 1, 2)
    maps[0, 0, 1] = maps[1, 0, 0] = 1.0
    black = torch.zeros(1, 3, 8, 64)
    drawn = difference(black, maps[:1], maps[1:], alpha=1.0)[0].int()
    red, blue, middle = drawn[0, 0], drawn[0, -1], drawn[0, 31:33].float().mean(dim=0)
    assert red[0] > 2 * red[2]
    assert blue[2] > 2 * blue[0]
    assert (middle.max() - middle.min()) < 12
    same = difference(black, maps[:1], maps[:1])[0]
    assert torch.equal(same, same[..., :1].expand(-1, -1, 3))
    assert same.unique().numel() == 1


def test_differences_are_of_scaled_maps():
    maps = torch.rand(1, 4, 6)
    scaled = difference(image(), maps, maps * 1024)
    assert torch.equal(scaled, difference(image(), maps, maps))
    one_scale = difference(image(), maps, maps * 0.1, peaks=maps.amax(dim=(1, 2)))
    assert one_scale[..., 2].float().mean() > one_scale[..., 0].float().mean()  # blue: it decreased


def test_a_map_where_there_was_none_is_an_increase():
    drawn = difference(
        torch.zeros(1, 3, 8, 64), torch.zeros(1, 2, 2), torch.tensor([[[0.0, 1]] * 2])
    )
    assert (drawn[0, :, :, 0] >= drawn[0, :, :, 2]).all()


# --- images in display range ----------------------------------------------------------------------


def test_normalised_images_are_restored_exactly():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    scale = torch.tensor([mean, std]).view(2, 1, 3, 1, 1)
    shown = displayable((image() - scale[0]) / scale[1], mean, std)
    assert torch.equal(pixels(shown), pixels(image()))
    assert (shown - image()).abs().max() < 1e-6


def test_images_in_range_are_unchanged():
    assert torch.equal(displayable(image(), None, None), image())


def test_images_of_unknown_scale_are_stretched_together():
    images = torch.cat([image() * 2 - 1, image() * 6 - 3])
    shown = displayable(images, None, None)
    assert shown.amin() == 0
    assert shown.amax() == 1
    assert torch.allclose(shown, (images + 3) / 6, atol=1e-6)


def test_a_constant_image_out_of_range_is_finite():
    shown = displayable(torch.full((1, 3, 4, 4), 7.0), None, None)
    assert shown.isfinite().all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 13])
def test_any_number_of_channels_becomes_rgb(channels):
    images = torch.rand(2, channels, 8, 8)
    shown = displayable(images, None, None)
    assert shown.shape == (2, 3, 8, 8)
    if channels == 1:
        assert torch.equal(shown, images.expand(-1, 3, -1, -1))
    if channels > 2:
        assert torch.equal(shown, images[:, :3])


def test_normalised_grey_images_are_restored():
    grey = image()[:, :1]
    shown = displayable((grey - 0.13) / 0.3, [0.13], [0.3])
    assert torch.equal(pixels(shown), pixels(grey.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize(
    "size", [(1, 1), (8, 8), (28, 28), (32, 32), (224, 224), (500, 375), (3000, 2000), (10, 900)]
)
def test_sizes_are_legible_and_bounded(size):
    height, width = picture_size(*size)
    assert min(height, width) >= 1
    assert max(height, width) <= 768
    assert height * size[1] == pytest.approx(width * size[0], rel=0.1)
    if max(size) / min(size) < 3:
        assert min(height, width) >= 224


def test_an_image_of_a_good_size_is_not_resized():
    assert picture_size(224, 300) == (224, 300)
