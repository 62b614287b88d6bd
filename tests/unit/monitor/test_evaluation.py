"""`Evaluation` and `Snapshot` of a success and of a failure."""

import math

import torch

from lightning_cam.monitor import Evaluation, Snapshot
from lightning_cam.monitor.diagnostics import Diagnostics

KEY = ("gradcam", "layer")


def test_time_and_maps_are_those_of_the_snapshot():
    rows = torch.arange(2)
    maps = {KEY: torch.rand(2, 3, 3)}
    snapshot = Snapshot(4, 7, 70, maps, rows, rows, rows, torch.ones(2))
    evaluation = Evaluation(snapshot, {"entropy": 0.5})
    assert (evaluation.epoch, evaluation.step) == (7, 70)
    assert evaluation.maps is maps
    assert not evaluation.failed
    assert (evaluation.alerts, evaluation.worst, evaluation.evidence) == ((), (), {})
    assert evaluation.diagnostics == Diagnostics()


def test_an_empty_snapshot_is_a_failed_evaluation():
    evaluation = Evaluation(Snapshot.empty(4, 7, 70), {"entropy": math.nan})
    assert evaluation.failed
    assert (evaluation.snapshot.index, evaluation.epoch, evaluation.step) == (4, 7, 70)
    assert evaluation.maps == {}
