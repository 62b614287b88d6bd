"""Logits, dense logits and detections in models' outputs; predictions and probabilities."""

from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch

from lightning_cam.explain.outputs import (
    find_dense_logits,
    find_detections,
    find_logits,
    logits_of,
    predictions,
    probabilities,
)

Pair = namedtuple("Pair", ["aux", "logits"])  # noqa: PYI024


@dataclass
class Output:
    logits: torch.Tensor
    loss: torch.Tensor | None = None


LOGITS, OTHER = torch.randn(4, 3), torch.randn(4, 7)
SPATIAL = torch.randn(4, 5, 2, 2)


@pytest.mark.parametrize(
    "output",
    [
        LOGITS,
        (LOGITS,),
        (LOGITS, OTHER),
        [LOGITS, OTHER],
        (SPATIAL, LOGITS),
        {"logits": LOGITS},
        {"features": OTHER, "logits": LOGITS},
        {"aux": OTHER, "out": LOGITS},
        {"embedding": SPATIAL, "anything": LOGITS},
        {"loss": torch.tensor(0.0), "logits": LOGITS},
        Output(LOGITS),
        Output(LOGITS, torch.tensor(1.0)),
        Pair(OTHER, LOGITS),
        (torch.arange(4), LOGITS),
        (None, "text", LOGITS),
    ],
)
def test_logits_are_found_in_outputs(output):
    assert logits_of(output, 4) is LOGITS


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_one_number_per_image_is_one_binary_logit(shape):
    value = torch.randn(shape)
    assert torch.equal(logits_of(value, 4), value.view(4, 1))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (SPATIAL, r"shape \(4, classes\), got tensor: shape \(4, 5, 2, 2\)"),
        (torch.randn(5, 3), r"\(5, 3\)"),
        (torch.zeros(4, 3, dtype=torch.long), "int64"),
        ({"masks": SPATIAL}, r"\[masks\]"),
        (None, "a NoneType without tensors"),
        ("text", "a str without tensors"),
        ({}, "a dict without tensors"),
        (torch.tensor(1.0), r"shape \(\)"),
    ],
)
def test_an_output_without_logits_is_reported(output, message):
    with pytest.raises(ValueError, match=message):
        logits_of(output, 4)


def test_logits_of_a_hugging_face_output_are_found():
    modeling = pytest.importorskip("transformers.modeling_outputs")
    output = modeling.ImageClassifierOutput(logits=LOGITS, hidden_states=(SPATIAL,))
    assert logits_of(output, 4) is LOGITS


def test_a_single_logit_predicts_by_its_sign():
    logits = torch.tensor([[2.0], [-1.0], [0.0]])
    assert predictions(logits).tolist() == [1, 0, 0]
    torch.testing.assert_close(
        probabilities(logits),
        torch.tensor([[0.1192, 0.8808], [0.7311, 0.2689], [0.5, 0.5]]),
        atol=1e-4,
        rtol=0,
    )


def test_predictions_and_probabilities_of_several_logits():
    logits = torch.tensor([[0.0, 1.0, -1.0], [5.0, 5.0, 6.0]], dtype=torch.float16)
    assert predictions(logits).tolist() == [1, 2]
    assert probabilities(logits).dtype == torch.float32
    torch.testing.assert_close(probabilities(logits).sum(1), torch.ones(2))


def test_probabilities_of_several_labels_are_independent():
    logits = torch.tensor([[0.0, 2.0]])
    torch.testing.assert_close(
        probabilities(logits, multi_label=True), torch.tensor([[0.5, 0.8808]]), atol=1e-4, rtol=0
    )


def test_dense_logits_and_detections_are_distinguished():
    detections = [
        {"boxes": torch.zeros(2, 4), "labels": torch.ones(2).long(), "scores": torch.rand(2)}
    ] * 4
    assert find_dense_logits({"aux": OTHER, "out": SPATIAL}, 4) is SPATIAL
    assert find_dense_logits(LOGITS, 4) is None
    assert find_logits(SPATIAL, 4) is None
    assert find_detections(detections, 4) is detections
    assert find_detections(detections, 3) is None
    assert find_detections(LOGITS, 4) is None
    assert find_logits(detections, 4) is None
