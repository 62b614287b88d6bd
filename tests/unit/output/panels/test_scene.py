"""What panels share: images in display range, text beside samples, peaks, spacing."""

import pytest
import torch
from helpers.scenes import KEY, OTHER, probe_of, snapshot_of, spot

from lightning_cam import Probe
from lightning_cam.output.config import OutputConfig
from lightning_cam.output.panels.scene import (
    DisplayedProbe,
    PastSnapshots,
    Peaks,
    Scene,
    evenly_spaced,
    suffix_of,
)

CPU = torch.device("cpu")


def displayed(probe, **options):
    return DisplayedProbe("cam", probe, OutputConfig(**options))


def scene(probe, snapshot=None):
    snapshot = snapshot or snapshot_of(probe, 0, {KEY: spot(len(probe), 3)})
    return Scene(displayed(probe), snapshot, PastSnapshots(), range(len(probe)))


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(3, 8, [0, 1, 2]), (8, 8, list(range(8))), (9, 3, [0, 4, 8]), (100, 2, [0, 99])],
)
def test_items_are_evenly_spaced_with_the_first_and_the_last(count, most, expected):
    assert evenly_spaced(range(count), most) == expected


def test_only_further_maps_have_a_suffix():
    maps = {KEY: spot(1, 0), OTHER: spot(1, 0)}
    assert suffix_of(KEY, maps) == ""
    assert suffix_of(OTHER, maps) == "/layercam@layer3"


def test_normalised_images_are_brought_back_into_range():
    original = torch.rand(2, 3, 8, 8)
    probe = Probe((original - 0.5) / 0.25, [0, 1], mean=[0.5] * 3, std=[0.25] * 3)
    shown = displayed(probe).images(torch.arange(2), CPU, (8, 8))
    torch.testing.assert_close(shown, original)


def test_images_in_range_are_unchanged_and_others_are_stretched():
    inside = torch.rand(2, 3, 8, 8)
    shown = displayed(Probe(inside)).images(torch.arange(2), CPU, (8, 8))
    torch.testing.assert_close(shown, inside)
    stretched = displayed(Probe(inside * 10 - 3)).images(torch.arange(2), CPU, (8, 8))
    assert stretched.min() == pytest.approx(0, abs=1e-6)
    assert stretched.max() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("size", "expected"), [((32, 32), (96, 96)), ((20, 90), (21, 96)), ((500, 1), (96, 1))]
)
def test_thumbnails_keep_the_aspect_ratio(size, expected):
    probe = Probe(torch.rand(1, 3, *size))
    assert displayed(probe).thumbnail_size(96) == expected


def test_text_beside_a_sample_names_label_image_and_a_wrong_prediction():
    probe = probe_of(2)
    right = scene(probe)
    assert right.text_of(1) == ["name 1", "01", "75%"]
    labels = torch.tensor([1, 0])
    wrong = snapshot_of(probe, 0, {KEY: spot(2, 3)})
    object.__setattr__(wrong, "predictions", labels)
    assert scene(probe, wrong).text_of(1) == ["name 1", "01", "as name 0", "75% wrong"]


def test_peaks_are_the_largest_values_so_far_and_those_of_the_past():
    probe, peaks = probe_of(2), Peaks()
    first = snapshot_of(probe, 0, {KEY: spot(2, 3, 2.0)})
    second = snapshot_of(probe, 1, {KEY: spot(2, 3, 0.5)})
    assert peaks.update(first, PastSnapshots())[KEY].tolist() == [2.0, 2.0]
    assert peaks.update(second, PastSnapshots())[KEY].tolist() == [2.0, 2.0]
    assert Peaks().update(second, PastSnapshots(best=first))[KEY].tolist() == [2.0, 2.0]
    assert Peaks().update(second, PastSnapshots())[KEY].tolist() == [0.5, 0.5]
