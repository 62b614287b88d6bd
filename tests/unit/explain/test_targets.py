from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from helpers.nets import ConvNet, Returning

from lightning_cam import compute_cams
from lightning_cam.explain.targets import (
    check_class_range,
    as_class_indices,
    class_scores,
    resolve_target,
)

Pair = namedtuple("Pair", ["aux", "logits"])  # noqa: PYI024


@dataclass
class Output:
    logits: torch.Tensor
    loss: torch.Tensor | None = None


LOGITS = torch.randn(4, 3)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: (y, y * 2),
        lambda y: {"features": y.repeat(1, 2), "logits": y},
        Output,
        lambda y: Pair(y.repeat(1, 2), y),
        lambda y: [y],
    ],
    ids=["tuple", "dict", "dataclass", "named tuple", "list"],
)
def test_models_of_any_output_give_the_same_maps(wrap):
    net, images = ConvNet(), torch.rand(2, 3, 8, 8)
    expected = compute_cams(net, images, [0, 2], layers="b")
    result = compute_cams(Returning(net, wrap), images, [0, 2], layers="net.b")
    assert torch.equal(result["gradcam", "net.b"], expected["gradcam", "b"])
    assert torch.equal(result.logits, expected.logits)


def test_a_model_without_logits_needs_a_function():
    net = Returning(ConvNet(), lambda y: {"boxes": y[:, :, None]})
    images = torch.rand(2, 3, 8, 8)
    with pytest.raises(ValueError, match=r"\[boxes\].*function of the output"):
        compute_cams(net, images, 0, layers="net.b")
    result = compute_cams(net, images, lambda out: out["boxes"][:, 1, 0], layers="net.b")
    expected = compute_cams(net.net, images, 1, layers="b")
    assert torch.equal(result["gradcam", "net.b"], expected["gradcam", "b"])
    assert result.logits.shape == (2, 0)
    assert result.classes.tolist() == [-1, -1]


# --- what is asked ---


@pytest.mark.parametrize(
    ("given", "classes"),
    [
        (2, [2, 2, 2, 2]),
        ([0, 1, 2, 0], [0, 1, 2, 0]),
        ((0, 1, 2, 0), [0, 1, 2, 0]),
        (torch.tensor([0, 1, 2, 0]), [0, 1, 2, 0]),
        (torch.tensor([0, 1, 2, 0], dtype=torch.int32), [0, 1, 2, 0]),
        (torch.tensor([0, 1, 2, 0], dtype=torch.uint8), [0, 1, 2, 0]),
        (None, LOGITS.argmax(1).tolist()),
        ("prediction", LOGITS.argmax(1).tolist()),
    ],
)
def test_a_class_is_its_logit(given, classes):
    scores = resolve_target(given, 4).scores(LOGITS, slice(0, 4))
    assert scores.classes.tolist() == classes
    assert scores.rows.tolist() == [0, 1, 2, 3]
    assert scores.values.tolist() == [LOGITS[i, c].item() for i, c in enumerate(classes)]


def test_a_chunk_takes_its_rows_of_the_classes():
    target = resolve_target([0, 1, 2, 1, 0, 2], 6)
    scores = target.scores(LOGITS, slice(2, 6))
    assert scores.classes.tolist() == [2, 1, 0, 2]
    assert scores.rows.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([0, 1], ValueError, r"one target per image, shape \(4,\), got shape \(2,\)"),
        ([0, 1, 2, 0, 1], ValueError, r"got shape \(5,\)"),
        (torch.zeros(3, 3, dtype=torch.long), ValueError, r"labels.*got shape \(3, 3\)"),
        (torch.full((4, 3), 2), ValueError, "0 and 1"),
        (torch.zeros(4, 3, 3, dtype=torch.long), ValueError, r"got shape \(4, 3, 3\)"),
        (torch.tensor(1), ValueError, r"got shape \(\)"),
        (torch.zeros(4), ValueError, "integer class indices.*float32"),
        ([0.0, 1.0, 2.0, 0.0], ValueError, "integer class indices"),
        (torch.ones(4, dtype=torch.bool), ValueError, "integer class indices.*bool"),
        (-1, ValueError, "0 and above, got -1"),
        ([0, 1, -3, 0], ValueError, "got -3"),
        ("label", ValueError, "unknown target 'label'"),
        ("predicted", ValueError, "prediction"),
        (True, TypeError, "bool"),
        (1.5, TypeError, "float"),
        ({"a": 1}, TypeError, "dict"),
    ],
)
def test_bad_targets_say_what_came(given, error, message):
    with pytest.raises(error, match=message):
        resolve_target(given, 4)


