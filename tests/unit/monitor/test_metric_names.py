"""Which metrics a probe has, and what messages say about the others."""

import pytest
import torch

from lightning_cam import Probe
from lightning_cam.monitor.metric_names import (
    attributes_of,
    is_comparison,
    metric_names_for,
    missing_metric,
    needs_interventions,
)


def probe(*, masks=True, targets=(0, 1, 0, 1)):
    square = torch.zeros(4, 8, 8, dtype=torch.bool)
    square[:, :4] = True
    targets = None if targets is None else torch.as_tensor(targets)
    return Probe(torch.rand(4, 3, 8, 8), targets, masks=square if masks else None)


@pytest.mark.parametrize(
    ("masks", "targets", "has_logits", "expected"),
    [
        (True, [0, 1, 0, 1], True, "background"),
        (False, [0, 1, 0, 1], True, "surround"),
        (False, None, True, None),
        (True, None, True, None),
        (True, [0, 1, 0, 1], False, None),
        (True, [[0, 1]] * 4, True, None),
    ],
)
def test_attributes_depend_on_masks_labels_and_logits(masks, targets, has_logits, expected):
    targets = None if targets is None else torch.tensor(targets)
    known = probe(masks=masks, targets=targets)
    found = attributes_of(known, has_logits=has_logits)
    names = {each.name for each in found}
    assert not names if expected is None else expected in names
    assert not {"background", "surround"} <= names


@pytest.mark.parametrize("masks", [True, False])
def test_names_for_a_probe_are_those_whose_needs_it_meets(masks):
    names = set(metric_names_for(probe(masks=masks)))
    assert {"entropy", "jsd_first", "label_confidence"} <= names
    assert ("enrichment_random" in names) is ("background_reliance" in names) is masks
    assert ("surround_reliance" in names) is not masks
    unlabelled = set(metric_names_for(probe(targets=None)))
    assert not {"label_confidence", "background_reliance"} & unlabelled


@pytest.mark.parametrize(
    ("name", "known", "reason"),
    [
        ("enrichment", {"masks": False}, "needs masks; this probe has none: give masks"),
        ("iou_random", {"masks": False}, "needs masks"),
        ("enrichment/layercam@net.3", {"masks": False}, "needs masks"),
        ("surround_reliance", {}, "is measured without masks only; this probe has masks"),
        ("label_confidence", {"targets": None}, "needs labels; this probe has none"),
        ("background_reliance", {"targets": [[0, 1]] * 4}, "needs one label per image"),
        ("overhead", {}, "needs max_overhead="),
        ("patch_reliance", {"targets": [0, 1, 2, 3]}, "needs two images of one class and one of"),
        ("shortcut_score", {"targets": [2, 2, 2, 2]}, "needs two images of one class and one of"),
    ],
)
def test_a_message_says_what_a_metric_needs(name, known, reason):
    message = missing_metric(
        "metric", name, ["entropy", "drift_first"], probe(**known), has_logits=True
    )
    assert message.startswith(f"{name} {reason}")
    assert message.endswith("Or use one of entropy, drift_first.")


def test_tiny_images_are_not_exchanged():
    tiny = Probe(torch.rand(4, 3, 7, 20), [0, 1, 0, 1])
    assert attributes_of(tiny, has_logits=True) == ()
    message = missing_metric("metric", "patch_reliance", ["entropy"], tiny, has_logits=True)
    assert message.startswith("patch_reliance needs images of 8 pixels a side or more")


def test_interventions_need_logits():
    message = missing_metric(
        "metric", "background_reliance", ["entropy"], probe(), has_logits=False, prefix="cam/"
    )
    assert message.startswith("cam/background_reliance needs class logits")
    assert message.endswith("Or use one of cam/entropy.")


def test_other_names_are_unknown_with_a_near_miss():
    message = missing_metric(
        "metric in a rule", "entropie", ["entropy"], probe(), has_logits=True, prefix="cam/"
    )
    assert message == (
        "unknown metric in a rule 'cam/entropie'. Did you mean 'cam/entropy'? Known: cam/entropy."
    )


@pytest.mark.parametrize("name", ["background_reliance", "drift_first", "noise_floor"])
def test_these_need_interventions(name):
    assert needs_interventions(name)


@pytest.mark.parametrize("name", ["unflipped/jsd_first/layercam@net.3", "drift_best"])
def test_these_compare_evaluations(name):
    assert is_comparison(name)
    assert is_comparison("prediction_flips")


@pytest.mark.parametrize("name", ["enrichment_random", "of_mine"])
def test_these_are_of_one_evaluation_without_interventions(name):
    assert not needs_interventions(name)
    assert not is_comparison(name)
