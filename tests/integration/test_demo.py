"""The demo tells the two trainings apart, in a few epochs already."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from demo import run
from helpers.training import QUIET

pytestmark = [
    *QUIET,
    pytest.mark.filterwarnings("ignore:CAMCallback. cam/"),  # alerts are the demo's point
]


def test_the_shortcut_is_found_and_confirmed(tmp_path):
    result = run("shortcut", 0.95, 0, tmp_path, epochs=3)
    assert result.enrichment[-1] < 1
    assert result.shuffled_accuracy < 0.5
    assert "confirmed" in {alert["verdict"] for alert in result.alerts}


def test_the_balanced_run_is_left_alone(tmp_path):
    result = run("balanced", 0.0, 0, tmp_path, epochs=3)
    assert result.enrichment[-1] > 1.2
    assert result.alerts == ()
