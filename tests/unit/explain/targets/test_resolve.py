"""`resolve_target`: what `targets=` accepts, and functions of the model's output."""

from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from helpers.nets import ConvNet, Returning

from lightning_cam import compute_cams
from lightning_cam.explain.targets import (
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
def test_logits_in_any_container_give_the_same_maps(wrap):
    net, images = ConvNet(), torch.rand(2, 3, 8, 8)
    expected = compute_cams(net, images, [0, 2], layers="b")
    result = compute_cams(Returning(net, wrap), images, [0, 2], layers="net.b")
    assert torch.equal(result["gradcam", "net.b"], expected["gradcam", "b"])
    assert torch.equal(result.logits, expected.logits)


def test_an_output_without_logits_needs_a_function():
    net = Returning(ConvNet(), lambda y: {"boxes": y[:, :, None]})
    images = torch.rand(2, 3, 8, 8)
    with pytest.raises(ValueError, match=r"\[boxes\].*function of the output"):
        compute_cams(net, images, 0, layers="net.b")
    result = compute_cams(net, images, lambda out: out["boxes"][:, 1, 0], layers="net.b")
    expected = compute_cams(net.net, images, 1, layers="b")
    assert torch.equal(result["gradcam", "net.b"], expected["gradcam", "b"])
    assert result.logits.shape == (2, 0)
    assert result.classes.tolist() == [-1, -1]


# --- from arguments to targets --------------------------------------------------------------------


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
def test_class_indices_stand_for_their_logits(given, classes):
    scores = resolve_target(given, 4).scores(LOGITS, slice(0, 4))
    assert scores.classes.tolist() == classes
    assert scores.rows.tolist() == [0, 1, 2, 3]
    assert scores.values.tolist() == [LOGITS[i, c].item() for i, c in enumerate(classes)]


def test_a_chunk_takes_the_classes_of_its_rows():
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
def test_wrong_targets_are_reported(given, error, message):
    with pytest.raises(error, match=message):
        resolve_target(given, 4)


@pytest.mark.parametrize("given", [3, [0, 1, 2, 3], torch.tensor([99, 0, 0, 0])])
def test_a_class_index_that_is_too_high_is_reported(given):
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
def test_a_function_must_return_one_score_per_image(function):
    with pytest.raises(ValueError, match=r"one score per image, shape \(4,\)"):
        compute_cams(ConvNet(), torch.rand(4, 3, 8, 8), function, layers="b")


def test_a_function_that_detaches_its_score_is_reported():
    with pytest.raises(ValueError, match="does not depend on layer 'b'"):
        compute_cams(ConvNet(), torch.rand(2, 3, 8, 8), lambda out: out[:, 0].detach(), layers="b")
