"""Many looks leave nothing behind; a thousand: `python -m benchmarks.endurance`."""

import pytest
from helpers.training import QUIET

from benchmarks.endurance import MOST, growth, state_sizes, train

pytestmark = QUIET
_LOOKS = 120


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("endurance")
    return train(folder, _LOOKS, panels=("overlay",), report=False, num_pictures=1)


@pytest.mark.filterwarnings("ignore:CAMCallback")
@pytest.mark.parametrize("name", ["objects", "threads", "handles", "hooks", "state"])
def test_nothing_grows(rows, name):
    assert len(rows) == _LOOKS
    found = growth(rows)[name]
    assert found["growth"] <= MOST * 2, found  # of an eighth as many looks as the full measurement


def test_growth_would_be_seen():
    steady = [{"handles": 20.0, "hooks": 0.0} for _ in range(200)]
    leaking = [{"handles": 20.0 + n / 10, "hooks": float(n > 150)} for n in range(200)]
    assert {each["growth"] for each in growth(steady).values()} == {0.0}
    assert all(each["growth"] > MOST for each in growth(leaking).values())


def test_the_state_in_a_checkpoint_is_small():
    sizes = state_sizes()
    assert sizes["7x7"] < 250_000
    assert sizes["16x16"] < 800_000
