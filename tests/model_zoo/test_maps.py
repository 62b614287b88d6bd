"""Models without weights get a sensible map with no configuration.

`make zoo` takes one model per family of `results/`, and all detectors and segmentation models. All
models: `python -m model_zoo` in tests/.
"""

import functools
import json
import warnings
from pathlib import Path

import pytest
import torch
from model_zoo.check import Row, check_model, row_of
from model_zoo.models import BUILDERS, Entry, has_model
from torch import nn

_QUICK = {"mobilenet_v3_small", "squeezenet1_0"}
_ALL_OF = {"detection", "segmentation"}


def rows_of(library):
    path = Path(__file__).parent / "results" / f"{library}.json"
    return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]


def selected():
    """Return one model per family, and all of some families, as parameters of a test."""
    found, families = [], set()
    for row in (row for library in BUILDERS for row in rows_of(library)):
        first = (row.library, row.family) not in families
        if row.status != "ok" or not (first or row.family in _ALL_OF or row.model in _QUICK):
            continue
        families.add((row.library, row.family))
        marks = () if row.model in _QUICK else (pytest.mark.slow, pytest.mark.zoo)
        found.append(pytest.param(row, id=f"{row.library}-{row.model}", marks=marks))
    return found


@pytest.mark.parametrize("row", selected())
def test_a_model_gets_a_map(row):
    if not has_model(row.library, row.model):
        pytest.skip(f"the installed {row.library} has no {row.model}")
    build = functools.partial(BUILDERS[row.library], row.model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = row_of(Entry(row.library, row.family, row.model, build))
    if found.status == "out of scope":
        pytest.skip(found.reason)
    assert found.status == "ok", str(found)


@pytest.mark.parametrize("library", BUILDERS)
def test_every_model_of_the_committed_results_got_a_map(library):
    rows = rows_of(library)
    assert {row.library for row in rows} == {library}
    assert [row for row in rows if row.status == "failed"] == []
    assert sum(row.status == "ok" for row in rows) > 40


# --- the check fails where it should -------------------------------------------------------------


def network(*head):
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), *head)


class CountingCalls(nn.Module):
    """Is changed by its own forward pass."""

    def __init__(self):
        super().__init__()
        self.net = network(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        self.calls = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, images):
        self.calls += 1
        return self.net(images)


class WithoutClasses(nn.Module):
    """Gives every class the same score."""

    def __init__(self):
        super().__init__()
        self.net = network(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1))

    def forward(self, images):
        return self.net(images).expand(-1, 5)


def test_a_small_network_passes():
    model = network(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    assert check_model(model, (16, 16)) == ("1", "14×14", "")


@pytest.mark.parametrize(
    ("model", "reason"),
    [(CountingCalls, "the model was changed: calls"), (WithoutClasses, "the same for every class")],
)
def test_a_model_that_fails_is_found(model, reason):
    assert reason in check_model(model(), (16, 16))[2]


def test_an_error_becomes_the_reason():
    row = row_of(Entry("none", "none", "none", lambda: (nn.Flatten(), (8, 8))))
    assert row.status == "failed"
    assert row.reason
