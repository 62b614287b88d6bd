"""Panel `overlay`: masks, captions, the two heat scales, tags of methods and labels."""

import re

import numpy as np
import pytest
import torch
from helpers.scenes import KEY, OTHER, draw, probe_of, snapshot_of, spot, spots

from lightning_cam import Probe
from lightning_cam.monitor import History, Snapshot
from lightning_cam.output.config import OutputConfig
from lightning_cam.output.panels.renderer import PanelRenderer
from lightning_cam.render.captions import shortened


def first_overlay(values, **options):
    """Return the overlay of the first image after evaluations with these map peaks."""
    maps = [{KEY: spot(4, 5, value)} for value in values]
    return draw(probe_of(), maps, panels=["overlay"], **options)["overlay/00"]


# --- masks ----------------------------------------------------------------------------------------


def test_the_mask_has_the_size_of_the_image_and_nothing_on_the_caption():
    picture = draw(probe_of(), spots([0]), panels=["overlay"])["overlay/00"]
    assert picture.mask.shape == picture.pixels.shape[:2]
    assert picture.mask.dtype == bool
    scale = 224 // 32
    expected = np.zeros(picture.mask.shape, bool)
    expected[8 * scale : 16 * scale, 8 * scale : 24 * scale] = True
    assert np.array_equal(picture.mask, expected)
    assert draw(probe_of(masks=False), spots([0]), panels=["overlay"])["overlay/00"].mask is None


# --- scales ---------------------------------------------------------------------------------------


def heat(picture):
    """Return how far the colours of an overlay are from those of the image without a map."""
    flat = [{KEY: torch.zeros(4, 4, 4)}]
    plain = draw(probe_of(), flat, panels=["overlay"])["overlay/00"].pixels
    rows = slice(0, 224)  # without the caption
    return np.abs(picture.pixels[rows].astype(int) - plain[rows]).mean()


def test_with_the_scale_of_the_run_weaker_maps_are_fainter():
    assert heat(first_overlay([1.0, 0.1], scale="run")) < 0.5 * heat(first_overlay([1.0]))
    full = pytest.approx(heat(first_overlay([1.0])), rel=0.02)  # a peak lies between pixels
    assert heat(first_overlay([1.0, 0.1], scale="image")) == full
    assert heat(first_overlay([0.1, 1.0], scale="run")) == full


def test_with_the_scale_of_the_run_the_caption_names_the_share():
    assert "heat 10% of its peak" in first_overlay([1.0, 0.1], scale="run").caption
    assert "peak" not in first_overlay([1.0, 0.1], scale="image").caption


def test_the_peak_counts_although_the_history_dropped_its_snapshot():
    values = [0.5, 9.0] + [0.45] * 40
    assert "heat 5% of its peak" in first_overlay(values, scale="run").caption


def test_a_resumed_run_takes_its_scale_from_the_history():
    probe, history = probe_of(), History()
    history.add(snapshot_of(probe, 0, {KEY: spot(4, 5, 1.0)}))
    resumed = History()
    resumed.load_state_dict(history.state_dict())
    now = snapshot_of(probe, 1, {KEY: spot(4, 5, 0.25)})
    resumed.add(now)
    renderer = PanelRenderer("cam", probe, OutputConfig(panels=["overlay"], scale="run"))
    assert "heat 25% of its peak" in renderer.draw(now, resumed.past_of(now))[0].caption


def test_each_method_has_its_own_scale_and_folder():
    maps = [{KEY: spot(4, 5, 8.0), OTHER: spot(4, 5, 1.0)}] * 2
    pictures = draw(probe_of(), maps, panels=["overlay"], scale="run")
    assert pictures["overlay/00"].group == "cam/overlay"
    assert pictures["overlay/layercam@layer3/00"].group == "cam/overlay/layercam@layer3"
    assert "heat 100% of its peak" in pictures["overlay/layercam@layer3/00"].caption


# --- captions -------------------------------------------------------------------------------------

LONG = "a name longer than any image is wide, followed by some more words of the same kind"


def captions(maps, predicted):
    """Return the parts of two captions, of images with labels 0 and 1 at epoch 123."""
    probe = Probe(torch.rand(2, 3, 32, 32), [0, 1], class_names=[LONG, "short"])
    rows, confidences = torch.arange(2), torch.tensor([0.875, 0.25])
    snapshot = Snapshot(0, 123, 7, {KEY: maps}, rows, rows, torch.tensor(predicted), confidences)
    renderer = PanelRenderer("cam", probe, OutputConfig(panels=["overlay"]))
    pictures = renderer.draw(snapshot, History().past_of(snapshot))
    return [picture.caption.split(" · ") for picture in pictures]


def test_figures_are_in_a_line_of_their_own_that_fits_the_narrowest_image():
    long, short = captions(torch.rand(2, 4, 4), [0, 0])
    assert long == [f"label {LONG}", f"predicted {LONG}", "epoch 123", "88%"]
    assert short == ["label short", f"predicted {LONG}", "epoch 123", "25%", "wrong"]
    figures = "epoch 123 · 25% · wrong"
    assert shortened(figures, 212, 17) == figures


def test_the_caption_of_a_flat_map_says_so():
    flat, drawn = captions(torch.stack([torch.zeros(4, 4), torch.rand(4, 4)]), [0, 1])
    assert flat[-1] == "no evidence"
    assert "no evidence" not in drawn


def test_a_name_that_the_font_lacks_is_preceded_by_its_index():
    probe = probe_of(class_names=["犬", "猫", *"cdefgh"])
    found = [p.caption for p in draw(probe, spots([0]), panels=["overlay"]).values()]
    assert "label class 0 犬" in found[0]
    assert "label class 1 猫" in found[1]


# --- several labels -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "names", "expected"),
    [
        (None, ["a", "b", "c"], ["00/a", "00/c", "01/b"]),
        (
            ["一", "二"],
            ["犬", "猫", "鳥"],
            ["image_0/class_0", "image_0/class_2", "image_1/class_1"],
        ),
    ],
)
def test_images_with_several_labels_have_an_overlay_per_label(ids, names, expected):
    labels = torch.tensor([[1, 0, 1], [0, 1, 0]])
    probe = Probe(torch.rand(2, 3, 32, 32), labels, class_names=names, ids=ids)
    rows, classes = labels.nonzero(as_tuple=True)
    maps = {KEY: torch.rand(3, 4, 4)}
    snapshot = Snapshot(0, 0, 0, maps, rows, classes, labels > 0, torch.rand(2, 3))
    renderer = PanelRenderer("cam", probe, OutputConfig())
    per_image = {"enrichment": torch.rand(3), "jsd_previous": torch.rand(3)}
    pictures = renderer.draw(snapshot, History().past_of(snapshot), per_image=per_image)
    tags = [picture.tag for picture in pictures]
    overlays = [re.sub("-[0-9a-f]{6}", "", tag) for tag in tags if "overlay" in tag]
    assert overlays == [f"cam/overlay/{name}" for name in expected]
    assert {"cam/comparison", "cam/classes", "cam/worst"} < set(tags)
