"""Masks that options give probes: drawn ones, estimated ones, both."""

import pytest
import torch
from helpers.training import squares_probe

from lightning_cam.monitor.config import MonitorConfig
from lightning_cam.monitor.probe_masks import ProbeMasks
from lightning_cam.probe.drawn_masks import DrawnMask, DrawnMasks, write_masks


def unmasked(count=4, **known):
    return squares_probe(count).replaced(masks=None, **known)


def written(path, probe, rows):
    wanted = torch.zeros(probe.images.shape[2:], dtype=torch.bool)
    wanted[2:5, 3:9] = True
    drawn = DrawnMask("id", wanted.numpy())
    write_masks(DrawnMasks(path, {probe.image_fingerprints[row]: drawn for row in rows}))
    return MonitorConfig(masks=path)


def test_without_options_a_probe_stays_as_it_is():
    probe = unmasked()
    masks = ProbeMasks(MonitorConfig())
    assert masks.add_to("val", probe, None) == (probe, None)
    assert masks.problem() == ""


def test_drawn_masks_and_what_is_said_of_them(tmp_path):
    probe = unmasked()
    masks = ProbeMasks(written(tmp_path / "masks.json", probe, [0, 2]))
    found, origin = masks.add_to("val", probe, None)
    assert found.masks.flatten(1).sum(1).tolist() == [18, 0, 18, 0]
    assert not found.masks_estimated
    assert origin.facts["masks"] == f"{tmp_path / 'masks.json'}, 2 of 4 images"
    assert masks.problem() == ""


def test_images_without_a_drawn_mask_get_an_estimated_one_where_that_is_wanted(tmp_path):
    probe = unmasked()
    config = written(tmp_path / "masks.json", probe, [0, 1, 2, 3])
    both = MonitorConfig(masks=config.masks, estimate_masks=True)
    assert not ProbeMasks(both).add_to("val", probe, None)[0].masks_estimated
    written(tmp_path / "masks.json", probe, [1])
    found, _ = ProbeMasks(both).add_to("val", probe, None)
    estimated = probe.with_estimated_masks().masks
    assert found.masks_estimated
    assert torch.equal(found.masks[2:], estimated[2:])
    assert int(found.masks[1].sum()) == 18


def test_a_file_without_an_image_of_any_probe_is_refused(tmp_path):
    probe, other = unmasked(), unmasked(6).replaced(images=1 - unmasked(6).images)
    masks = ProbeMasks(written(tmp_path / "masks.json", other, range(6)))
    assert masks.add_to("val", probe, None)[0] is probe
    assert "of the probe's 4 images, got 6 of other ones" in masks.problem()
    masks.required = False
    assert masks.problem() == ""
    masks.required = True
    masks.add_to("train", other, None)  # of two probes one may be without
    assert masks.problem() == ""


def test_the_file_is_checked_with_the_other_arguments(tmp_path):
    with pytest.raises(FileNotFoundError):
        MonitorConfig(masks=tmp_path / "none.json")
    (tmp_path / "masks.json").write_text("{}")
    with pytest.raises(ValueError, match="the file that `lightning-cam label` writes"):
        MonitorConfig(masks=tmp_path / "masks.json")
