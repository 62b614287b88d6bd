"""Each fault of `FAULTS` costs at most one warning, and the training is the same without it."""

import json
from pathlib import Path

import pytest
from helpers.training import QUIET
from robustness.fault_injection.__main__ import is_unnoticed, table
from robustness.fault_injection.injection import FAULTS, inject
from robustness.fault_injection.training import FAULTY_EPOCH, is_same_state, reference_states

pytestmark = [
    *QUIET,
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]
RESULTS = Path(__file__).parent / "results" / "faults.json"
QUICK = {
    "logger_images",
    "disk_full_record",
    "drawing_raises",
    "memory_short",
    "network_raises",
    "rule_raises",
    "terminated",
    "state_damaged_history missing",
    "state_other_probe",
}


def marked(names):
    return [
        pytest.param(name, marks=() if name in QUICK else (pytest.mark.slow,)) for name in names
    ]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return reference_states(tmp_path_factory.mktemp("reference"))


@pytest.mark.parametrize("name", marked(FAULTS))
def test_a_fault_costs_at_most_one_warning(name, reference, tmp_path):
    fault, found = FAULTS[name], inject(name, tmp_path)
    expected = type(None) if fault.ends_with is None else fault.ends_with
    assert isinstance(found.error, expected)
    assert found.epochs == fault.epochs
    assert is_same_state(found.state, reference[found.epochs - 1])
    assert [fault.warning in message for message in found.warnings] == [True] * bool(fault.warning)
    assert found.incomplete_files == []
    assert found.hooks == 0


@pytest.mark.parametrize("name", marked(n for n, fault in FAULTS.items() if fault.strict_raises))
def test_a_fault_raises_where_strict(name, tmp_path):
    assert isinstance(inject(name, tmp_path, strict=True).error, Exception)


def test_states_are_compared_bit_for_bit(reference):
    assert not is_same_state(reference[FAULTY_EPOCH], reference[FAULTY_EPOCH - 1])
    other = [tensor.clone() for tensor in reference[0]]
    assert is_same_state(other, reference[0])
    other[0].flatten()[0] += 1e-6
    assert not is_same_state(other, reference[0])


def test_the_committed_results_are_of_todays_faults():
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert [(each["fault"], each["injected"]) for each in results] == [
        (name, fault.description) for name, fault in FAULTS.items()
    ]
    assert all(map(is_unnoticed, results))
    for each in results:
        warning = FAULTS[each["fault"]].warning
        assert warning in "".join(each["seen"])


def test_the_documentation_shows_the_committed_results():
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    page = (Path(__file__).parents[2] / "docs" / "promises.md").read_text(encoding="utf-8")
    assert table(results) in page