@pytest.mark.parametrize("given", [3, [0, 1, 2, 3], torch.tensor([99, 0, 0, 0])])
def test_a_class_beyond_the_models_says_how_many_there_are(given):
    with pytest.raises(ValueError, match=r"class indices below 3.*got (3|99)"):
        compute_cams(ConvNet(), torch.rand(4, 3, 8, 8), given, layers="b")


@pytest.mark.parametrize(
    "function",
    [
        lambda out: out,
        lambda out: out.sum(),
        lambda out: out[:1, 0],
        lambda out: 1.0,
        lambda out: None,
        lambda out: out[:, :1],
    ],
)
def test_a_function_must_return_one_score_an_image(function):
    with pytest.raises(ValueError, match=r"one score per image, shape \(4,\)"):
        compute_cams(ConvNet(), torch.rand(4, 3, 8, 8), function, layers="b")


def test_a_function_that_cuts_the_graph_is_told_so():
    with pytest.raises(ValueError, match="does not depend on layer 'b'"):
        compute_cams(ConvNet(), torch.rand(2, 3, 8, 8), lambda out: out[:, 0].detach(), layers="b")


# --- one binary logit ---


@pytest.mark.parametrize("wrap", [lambda y: y, lambda y: y[:, 0]], ids=["(B, 1)", "(B,)"])
def test_of_a_single_logit_class_zero_is_the_negative(wrap):
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


def test_ranges():
    check_class_range(torch.tensor([0, 2]), 3)
    check_class_range(torch.tensor([0, 1]), 1)
    check_class_range(torch.tensor([], dtype=torch.long), 3)
    with pytest.raises(ValueError, match="below 3"):
        check_class_range(torch.tensor([3]), 3)
    assert as_class_indices(torch.tensor([1, 2], dtype=torch.int8), 2).dtype == torch.long


def test_a_single_logits_score_has_the_sign_of_its_class():
    logits = torch.tensor([[2.0], [-1.0]])
    assert class_scores(logits, torch.tensor([1, 0])).tolist() == [2.0, 1.0]
    assert class_scores(logits, torch.tensor([0, 1])).tolist() == [-2.0, -1.0]


# --- other questions ---


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
def test_several_maps_an_image_do_not_depend_on_chunks(chunk_size):
    labels = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]])
    net, images = ConvNet(), torch.rand(4, 3, 8, 8)
    whole = compute_cams(net, images, labels, layers="b")
    parts = compute_cams(net, images, labels, layers="b", chunk_size=chunk_size)
    torch.testing.assert_close(parts["gradcam", "b"], whole["gradcam", "b"])
    assert parts.rows.tolist() == whole.rows.tolist()
    assert parts.classes.tolist() == whole.classes.tolist()


def test_a_segmentation_is_asked_for_the_pixels_of_a_class():
    dense = torch.zeros(2, 3, 2, 2)
    dense[0, 1] = torch.tensor([[5.0, 7.0], [0.0, -1.0]])
    dense[0, 2] = torch.tensor([[0.0, 0.0], [3.0, 2.0]])
    scores = resolve_target([1, 2], 2).scores(dense, slice(0, 2))
    assert scores.values.tolist() == [12.0, 0.0]
    assert resolve_target(2, 2).scores(dense, slice(0, 2)).values.tolist() == [5.0, 0.0]
