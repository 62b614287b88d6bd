"""Transforms: where they come from, what they return, and the normalisation measured on them."""

import numpy as np
import pytest
import timm
import torch
from helpers.nets import ConvNet
from PIL import Image
from torchvision.models import ResNet18_Weights, ResNet50_Weights
from torchvision.transforms import Compose, Grayscale, Normalize, Resize, ToTensor, v2

from lightning_cam.explain.transforms import apply, measured_scale, transform_of

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))


def test_weights_say_their_own_transform():
    weights = ResNet50_Weights.DEFAULT
    made = apply(transform_of(weights, ConvNet()), PHOTO, "x")
    assert torch.equal(made, weights.transforms()(PHOTO))
    assert made.shape == (3, 224, 224)


def test_a_timm_model_says_its_transform():
    model = timm.create_model("resnet18", pretrained_cfg_overlay={"mean": (0.5, 0.4, 0.3)})
    transform = transform_of(None, model)
    assert apply(transform, PHOTO, "x").shape == (3, 224, 224)
    mean, _ = measured_scale(transform, PHOTO)
    assert mean == pytest.approx((0.5, 0.4, 0.3), abs=1e-5)


def test_a_model_that_says_nothing_needs_a_transform():
    with pytest.raises(ValueError, match=r"transform=.*ConvNet.*ResNet50_Weights.DEFAULT"):
        transform_of(None, ConvNet())


def test_an_enumeration_of_weights_and_other_things_are_no_transform():
    with pytest.raises(TypeError, match=r"ResNet18_Weights\.DEFAULT, got ResNet18_Weights"):
        transform_of(ResNet18_Weights, ConvNet())
    with pytest.raises(TypeError, match="function from a PIL image"):
        transform_of("imagenet", ConvNet())


def preset(size):
    return ResNet18_Weights.DEFAULT.transforms(crop_size=size)


@pytest.mark.parametrize(
    "transform",
    [
        preset(16),
        Compose([Resize((8, 8)), ToTensor(), Normalize(MEAN, STD)]),
        v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]),
        lambda image: (
            (ToTensor()(image) - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        ),
        Compose([ToTensor(), Normalize(MEAN, STD), v2.Pad(9)]),
    ],
    ids=["preset", "Compose", "v2", "function", "padded"],
)
def test_the_normalisation_is_measured(transform):
    mean, std = measured_scale(transform, PHOTO)
    assert mean == pytest.approx(MEAN, abs=1e-5)
    assert std == pytest.approx(STD, abs=1e-5)


def test_values_of_0_to_255_are_measured_too():
    mean, std = measured_scale(lambda image: ToTensor()(image) * 255, PHOTO)
    assert (mean, std) == (pytest.approx((0,) * 3), pytest.approx((1 / 255,) * 3))


@pytest.mark.parametrize(
    "transform",
    [
        lambda image: ToTensor()(image) ** 2,
        lambda image: ToTensor()(image) / ToTensor()(image).max(),
        lambda image: ToTensor()(image)[:, 30:, 40:] if image.getpixel((0, 0))[0] else 1 / 0,
        lambda image: torch.zeros(3, 4, 4),
    ],
    ids=["square", "by its maximum", "fails", "constant"],
)
def test_what_is_not_linear_has_no_normalisation(transform):
    assert measured_scale(transform, PHOTO) is None


def test_grey_images_have_one_channel():
    transform = Compose([Grayscale(), ToTensor(), Normalize(0.4, 0.2)])
    mean, std = measured_scale(transform, PHOTO.convert("L"))
    assert (mean, std) == (pytest.approx((0.4,)), pytest.approx((0.2,)))


def test_pixel_values_of_a_processor_are_taken():
    expected = ToTensor()(PHOTO)
    for values in (expected[None], [expected.numpy()]):
        made = apply(lambda _, values=values: {"pixel_values": values}, PHOTO, "x")
        assert torch.equal(made, expected)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda image: 1 / 0, r"failed on cat.jpg \(RGB, 50×40 pixels\): ZeroDivisionError"),
        (lambda image: image, "floating point tensor .*got a Image for cat.jpg.*ToTensor"),
        (v2.PILToTensor(), "uint8 for cat.jpg"),
        (lambda image: ToTensor()(image)[None], r"\(1, 3, 40, 50\)"),
    ],
)
def test_what_a_transform_must_return(transform, message):
    with pytest.raises(ValueError, match=message):
        apply(transform, PHOTO, "cat.jpg")
