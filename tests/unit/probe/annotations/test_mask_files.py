"""A folder of masks as images."""

import numpy as np
from helpers.annotations import mask_of, rectangle
from PIL import Image

from lightning_cam.probe.annotations import read_annotations


def test_a_mask_per_file_named_by_its_place(tmp_path):
    for name in ("cat/1.png", "dog/1.png", "cat/.hidden.png"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(rectangle().astype(np.uint8) * 255).save(file)
    (tmp_path / "notes.md").write_text("none")
    found = read_annotations(tmp_path)
    assert [each.name for each in found] == ["cat/1.png", "dog/1.png"]
    assert all(np.array_equal(mask_of(each), rectangle()) for each in found)
    assert {region.label for each in found for region in each.regions} == {None}
