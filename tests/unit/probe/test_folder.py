"""`Probe.from_folder`: images, labels and masks of a folder, in the geometry of the transform."""

import numpy as np
import pytest
import torch
from helpers.annotations import write_json
from helpers.photo_folder import CLASSES, HEIGHT, WIDTH, area, coco_of, outline, photo_folder
from PIL import Image, ImageOps
from torchvision import transforms as v1
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from lightning_cam import Probe
from lightning_cam.probe.annotations.rasterize import encode_runs
from lightning_cam.probe.annotations.regions import ImageAnnotation, Region, Runs
from lightning_cam.probe.folder import draw

TO_TENSOR = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
CROP = [v2.Resize(48), v2.CenterCrop(40), v2.RandomHorizontalFlip(p=1.0)]


def numbers_of(probe):
    return [int(each.split("/")[1].split(".")[0]) for each in probe.ids]


def bright(probe):
    """Return (B, H, W) bool: the rectangle as it is in the images that the probe holds."""
    shown = probe.images.mean(dim=1)
    if probe.mean is not None:
        shown = (probe.images * torch.tensor(probe.std).view(-1, 1, 1)).mean(dim=1) + sum(
            probe.mean
        ) / 3
    return shown > 0.5


def check(probe, off=0.0):
    """Check that masks are where the rectangles are, but for a share of the pixels."""
    wrong = (probe.masks ^ bright(probe)).float().mean(dim=(1, 2))
    assert float(wrong.max()) <= off
    assert not probe.masks_estimated


@pytest.fixture
def folder(tmp_path):
    return photo_folder(tmp_path / "data")


@pytest.fixture
def annotations(tmp_path):
    return write_json(tmp_path / "a.json", coco_of())


def test_images_labels_names_and_ids_of_a_folder(folder):
    probe = Probe.from_folder(folder, 6)
    assert probe.class_names == CLASSES
    assert sorted(probe.targets.tolist()) == [0, 0, 0, 1, 1, 1]
    for row, name in enumerate(probe.ids):
        with Image.open(folder / name) as picture:
            wanted = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
        assert torch.allclose(probe.images[row], wanted, atol=1e-6)
        assert name.startswith(CLASSES[int(probe.targets[row])])
    assert probe.masks is None


def test_the_choice_is_that_of_the_same_data_set(folder):
    transform = v2.Compose(TO_TENSOR)
    for seed in (0, 1):
        probe = Probe.from_folder(folder, 4, transform=transform, seed=seed)
        same = Probe.from_dataset(ImageFolder(folder, transform), 4, seed=seed)
        assert torch.equal(probe.images, same.images)


@pytest.mark.parametrize(
    "transform",
    [
        None,
        v2.Compose([*CROP, *TO_TENSOR, v2.Normalize([0.4] * 3, [0.3] * 3)]),
        v1.Compose(
            [v1.Resize(48), v1.RandomCrop(40), v1.ToTensor(), v1.Normalize([0.4] * 3, [0.3] * 3)]
        ),
    ],
    ids=["none", "v2", "v1"],
)
def test_masks_follow_the_transform(folder, annotations, transform):
    probe = Probe.from_folder(folder, 6, transform=transform, annotations=annotations)
    check(probe, off=0.0 if transform is None else 0.03)  # the rims of resized rectangles
    assert probe.mean == (None if transform is None else (0.4000000059604645,) * 3)


def test_masks_follow_the_transforms_of_torchvisions_weights(folder, annotations):
    from torchvision.models import ResNet18_Weights

    transform = ResNet18_Weights.DEFAULT.transforms()
    probe = Probe.from_folder(folder, 2, transform=transform, annotations=annotations)
    check(probe, off=0.01)
    assert probe.images.shape == (2, 3, 224, 224)


def test_a_transform_that_masks_cannot_follow_is_one_clear_error(folder, annotations):
    transform = v1.Compose([v1.ToTensor(), lambda image: image / image.mean().clamp(min=0.01)])
    with pytest.raises(ValueError, match=r"Give one of torchvision\.transforms\.v2"):
        Probe.from_folder(folder, 4, transform=transform, annotations=annotations)
    assert Probe.from_folder(folder, 4, transform=transform).masks is None


