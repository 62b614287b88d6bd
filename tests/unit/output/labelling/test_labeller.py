"""Masks while they are drawn, and their file after each shape."""

import json
import threading

import pytest
from helpers.labelling import bounds, disc_area, discs, overlap, recorded

from lightning_cam import Probe
from lightning_cam.output.labelling import Labeller, images_of
from lightning_cam.probe.annotations.rasterize import expand_runs
from lightning_cam.probe.drawn_masks import read_masks


def box(number, **other):
    return {"kind": "box", "points": [*bounds(number)], **other}


@pytest.fixture
def labeller(tmp_path):
    return Labeller(images_of(recorded(tmp_path / "run")), tmp_path / "masks.json")


def mask(entry):
    return expand_runs(entry["counts"], *entry["size"])


def test_grabcut_finds_the_object_in_a_box(labeller):
    for number in range(8):
        entry = labeller.draw(number, [box(number)])
        assert overlap(mask(entry), disc_area(number)) > 0.9
    assert labeller.count == 8
    probe = Probe(discs(), masks=labeller.out)
    assert min(overlap(m, disc_area(n)) for n, m in enumerate(probe.masks)) > 0.9


def test_the_file_is_written_after_each_shape_and_gone_on_with(labeller):
    labeller.draw(0, [box(0), box(0, erase=True), box(0, refine=False)])
    labeller.draw(3, [box(3)])
    again = Labeller(labeller.images, labeller.out)
    assert again.state() == labeller.state()
    assert again.count == 2
    shapes = again.state()[0]["shapes"]
    assert [each["erase"] for each in shapes] == [False, True, False]
    undone = again.draw(0, shapes[:1])
    assert overlap(mask(undone), disc_area(0)) > 0.9
    assert again.draw(3, []) == {"size": [48, 48], "counts": None, "shapes": [], "note": ""}
    assert len(read_masks(again.out)) == 1


def test_masks_of_other_images_in_the_file_are_kept(labeller, tmp_path):
    labeller.draw(0, [box(0)])
    other = Labeller(images_of(recorded(tmp_path / "b", class_names=["a", "b"])), labeller.out)
    assert other.count == 1  # the same pixels
    few = Labeller(other.images[1:], labeller.out)
    assert few.count == 0
    few.draw(0, [box(1)])
    assert len(read_masks(labeller.out)) == 2


def test_what_cannot_be_written_is_not_taken(labeller, tmp_path):
    labeller.draw(0, [box(0)])
    before = labeller.out.read_bytes()
    labeller.out = tmp_path / "masks.json" / "none"  # a file is no folder
    with pytest.raises(OSError):
        labeller.draw(1, [box(1)])
    assert labeller.count == 1
    assert (tmp_path / "masks.json").read_bytes() == before


def test_a_file_that_is_none_is_refused_and_left_alone(labeller):
    labeller.out.write_text("{}")
    with pytest.raises(ValueError, match="the file that `lightning-cam label` writes"):
        Labeller(labeller.images, labeller.out)
    assert labeller.out.read_text() == "{}"


def test_shapes_at_the_same_time_lose_nothing(labeller):
    threads = [
        threading.Thread(target=labeller.draw, args=(n, [box(n, refine=False)])) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads(labeller.out.read_text())["masks"]) == 8
