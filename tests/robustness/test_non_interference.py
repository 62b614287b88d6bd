"""A training with `CAMCallback` is bit for bit the training without it.

The same comparison as `python -m robustness.non_interference` (in tests/), with fewer features.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.training import QUIET
from lightning.pytorch.callbacks import EarlyStopping
from robustness.non_interference.__main__ import table
from robustness.non_interference.comparison import SMALL, compare, differing_items, train
from robustness.non_interference.configurations import CONFIGURATIONS, Configuration
from robustness.non_interference.state_snapshot import ITEMS

pytestmark = QUIET

RESULTS = Path(__file__).parent / "results" / "non-interference-cpu.json"
QUICK = {
    "fp32",
    "bf16-mixed",
    "buffers rewritten in each forward",
    "resumed in the middle",
    "an exception in the evaluation",
}
PLAIN = Configuration(
    "plain",
    after=lambda: [EarlyStopping("accuracy", mode="max", patience=99)],
    trainer={"max_epochs": 1},
)


def marked(configuration):
    marks = [] if configuration.name in QUICK else [pytest.mark.slow]
    marks += [pytest.mark.ddp] if "workers" in configuration.name else []
    return pytest.param(configuration, id=configuration.name.replace(" ", "-"), marks=marks)


@pytest.mark.parametrize("configuration", [marked(each) for each in CONFIGURATIONS])
def test_training_is_identical_with_and_without_the_callback(tmp_path, configuration):
    if configuration.skip_reason:
        pytest.skip(configuration.skip_reason)
    found = compare(configuration, tmp_path, SMALL)
    assert found.identical, found.problem or found.differing


@pytest.fixture(scope="module")
def unmonitored(tmp_path_factory):
    return train(PLAIN, tmp_path_factory.mktemp("plain"), SMALL, monitored=False).records


@pytest.mark.parametrize("probe", ["train", {"train": "train", "val": "val"}], ids=["one", "two"])
def test_training_is_identical_wherever_the_probe_comes_from(tmp_path, unmonitored, probe):
    chosen = {"probe": probe, "alerts": (), "estimate_masks": True}
    monitored = train(replace(PLAIN, callback=chosen), tmp_path, SMALL)
    assert monitored.evaluations == (1 if probe == "train" else 2)
    assert not monitored.skipped
    assert differing_items(unmonitored, monitored.records) == {}


def test_the_compared_training_validates_within_an_accumulation_window(unmonitored):
    windows = [state for hook, state in unmonitored if hook == "validation epoch end"]
    assert len([state for state in windows if has_gradients(state)]) == 1


def test_the_compared_training_changes_weights_flags_and_logs(unmonitored):
    weights = [state["parameters"]["head.weight"] for _, state in unmonitored]
    assert not torch.equal(weights[0], weights[-1])
    assert {state["training flags"]["drop"] for _, state in unmonitored} == {True, False}
    assert any(state["logged metrics"] for _, state in unmonitored)
    assert unmonitored[-2][1]["checkpoint"]["state_dict"]


def test_the_compared_training_can_be_repeated(tmp_path, unmonitored):
    again = train(PLAIN, tmp_path, SMALL, monitored=False).records
    assert differing_items(unmonitored, again) == {}


def has_gradients(state):
    return any(grad is not None and bool(grad.any()) for grad in state["gradients"].values())


def test_the_committed_results_are_of_todays_table():
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert results["items"] == list(ITEMS)
    assert [each["name"] for each in results["configurations"]] == [
        configuration.name for configuration in CONFIGURATIONS
    ]
    assert all(each["identical"] or each["skipped"] for each in results["configurations"])


def test_the_documentation_shows_the_committed_results():
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    page = (Path(__file__).parents[2] / "docs" / "promises.md").read_text(encoding="utf-8")
    assert table(results) in page
