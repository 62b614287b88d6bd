"""`masks.json`: written, read, and found by the pixels of images."""

import json

import numpy as np
import pytest
import torch

from lightning_cam import Probe
from lightning_cam.probe.drawn_masks import DrawnMask, DrawnMasks, read_masks, write_masks


def images(count=4, side=12):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def square(side=12):
    mask = np.zeros((side, side), dtype=bool)
    mask[3:7, 2:9] = True
    return mask


def written(path, probe, rows, mask=None):
    """Write masks of some of a probe's images, and return the path."""
    drawn = DrawnMask("an id", square() if mask is None else mask)
    prints = probe.image_fingerprints
    write_masks(DrawnMasks(path, {prints[row]: drawn for row in rows}))
    return path


def test_fingerprints_are_the_same_in_any_probe_and_change_with_any_pixel():
    whole = Probe(images()).image_fingerprints
    assert len(set(whole)) == 4
    assert Probe(images()[2:], [0, 1]).image_fingerprints == whole[2:]
    changed = images()
    changed[1, 2, 5, 5] += 1e-6
    assert [a == b for a, b in zip(Probe(changed).image_fingerprints, whole, strict=True)] == [
        True, False, True, True,
    ]  # fmt: skip
    other = Probe(images().reshape(4, 3, 6, 24)).image_fingerprints
    assert not set(other) & set(whole)


def test_fingerprints_do_not_change_with_the_type_of_equal_numbers():
    whole = images().mul(255).round()
    assert Probe(whole.byte()).image_fingerprints == Probe(whole).image_fingerprints
    assert Probe(whole.double()).image_fingerprints == Probe(whole).image_fingerprints
    assert Probe(-0.0 * whole).image_fingerprints == Probe(0.0 * whole).image_fingerprints


def test_a_probe_takes_the_masks_of_a_file(tmp_path):
    path = written(tmp_path / "masks.json", Probe(images()), [0, 2])
    for given in (path, str(path)):
        probe = Probe(images(), [0, 1, 0, 1], masks=given)
        assert torch.equal(probe.masks[0], torch.from_numpy(square()))
        assert torch.equal(probe.masks[0], probe.masks[2])
        assert not probe.masks[1].any()
        assert not probe.masks_estimated
    again = read_masks(path)
    assert next(iter(again.masks.values())).id == "an id"


def test_masks_of_another_size_are_resized(tmp_path):
    small = np.zeros((4, 4), dtype=bool)
    small[1, 2] = True
    path = written(tmp_path / "masks.json", Probe(images()), [0], small)
    wanted = torch.from_numpy(np.kron(small, np.ones((3, 3))) > 0)
    assert torch.equal(Probe(images(), masks=path).masks[0], wanted)


def test_masks_of_other_images_are_one_clear_error(tmp_path):
    path = written(tmp_path / "masks.json", Probe(images() + 1), range(4))
    with pytest.raises(ValueError, match=r"of the probe's 4 images, got 4 of other ones in .*mas"):
        Probe(images(), masks=path)


def test_drawn_masks_take_the_place_of_others(tmp_path):
    drawn = read_masks(written(tmp_path / "masks.json", Probe(images()), [0, 1]))
    own = torch.ones(4, 12, 12, dtype=torch.bool)
    both = Probe(images(), masks=own).with_drawn_masks(drawn)
    assert both.masks.flatten(1).sum(1).tolist() == [28, 28, 144, 144]
    assert not both.masks_estimated
    estimated = Probe(images(), masks=own, masks_estimated=True)
    assert estimated.with_drawn_masks(drawn).masks_estimated
    boxes = torch.tensor([[0.0, 0, 2, 2]] * 4)
    kept = Probe(images(), boxes=boxes).with_drawn_masks(drawn)
    assert kept.masks.flatten(1).sum(1).tolist() == [28, 28, 4, 4]
    assert kept.masks_estimated
    every = read_masks(written(tmp_path / "all.json", Probe(images()), range(4)))
    assert not Probe(images(), boxes=boxes).with_drawn_masks(every).masks_estimated
    other = Probe(images() + 1)
    assert other.with_drawn_masks(drawn) is other


def damaged(path, **changes):
    content = json.loads(path.read_text())
    entry = {key: changes.pop(key) for key in list(changes) if key in content["masks"][0]}
    content["masks"][0] |= entry
    path.write_text(json.dumps(content | changes))
    return path


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": "coco"}, r"Probe\.from_folder\(folder, annotations=\.\.\.\)"),
        ({"version": 2}, "expected version 1, got 2"),
        ({"masks": 7}, "not iterable"),
        ({"masks": [{}]}, "no 'size'"),
        ({"counts": [3]}, "run lengths of 144 pixels"),
        ({"size": [10**6, 10**6]}, "height and width"),
        ({"shapes": "x"}, "shapes as a list"),
    ],
)
def test_damaged_files_are_one_error_that_names_them(tmp_path, changes, says):
    path = damaged(written(tmp_path / "masks.json", Probe(images()), [0]), **changes)
    with pytest.raises(ValueError, match=rf"sound masks\.json file, got .*masks\.json: .*{says}"):
        read_masks(path)


@pytest.mark.parametrize("text", ["", "[]", "7", "[" * 200_000, "{"])
def test_files_that_are_none(tmp_path, text):
    (tmp_path / "masks.json").write_text(text)
    with pytest.raises(ValueError, match=r"masks\.json"):
        Probe(images(), masks=tmp_path / "masks.json")
    with pytest.raises(FileNotFoundError):
        Probe(images(), masks=tmp_path / "none.json")
