"""Targets of classifiers: single logits, differences, several labels, altered images."""

import pytest
import torch
from helpers.nets import ConvNet, Returning

from lightning_cam import ClassTarget, DifferenceTarget, MultiLabelTarget, compute_cams
from lightning_cam.explain.targets import resolve_target
from lightning_cam.explain.targets.classes import class_scores

# --- one binary logit -----------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda y: y, lambda y: y[:, 0]], ids=["(B, 1)", "(B,)"])
def test_class_zero_of_a_single_logit_is_its_negative(wrap):
    net, images = Returning(ConvNet(classes=1), wrap), torch.rand(4, 3, 8, 8)
    one = compute_cams(net, images, 1, layers="net.b", method="hirescam")
    zero = compute_cams(net, images, 0, layers="net.b", method="hirescam")
    negated = compute_cams(
        net, images, lambda out: -out.reshape(len(out)), layers="net.b", method="hirescam"
    )
    assert torch.equal(zero["hirescam", "net.b"], negated["hirescam", "net.b"])
    assert not torch.equal(zero["hirescam", "net.b"], one["hirescam", "net.b"])
    assert one.logits.shape == (4, 1)
    with pytest.raises(ValueError, match="below 2"):
        compute_cams(net, images, 2, layers="net.b")


def test_the_score_of_a_single_logit_has_the_sign_of_its_class():
    logits = torch.tensor([[2.0], [-1.0]])
    assert class_scores(logits, torch.tensor([1, 0])).tolist() == [2.0, 1.0]
    assert class_scores(logits, torch.tensor([0, 1])).tolist() == [-2.0, -1.0]


# --- differences and several labels ---------------------------------------------------------------


def test_the_difference_is_to_the_closest_other_class():
    logits = torch.tensor([[5.0, 1.0, 4.0], [0.0, 3.0, -9.0]])
    scores = resolve_target("difference", 2).scores(logits, slice(0, 2))
    assert scores.classes.tolist() == [0, 1]
    assert scores.values.tolist() == [1.0, 3.0]


def test_every_positive_label_has_a_map():
    labels = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])
    net, images = ConvNet(), torch.rand(4, 3, 8, 8)
    result = compute_cams(net, images, labels, layers="b")
    assert result.rows.tolist() == [0, 0, 2, 3, 3, 3]
    assert result.classes.tolist() == [0, 2, 1, 0, 1, 2]
    assert result.logits.shape == (4, 3)
    for maps, row, label in zip(
        result["gradcam", "b"], result.rows.tolist(), result.classes.tolist(), strict=True
    ):
        alone = compute_cams(net, images[row : row + 1], label, layers="b")
        torch.testing.assert_close(maps, alone["gradcam", "b"][0])


@pytest.mark.parametrize("chunk_size", [1, 2, 3])
def test_several_maps_per_image_do_not_depend_on_chunks(chunk_size):
    labels = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])
    net, images = ConvNet(), torch.rand(4, 3, 8, 8)
    whole = compute_cams(net, images, labels, layers="b")
    parts = compute_cams(net, images, labels, layers="b", chunk_size=chunk_size)
    torch.testing.assert_close(parts["gradcam", "b"], whole["gradcam", "b"])
    assert parts.rows.tolist() == whole.rows.tolist()
    assert parts.classes.tolist() == whole.classes.tolist()


def test_the_difference_of_a_single_logit_is_the_logit():
    logits = torch.tensor([[2.0], [-1.0]])
    scores = DifferenceTarget(torch.tensor([0, 0])).scores(logits, slice(0, 2))
    assert scores.values.tolist() == [-2.0, 1.0]


def test_the_mean_of_positive_labels_is_one_score_per_image_that_has_some():
    labels = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    logits = torch.tensor([[1.0, 9.0, 3.0], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    scores = MultiLabelTarget(labels, "mean").scores(logits, slice(0, 3))
    assert scores.values.tolist() == [2.0, 5.0]
    assert scores.rows.tolist() == [0, 2]
    assert scores.classes.tolist() == [-1, -1]


def test_labels_of_another_number_are_reported():
    target = MultiLabelTarget(torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"labels of the logits' shape \(2, 3\), got shape"):
        target.scores(torch.rand(2, 3), slice(0, 2))


@pytest.mark.parametrize("make", [ClassTarget, DifferenceTarget])
def test_a_pinned_target_explains_the_classes_that_were_predicted_before(make):
    before, after = torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([[1.0, 2.0], [4.0, 3.0]])
    target = make()
    pinned = target.pinned(target.scores(before, slice(4, 6)))
    assert pinned.scores(after, slice(4, 6)).classes.tolist() == [0, 1]
    assert target.scores(after, slice(4, 6)).classes.tolist() == [1, 0]
