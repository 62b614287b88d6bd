"""Masks estimated by GrabCut, for probes that have none."""

import pytest
import torch
from helpers.training import Squares

from lightning_cam import Probe
from lightning_cam.probe.estimated_masks import refined_mask


def probe_without_masks():
    """Return a probe and the masks that it was not given."""
    data = Squares(8, side=32)
    return Probe(data.images, data.targets), data.masks


def test_grabcut_finds_an_object_in_the_middle():
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.3
    masks = torch.zeros(4, 32, 32, dtype=torch.bool)
    masks[:, 9:23, 12:25] = True
    images[:, 1][masks] = 1.0
    found = Probe(images).with_estimated_masks().masks
    overlap = (found & masks).flatten(1).sum(1) / (found | masks).flatten(1).sum(1)
    assert float(overlap.median()) > 0.6


def test_estimated_masks_are_marked_and_given_ones_kept():
    probe, masks = probe_without_masks()
    estimated = probe.with_estimated_masks()
    assert estimated.masks_estimated
    given = Probe(probe.images, probe.targets, masks=masks)
    assert given.with_estimated_masks() is given
    assert not given.masks_estimated
    boxes = torch.tensor([[1.0, 1.0, 15.0, 15.0]]).expand(8, 4)
    assert Probe(probe.images, probe.targets, boxes=boxes).masks_estimated


def test_the_estimate_starts_from_boxes_where_there_are_some():
    data = Squares(4, side=32)
    boxes = torch.tensor([[1.0, 1, 15, 15], [17, 1, 31, 15], [1, 17, 15, 31], [17, 17, 31, 31]])
    found = Probe(data.images, data.targets, boxes=boxes).with_estimated_masks().masks
    assert not bool(found[0, 16:].any() | found[0, :, 16:].any())
    assert bool(found[0].any())


def test_the_estimate_is_repeatable():
    probe, _ = probe_without_masks()
    assert torch.equal(probe.with_estimated_masks().masks, probe.with_estimated_masks().masks)


@pytest.mark.parametrize("side", [1, 3, 8])
def test_images_too_small_for_grabcut_have_empty_or_whole_masks(side):
    images = torch.rand(2, 3, side, side)
    assert Probe(images, [0, 1]).with_estimated_masks().masks.shape == (2, side, side)


def test_the_object_inside_of_an_outline_is_found():
    data = Squares(4, side=32)
    for image, mask in zip(data.images, data.masks, strict=True):
        region = torch.nn.functional.max_pool2d(mask[None].float(), 5, 1, 2)[0] > 0
        found = refined_mask(image, region)
        assert not (found & ~region).any()
        assert float((found & mask).sum() / (found | mask).sum()) > 0.85
        assert torch.equal(refined_mask(image, region), found)
    everything = torch.ones(32, 32, dtype=torch.bool)
    assert refined_mask(data.images[0], everything).all()  # no background to learn from
    assert not refined_mask(data.images[0], ~everything).any()
