"""`map_tensors` and `tensors_in`: paths, types and contents of nested containers."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field

import pytest
import torch

from lightning_cam.runtime.containers import map_tensors, normal, tensors_in

Pair = namedtuple("Pair", ["first", "second"])  # noqa: PYI024 - the untyped kind is meant


@dataclass(frozen=True)
class Output:
    logits: torch.Tensor
    note: str = "as is"
    computed: int = field(default=3, init=False)


A, B = torch.zeros(1), torch.ones(2)


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        (A, [""]),
        ((A, B), ["[0]", "[1]"]),
        ([A, (B, A)], ["[0]", "[1][0]", "[1][1]"]),
        ({"feat": A, "more": {"x": B}}, ["[feat]", "[more][x]"]),
        (OrderedDict(z=A, a=B), ["[z]", "[a]"]),
        (Pair(A, B), ["[first]", "[second]"]),
        (Output(A), ["[logits]"]),
        ((A, None, "text", 3), ["[0]"]),
        ("text", []),
        (None, []),
        (7, []),
    ],
)
def test_paths_are_written_as_indices(value, paths):
    assert [path for path, _ in tensors_in(value)] == paths


@pytest.mark.parametrize(
    "value",
    [A, (A, B), [A, B], {"a": A}, OrderedDict(z=A, a=B), Pair(A, B), Output(A), (A, None, "text")],
)
def test_containers_keep_their_type_and_the_original_is_unchanged(value):
    before = [tensor.clone() for _, tensor in tensors_in(value)]
    rebuilt = map_tensors(value, lambda _path, tensor: tensor + 1)
    assert type(rebuilt) is type(value)
    for (_, new), (_, old), kept in zip(
        tensors_in(rebuilt), tensors_in(value), before, strict=True
    ):
        assert torch.equal(new, kept + 1)
        assert torch.equal(old, kept)


def test_other_values_are_passed_on_unchanged():
    marker = object()
    rebuilt = map_tensors({"keep": marker, "note": "x", "t": A}, lambda _path, tensor: tensor)
    assert rebuilt["keep"] is marker
    assert rebuilt["note"] == "x"


def test_a_hugging_face_output_keeps_its_type_keys_and_attributes():
    modeling = pytest.importorskip("transformers.modeling_outputs")
    output = modeling.BaseModelOutput(last_hidden_state=A, hidden_states=(A, B))
    rebuilt = map_tensors(output, lambda _path, tensor: tensor + 1)
    assert type(rebuilt) is type(output)
    assert torch.equal(rebuilt.last_hidden_state, A + 1)
    assert torch.equal(rebuilt["hidden_states"][1], B + 1)
    assert torch.equal(output.last_hidden_state, A)


def test_only_inference_tensors_are_copied():
    plain = torch.zeros(2)
    assert normal(plain) is plain
    with torch.inference_mode():
        inference = torch.ones(2)
        copy = normal(inference)
    assert not copy.is_inference()
    assert torch.equal(copy, inference)
