"""The demo finds the shortcut of one training and no alert in the other, in a few epochs."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from demo import run
from helpers.records import alerts_in, record_lines
from helpers.training import QUIET

from lightning_cam.cli.entry_point import main

pytestmark = [
    *QUIET,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:CAMCallback. (cam/|CONFIRMED)"),  # the demo is about alerts
]


@pytest.fixture(scope="module")
def shortcut(tmp_path_factory):
    return run("shortcut", 0.95, 0, tmp_path_factory.mktemp("demo"), epochs=3)


def test_the_shortcut_is_found_and_confirmed(shortcut):
    result = shortcut
    assert result.enrichment[-1] < 1
    assert result.shuffled_accuracy < 0.5
    assert "confirmed" in {alert["verdict"] for alert in result.alerts}


def test_a_replay_of_the_checkpoints_writes_the_record(tmp_path, capsys, shortcut):
    demo, replay = shortcut.folder, tmp_path / "replay"
    checkpoints = str(demo / "checkpoints")
    probe = ["--probe", "digits:shortcut_validation"]
    command = ["replay", "digits:DigitsModule", checkpoints, *probe, "--out", str(replay)]
    assert main(command) == 0, capsys.readouterr().err
    (live,), (again,) = record_lines(demo).values(), record_lines(replay).values()
    assert again == live  # in all but the time
    assert alerts_in(replay) == alerts_in(demo)


def test_the_balanced_run_raises_no_alert(tmp_path):
    result = run("balanced", 0.0, 0, tmp_path, epochs=2)
    assert result.enrichment[-1] > 1.2
    assert result.alerts == ()
