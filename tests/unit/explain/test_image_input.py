"""`compute_cams` of photographs: the same maps as of the tensor that the transform makes."""

import numpy as np
import pytest
import torch
from helpers.nets import ConvNet
from PIL import Image
from torch import nn
from torchvision.transforms import Compose, Normalize, RandomCrop, Resize, ToTensor

from lightning_cam import compute_cams
from lightning_cam.explain.image_input import model_input

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
TRANSFORM = Compose([Resize((24, 32)), ToTensor(), Normalize(MEAN, STD)])
PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


@pytest.fixture
def files(tmp_path):
    """Three images in a folder."""
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for shade, path in enumerate(paths, start=1):
        Image.fromarray(PIXELS // shade).save(path)
    return paths


def tensor_of(paths):
    images = []
    for path in paths:
        with Image.open(path) as image:
            images.append(TRANSFORM(image))
    return torch.stack(images)


def test_paths_arrays_and_pil_images_give_the_maps_of_their_tensor(files):
    model = ConvNet()
    expected = compute_cams(model, tensor_of(files), 1)
    arrays = [np.asarray(Image.open(path)) for path in files]
    for images in (
        files,
        tuple(map(str, files)),
        iter(files),
        arrays,
        np.stack(arrays),
        [files[0], arrays[1], Image.fromarray(arrays[2])],
    ):
        found = compute_cams(model, images, 1, transform=TRANSFORM)
        assert torch.equal(found["gradcam"], expected["gradcam"])
        assert torch.equal(found.logits, expected.logits)
        assert torch.equal(found.images, expected.images)


def test_a_single_image_is_a_batch_of_one(files):
    model = ConvNet()
    expected = compute_cams(model, tensor_of(files[:1]), 1)["gradcam"]
    for image in (files[0], str(files[0]), Image.open(files[0]), PIXELS):
        assert torch.equal(compute_cams(model, image, 1, transform=TRANSFORM)["gradcam"], expected)


def test_a_rotated_jpeg_gives_the_maps_of_the_upright_one(tmp_path):
    smooth = Image.fromarray(PIXELS).resize((4, 3)).resize((160, 120))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned, upright = tmp_path / "turned.png", tmp_path / "upright.png"
    smooth.save(upright)
    smooth.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
    model = ConvNet()
    found = [compute_cams(model, each, 0, transform=TRANSFORM) for each in (turned, upright)]
    assert torch.equal(found[0].images, found[1].images)
    assert torch.equal(found[0]["gradcam"], found[1]["gradcam"])


def test_names_and_normalisation_are_known(files):
    given = model_input(ConvNet(), [*files, PIXELS], TRANSFORM)
    assert given.ids == ("a.png", "b.png", "c.png", "03")
    assert given.mean == pytest.approx(MEAN, abs=1e-5)
    assert given.std == pytest.approx(STD, abs=1e-5)
    own = model_input(ConvNet(), files, TRANSFORM, 0.0, 1.0)
    assert (own.mean, own.std) == ((0,) * 3, (1,) * 3)


def test_a_model_of_one_channel_is_fed_grey():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    grey = Image.fromarray(PIXELS).convert("L")
    given = model_input(model, PIXELS, ToTensor())
    assert torch.equal(given.images[0], ToTensor()(grey))
    assert (given.mean, given.std) == (pytest.approx((0.0,)), pytest.approx((1.0,)))


def test_images_take_the_dtype_of_the_model():
    assert model_input(ConvNet().double(), PIXELS, TRANSFORM).images.dtype == torch.float64


def test_a_random_transform_leaves_the_global_streams_alone():
    model, before = ConvNet(), torch.get_rng_state()
    model_input(model, PIXELS, Compose([RandomCrop(8), ToTensor()]))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_tensor_is_taken_as_it_is():
    images = torch.rand(2, 3, 8, 8)
    given = model_input(ConvNet(), images)
    assert given.images is images
    assert (given.ids, given.mean, given.std) == ((), None, None)
    assert model_input(ConvNet(), images, mean=0.5, std=MEAN).mean == (0.5,) * 3


SEVERAL = [torch.rand(3, 8, 8)] * 2


@pytest.mark.parametrize(
    ("images", "transform", "error", "message"),
    [
        (torch.rand(1, 3, 8, 8), TRANSFORM, ValueError, "got a tensor.*Leave transform out"),
        (SEVERAL, TRANSFORM, TypeError, r"torch.stack\(images\)"),
        ([], TRANSFORM, ValueError, "got none"),
        ({"image": PIXELS}, TRANSFORM, TypeError, "got a dict"),
        (b"bytes", TRANSFORM, TypeError, "got a bytes"),
        ([PIXELS, 7], TRANSFORM, TypeError, "image 1, got a int"),
        (PIXELS.transpose(2, 0, 1) / 255, None, ValueError, r"array \(H, W, 3\).*one tensor"),
        (PIXELS, None, ValueError, "expected transform="),
        (PIXELS, lambda image: 1 / 0, ValueError, "failed on image 00"),
        ("gone.jpg", TRANSFORM, ValueError, "gone.jpg: no such file"),
    ],
)
def test_wrong_images_are_refused(images, transform, error, message):
    with pytest.raises(error, match=message):
        model_input(ConvNet(), images, transform)


def test_images_of_several_sizes_are_refused():
    images = [PIXELS, PIXELS[:20]]
    with pytest.raises(ValueError, match=r"\(3, 30, 40\) for 00 and \(3, 20, 40\) for 01.*Crop"):
        model_input(ConvNet(), images, ToTensor())


@pytest.mark.zoo  # importing the library takes longest
def test_a_hugging_face_model_takes_its_processor():
    transformers = pytest.importorskip("transformers")
    names = {0: "ant", 1: "bee", 2: "owl"}
    labels = {"id2label": names, "label2id": {name: label for label, name in names.items()}}
    config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1], **labels)
    model = transformers.ResNetForImageClassification(config)
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 48})
    found = compute_cams(model, [PIXELS, PIXELS], "owl", transform=processor)
    assert found.images.shape == (2, 3, 32, 48)
    assert found.mean == pytest.approx((0.5,) * 3)
    assert found.classes.tolist() == [2, 2]
    assert "owl" in found.lines(0)[0]