def test_boxes_stay_boxes_under_v2_and_become_masks_under_others(folder, tmp_path):
    file = write_json(tmp_path / "b.json", coco_of(boxes=True))
    transform = v2.Compose([v2.Resize((HEIGHT * 2, WIDTH * 2)), *TO_TENSOR])
    probe = Probe.from_folder(folder, 4, transform=transform, annotations=file)
    assert probe.masks is None
    for row, number in enumerate(numbers_of(probe)):
        x1, y1, x2, _, _, y2, *_ = outline(number)
        assert probe.boxes[row].tolist() == [[2.0 * v for v in (x1, y1, x2, y2)]]
        assert probe.box_labels[row].tolist() == [int(probe.targets[row])]
    drawn = Probe.from_folder(folder, 4, transform=v1.ToTensor(), annotations=file)
    assert drawn.masks_estimated
    assert drawn.boxes is None
    assert torch.equal(drawn.masks, bright(drawn))


@pytest.mark.parametrize("orientation", [3, 6])
def test_images_are_upright(tmp_path, orientation):
    folder = photo_folder(tmp_path / "turned", orientation=orientation)
    straight = Probe.from_folder(photo_folder(tmp_path / "straight"), 4)
    file = write_json(tmp_path / "a.json", coco_of())
    probe = Probe.from_folder(folder, 4, annotations=file)
    assert torch.equal(probe.images, straight.images)
    check(probe)


def test_annotations_of_a_tool_that_does_not_turn_images(tmp_path):
    folder = photo_folder(tmp_path / "turned", orientation=6)

    def lying(number):  # a quarter turn against the clock: x, y become y, width - x
        x1, y1, x2, _, _, y2, *_ = outline(number)
        left, top, right, bottom = y1, WIDTH - x2, y2, WIDTH - x1
        return [left, top, right, top, right, bottom, left, bottom]

    file = write_json(tmp_path / "a.json", coco_of(size=(WIDTH, HEIGHT), shape=lying))
    check(Probe.from_folder(folder, 4, annotations=file))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_masks_are_turned_as_pillow_turns_images(orientation):
    lying = np.zeros((5, 9), dtype=bool)
    lying[1:3, 2:4] = lying[3, 8] = True
    picture = Image.fromarray(lying.astype(np.uint8) * 255)
    picture.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(picture)) > 0
    runs = Runs(np.array(encode_runs(lying)), lying.shape)
    annotation = ImageAnnotation("1.jpg", (Region(runs),), lying.shape)
    assert np.array_equal(draw(annotation, *upright.shape, orientation), upright)


def test_a_folder_of_masks_and_images_without_one(folder):
    for name in ("cat/0", "cat/2", "dog/1"):
        file = folder / "masks" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(area(int(name[-1])).astype(np.uint8) * 255).save(file)
    probe = Probe.from_folder(folder, 8, annotations=folder / "masks")
    assert sorted(probe.ids) == ["cat/0.png", "cat/2.png", "dog/1.png"]
    assert probe.class_names == CLASSES
    check(probe)
    (folder / "masks" / "cat" / "0.png").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"cannot read the mask .*0\.png"):
        Probe.from_folder(folder, 8, annotations=folder / "masks")


def test_only_regions_of_the_images_own_class(folder, tmp_path):
    content = coco_of()
    whole = [0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT]
    content["annotations"] += [
        {"image_id": n, "category_id": int(n < 4), "segmentation": [whole]} for n in range(8)
    ]
    check(Probe.from_folder(folder, 6, annotations=write_json(tmp_path / "c.json", content)))


def test_known_arguments_take_the_place_of_what_is_found(folder):
    names = ["bird", "cat", "dog"]
    probe = Probe.from_folder(folder, 4, class_names=names, mean=0.0, std=1.0)
    assert set(probe.targets.tolist()) == {1, 2}
    assert probe.mean == (0.0,) * 3
    with pytest.raises(ValueError, match=r"unknown class in .* 'dog'"):
        Probe.from_folder(folder, class_names=["cat", "bird"])


def test_folders_that_hold_no_images(tmp_path):
    with pytest.raises(ValueError, match="got no folder"):
        Probe.from_folder(tmp_path / "none")
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match="a subfolder of images per class, got a folder without"):
        Probe.from_folder(tmp_path)


def test_a_damaged_image_is_replaced_by_another(folder):
    (folder / "cat" / "0.png").write_bytes(b"damaged")
    probe = Probe.from_folder(folder, 8)
    assert "cat/0.png" not in probe.ids
    assert len(probe) == 7
