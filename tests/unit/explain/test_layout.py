"""`infer_layout`: height, width, channels and prefix tokens of activations of known networks."""

import pytest
import torch

from lightning_cam.explain.layout import Layout, infer_layout


@pytest.mark.parametrize(
    ("shape", "image", "kind", "grid", "channels", "prefix"),
    [
        ((2, 512, 7, 7), (224, 224), "nchw", (7, 7), 512, 0),
        ((2, 64, 14, 7), (448, 224), "nchw", (14, 7), 64, 0),
        ((2, 64, 7, 14), (224, 448), "nchw", (7, 14), 64, 0),
        ((2, 3, 32, 32), (32, 32), "nchw", (32, 32), 3, 0),
        ((2, 16, 13, 13), (224, 224), "nchw", (13, 13), 16, 0),
        ((2, 14, 14, 14), (224, 224), "nchw", (14, 14), 14, 0),
        ((2, 7, 7, 768), (224, 224), "nhwc", (7, 7), 768, 0),
        ((2, 8, 4, 96), (256, 128), "nhwc", (8, 4), 96, 0),
        ((2, 2, 2, 5), (64, 64), "nhwc", (2, 2), 5, 0),
        (
            (2, 8, 8, 7),
            (16, 16),
            "nhwc",
            (8, 8),
            7,
            0,
        ),  # fits exactly
        ((2, 49, 768), (224, 224), "tokens", (7, 7), 768, 0),
        ((2, 197, 768), (224, 224), "tokens", (14, 14), 768, 1),  # class token
        ((2, 198, 768), (224, 224), "tokens", (14, 14), 768, 2),  # class and distillation (DeiT)
        ((2, 201, 384), (224, 224), "tokens", (14, 14), 384, 5),  # class and four registers
        ((2, 212, 384), (224, 224), "tokens", (14, 14), 384, 16),  # sixteen registers alone
        ((2, 17, 6), (64, 64), "tokens", (4, 4), 6, 1),
        ((2, 99, 768), (224, 112), "tokens", (14, 7), 768, 1),
        ((2, 99, 768), (112, 224), "tokens", (7, 14), 768, 1),
        ((2, 3, 64, 64), (32, 32), "nchw", (64, 64), 3, 0),  # detectors enlarge small images
    ],
)
def test_layouts_of_activations(shape, image, kind, grid, channels, prefix):
    assert infer_layout(shape, image) == Layout(kind, grid, channels, prefix)


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ((2, 10), (32, 32)),  # logits
        ((2, 512, 1, 1), (224, 224)),  # pooled
        ((2, 1, 1, 512), (224, 224)),
        ((2, 1, 512), (224, 224)),
        ((2, 28, 7, 28), (224, 224)),  # not the image's proportions
        ((2, 8, 28, 7), (112, 224)),
        ((2, 3, 512, 512), (32, 32)),  # far finer than the image
        ((2, 3, 8, 8, 8), (32, 32)),
        ((2,), (32, 32)),
        ((), (32, 32)),
        ((2, 3, 768), (224, 224)),  # too few tokens for any grid
    ],
)
def test_tensors_without_height_and_width_have_no_layout(shape, image):
    assert infer_layout(shape, image) is None


@pytest.mark.parametrize("grid", [(4, 4), (2, 5), (6, 3)])
def test_every_layout_is_converted_to_channels_first(grid):
    h, w = grid
    wanted = torch.randn(2, 3, h, w)
    tokens = torch.cat([torch.full((2, 2, 3), 9.0), wanted.flatten(2).transpose(1, 2)], dim=1)
    for kind, value, prefix in [
        ("nchw", wanted, 0),
        ("nhwc", wanted.permute(0, 2, 3, 1), 0),
        ("tokens", tokens, 2),
    ]:
        assert torch.equal(Layout(kind, grid, 3, prefix).to_bchw(value), wanted)


@pytest.mark.parametrize("image", [(96, 96), (64, 96), (96, 64), (32, 128), (100, 75)])
@pytest.mark.parametrize("stride", [4, 8, 16])
@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_the_grid_of_tokens_of_any_image_and_patch_size_is_found(image, stride, prefix):
    grid = (image[0] // stride, image[1] // stride)
    layout = infer_layout((1, prefix + grid[0] * grid[1], 8), image)
    if image == (100, 75):  # strides round down, and fewer prefix tokens may fit as well
        assert layout is not None
    else:
        assert layout == Layout("tokens", grid, 8, prefix)


@pytest.mark.parametrize("image", [(224, 224), (225, 225), (100, 75), (75, 100), (33, 97)])
@pytest.mark.parametrize("stride", [2, 4, 8, 16])
@pytest.mark.parametrize("round_up", [False, True])
def test_grids_that_strides_round_are_recognised(image, stride, round_up):
    h, w = (-(-side // stride) if round_up else side // stride for side in image)
    assert infer_layout((1, 300, h, w), image) == Layout("nchw", (h, w), 300)
    assert infer_layout((1, h, w, 300), image) == Layout("nhwc", (h, w), 300)


def test_layouts_as_text():
    assert str(Layout("nchw", (7, 5), 512)) == "512×7×5"
    assert str(Layout("nhwc", (7, 7), 96)) == "96×7×7, channels last"
    assert str(Layout("tokens", (14, 14), 768, 1)) == "768×14×14, tokens after 1 prefix"
