"""Masks from outside of the data: drawn on an earlier run's images, or exported by a tool."""

import pytest
import torch
from helpers.annotations import write_json
from helpers.photo_folder import area, coco_of, photo_folder
from helpers.real_data import Classifier, callback, check, network, object_mask, pairs, run
from helpers.training import QUIET
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from lightning_cam import Probe, Threshold
from lightning_cam.probe.drawn_masks import DrawnMask, DrawnMasks, write_masks

pytestmark = QUIET


def index_of(probe, row):
    return int(probe.ids[row].split("-")[-1])


def drawn(path, probe, rows):
    """Write a `masks.json` of some of a probe's images, and return its path."""
    masks = {
        probe.image_fingerprints[row]: DrawnMask(
            probe.ids[row], object_mask(index_of(probe, row)).numpy()
        )
        for row in rows
    }
    write_masks(DrawnMasks(path, masks))
    return path


def test_masks_drawn_on_the_images_of_an_earlier_run(tmp_path):
    first = run(tmp_path, Classifier(), pairs())
    file = drawn(tmp_path / "masks.json", first.probe, range(6))
    rule = Threshold("enrichment", below=0.01)
    done = run(tmp_path, Classifier(), pairs(), cam=callback(masks=file, alerts=[rule]))
    check(done)
    assert done.fact("masks") == f"{file}, 6 of 6 images"
    assert not done.probe.masks_estimated
    for row, mask in enumerate(done.probe.masks):
        assert torch.equal(mask, object_mask(index_of(done.probe, row)))
    assert done.scalar("cam/enrichment") > 0


def test_masks_drawn_on_some_of_the_images(tmp_path):
    first = run(tmp_path, Classifier(), pairs())
    file = drawn(tmp_path / "masks.json", first.probe, range(4))
    done = run(tmp_path, Classifier(), pairs(), cam=callback(masks=str(file)))
    check(done, notes=["2 of 6 masks are empty: these images count in no metric of the object"])
    assert done.fact("masks") == f"{file}, 4 of 6 images"
    assert [bool(mask.any()) for mask in done.probe.masks] == [True] * 4 + [False] * 2
    assert done.scalar("cam/enrichment") > 0


def test_masks_drawn_on_other_images(tmp_path):
    first = run(tmp_path, Classifier(), pairs())
    changed = first.probe.replaced(images=first.probe.images / 2)
    file = drawn(tmp_path / "masks.json", changed, range(6))
    module = Classifier()
    with pytest.raises(ValueError, match=r"of the probe's 6 images, got 6 of other ones in .*json"):
        run(tmp_path, module, pairs(), cam=callback(masks=file), num_sanity_val_steps=0)
    assert module.trainer.global_step == 0


def test_folder_of_images_with_annotations(tmp_path):
    folder = photo_folder(tmp_path / "data")
    file = write_json(tmp_path / "coco.json", coco_of())
    transform = v2.Compose([v2.CenterCrop(20), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    probe = Probe.from_folder(folder, 6, transform=transform, annotations=file)
    data = DataLoader(ImageFolder(folder, transform), batch_size=4)
    done = run(tmp_path, Classifier(network(classes=2)), data, cam=callback(probe=probe))
    check(done)
    for mask, name in zip(done.probe.masks, done.probe.ids, strict=True):
        number = int(name.split("/")[1].split(".")[0])
        whole = Image.fromarray(area(number))
        assert torch.equal(mask, v2.functional.pil_to_tensor(v2.CenterCrop(20)(whole))[0] > 0)
    assert done.scalar("cam/enrichment") > 0
