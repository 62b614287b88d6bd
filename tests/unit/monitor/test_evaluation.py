"""`Evaluation` and `Snapshot` of a success and of a failure."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.nets import ConvNet
from helpers.recorded_run import probe_of

from lightning_cam import CAMMonitor, Probe, Threshold, render
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


# --- in a notebook --------------------------------------------------------------------------------


@pytest.fixture
def evaluation():
    probe = probe_of(20, class_names=["<b>ant</b>", "bee", "owl"])
    alerts = [Threshold("entropy", above=-1.0, patience=1, warmup=0)]
    return CAMMonitor(probe, alerts=alerts).evaluate(ConvNet(), epoch=3, step=9)


def test_the_short_form_has_time_maps_metrics_and_alerts(evaluation):
    text = repr(evaluation)
    assert text.startswith("Evaluation(epoch 3, step 9: 20 maps of gradcam@b, ")
    assert f"entropy {evaluation.metrics['entropy']:.3g}" in text
    assert text.endswith(", 1 alert)")
    assert len(text) < 200
    assert repr(replace(evaluation, snapshot=Snapshot.empty(0, 3, 9))) == (
        "Evaluation(epoch 3, step 9: failed)"
    )


def test_html_shows_metrics_alerts_and_sixteen_images(evaluation):
    html = evaluation._repr_html_()
    assert html.count("<figure") == 16
    assert "and 4 more" in html
    assert f"entropy <b>{evaluation.metrics['entropy']:.3g}</b>" in html
    assert "Grad-CAM at b · epoch 3" in html
    assert "cam/entropy" in html  # of the alert
    assert "&lt;b&gt;ant" in html
    assert "<b>ant" not in html


def test_what_failed_shows_nothing():
    failed = Evaluation(Snapshot.empty(4, 7, 70), {"entropy": math.nan})
    assert failed._repr_html_() is None
    with pytest.raises(ValueError, match=r"with maps, got .*epoch 7, step 70: failed"):
        failed.show()


def test_images_are_drawn_with_their_maps(evaluation):
    sheet = evaluation._sheet(evaluation.displayed)
    (maps,) = sheet.maps.values()
    probe, size = evaluation.displayed.probe, sheet.images.shape[1:3]
    shown = render.resized(render.displayable(probe.images[:16], probe.mean, probe.std), size)
    drawn = evaluation.displayed.config
    expected = render.overlay(
        shown, next(iter(evaluation.maps.values()))[:16], alpha=drawn.alpha, colormap=drawn.colormap
    ).numpy()
    inside = (slice(None), slice(3, -3), slice(3, -3))  # flat maps have a frame
    assert np.abs(maps[inside].astype(int) - expected[inside]).max() <= 1


@pytest.mark.parametrize("num_pictures", [0, 3])
def test_images_are_shown_also_where_fewer_are_logged(num_pictures):
    monitor = CAMMonitor(probe_of(5), num_pictures=num_pictures, method=["gradcam", "hirescam"])
    html = monitor.evaluate(ConvNet())._repr_html_()
    assert (html.count("<figure"), html.count("<img")) == (5, 15)


def test_several_labels_have_a_map_each():
    labels = torch.tensor([[1, 0, 1], [0, 1, 0]])
    probe = Probe(torch.rand(2, 3, 8, 8), labels, class_names=["ant", "bee", "owl"])
    html = CAMMonitor(probe).evaluate(ConvNet())._repr_html_()
    assert html.count("<figure") == 3
    assert [name in html for name in ("ant<br>00", "owl<br>00", "bee<br>01")] == [True] * 3
