"""Targets of segmentation models and detectors: regions of pixels, boxes, mirrored images."""

import pytest
import torch

from lightning_cam import ClassTarget, DetectionTarget, SegmentationTarget
from lightning_cam.explain.targets import resolve_target

# --- segmentation ---------------------------------------------------------------------------------


def test_the_score_of_a_class_is_the_sum_over_its_pixels_or_all_pixels():
    dense = torch.zeros(2, 3, 2, 2)
    dense[0, 1] = torch.tensor([[5.0, 7.0], [0.0, -1.0]])
    dense[0, 2] = torch.tensor([[0.0, 0.0], [3.0, 2.0]])
    scores = resolve_target([1, 2], 2).scores(dense, slice(0, 2))
    assert scores.values.tolist() == [12.0, 0.0]
    assert resolve_target(2, 2).scores(dense, slice(0, 2)).values.tolist() == [5.0, 0.0]


def test_without_a_class_the_one_with_the_most_pixels_is_explained():
    dense = torch.zeros(1, 3, 2, 2)
    dense[0, 2, 0], dense[0, 1, 1, 0] = 4.0, 9.0
    scores = ClassTarget().scores(dense, slice(0, 1))
    assert (scores.classes.tolist(), scores.values.tolist()) == ([2], [8.0])


def test_each_class_has_a_score_per_image():
    dense = torch.zeros(2, 3, 2, 2)
    dense[0, 1], dense[1, 2] = 1.0, 2.0
    scores = SegmentationTarget((1, 2)).scores(dense, slice(0, 2))
    assert scores.rows.tolist() == [0, 0, 1, 1]
    assert scores.classes.tolist() == [1, 2, 1, 2]
    assert scores.values.tolist() == [4.0, 0.0, 0.0, 8.0]


def test_given_masks_are_the_region():
    dense = torch.arange(8.0).view(1, 2, 2, 2)
    masks = torch.tensor([[[True, False], [False, True]]])
    scores = SegmentationTarget((0, 1), masks).scores(dense, slice(0, 1))
    assert scores.values.tolist() == [0.0 + 3.0, 4.0 + 7.0]
    mirrored = SegmentationTarget((0, 1), masks).mirrored(2)
    assert mirrored.scores(dense.flip(-1), slice(0, 1)).values.tolist() == scores.values.tolist()


@pytest.mark.parametrize(
    ("target", "output", "match"),
    [
        (SegmentationTarget((0,)), torch.rand(1, 3), "expected a segmentation's logits"),
        (
            SegmentationTarget((0,), torch.ones(1, 4, 4).bool()),
            torch.rand(1, 3, 2, 2),
            r"masks of the output's size \(2, 2\), got shape \(1, 4, 4\)",
        ),
        (SegmentationTarget((3,)), torch.rand(1, 3, 2, 2), "below 3"),
    ],
)
def test_wrong_outputs_masks_and_classes_are_reported(target, output, match):
    with pytest.raises(ValueError, match=match):
        target.scores(output, slice(0, 1))


# --- detection ------------------------------------------------------------------------------------

BOX, MOVED, FAR = [0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 8.0], [20.0, 20.0, 30.0, 30.0]


def detections(boxes, labels, scores):
    return [{"boxes": torch.tensor(boxes), "labels": torch.tensor(labels), "scores": scores}]


def box_target(box=BOX, label=1, **options):
    return DetectionTarget((torch.tensor([box]),), (torch.tensor([label]),), **options)


def test_the_score_of_a_box_is_that_of_the_best_detection_of_its_class_on_it():
    scores = torch.tensor([0.3, 0.6, 0.9, 0.8])
    output = detections([BOX, MOVED, FAR, BOX], [1, 1, 1, 2], scores)
    assert box_target().scores(output, slice(0, 1)).values.tolist() == pytest.approx([0.6])
    strict = box_target(min_iou=0.9).scores(output, slice(0, 1))  # MOVED overlaps by 0.8
    assert strict.values.tolist() == pytest.approx([0.3])
    assert box_target(label=2).scores(output, slice(0, 1)).classes.tolist() == [2]


def test_a_box_without_a_detection_scores_zero_and_keeps_the_graph():
    scores = torch.tensor([0.9], requires_grad=True)
    found = box_target().scores(detections([FAR], [1], scores), slice(0, 1))
    assert found.values.tolist() == [0.0]
    found.values.sum().backward()
    assert scores.grad.tolist() == [0.0]


def test_boxes_are_mirrored():
    target = box_target([1.0, 2.0, 5.0, 9.0]).mirrored(12)
    assert target.boxes[0].tolist() == [[7.0, 2.0, 11.0, 9.0]]


def test_a_class_of_a_detector_is_its_best_detection():
    output = detections([BOX, MOVED, FAR], [1, 2, 1], torch.tensor([0.3, 0.6, 0.5]))
    of_class = resolve_target(1, 1).scores(output, slice(0, 1))
    assert of_class.values.tolist() == pytest.approx([0.5])
    best = ClassTarget().scores(output, slice(0, 1))
    assert (best.classes.tolist(), best.values.tolist()) == ([2], pytest.approx([0.6]))


def test_an_image_without_detections_scores_zero():
    none = [
        {
            "boxes": torch.zeros(0, 4),
            "labels": torch.zeros(0, dtype=torch.long),
            "scores": torch.zeros(0),
        }
    ]
    scores = ClassTarget().scores(none, slice(0, 1))
    assert (scores.values.tolist(), scores.classes.tolist()) == ([0.0], [-1])


def test_an_output_of_another_kind_is_reported():
    with pytest.raises(ValueError, match=r"expected a detector's output, 1 dicts .* got a Tensor"):
        box_target().scores(torch.rand(1, 3), slice(0, 1))
