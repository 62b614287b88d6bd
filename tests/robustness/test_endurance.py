"""Many evaluations leave nothing behind; for a thousand run `python -m robustness.endurance`."""

import json
from pathlib import Path

import pytest
from helpers.training import QUIET
from robustness.endurance import TOLERANCE, growth, state_sizes, table, train

pytestmark = [*QUIET, pytest.mark.filterwarnings("ignore:lightning_cam")]

RESULTS = Path(__file__).parent / "results" / "endurance-cpu.json"
_EVALUATIONS = 120


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("endurance")
    return train(folder, _EVALUATIONS, panels=("overlay",), report=False, num_pictures=1)


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.parametrize("name", ["objects", "threads", "handles", "hooks", "state"])
def test_nothing_grows_with_the_number_of_evaluations(rows, name):
    assert len(rows) == _EVALUATIONS
    found = growth(rows)[name]
    assert found["growth"] <= TOLERANCE * 2, found  # an eighth of the full number of evaluations


def test_growth_is_noticed():
    steady = [{"handles": 20.0, "hooks": 0.0} for _ in range(200)]
    leaking = [{"handles": 20.0 + n / 10, "hooks": float(n > 150)} for n in range(200)]
    assert {each["growth"] for each in growth(steady).values()} == {0.0}
    assert all(each["growth"] > TOLERANCE for each in growth(leaking).values())


def test_the_state_in_a_checkpoint_is_small():
    sizes = state_sizes()
    assert sizes["7x7"] < 250_000
    assert sizes["16x16"] < 800_000


def test_the_committed_results_show_no_growth():
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert results["evaluations"] == 1000
    assert all(each["growth"] <= TOLERANCE for each in results["growth"].values())


def test_the_documentation_shows_the_committed_results():
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    page = (Path(__file__).parents[2] / "docs" / "promises.md").read_text(encoding="utf-8")
    assert table(results) in page
