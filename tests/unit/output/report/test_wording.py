"""The report's verdict over all alerts, and its numbers."""

import math
import re
from types import SimpleNamespace

import pytest
from helpers.recorded_run import Run, probe_of

from lightning_cam.monitor import Alert
from lightning_cam.output.record import Recorder, read_run
from lightning_cam.output.report import write_report
from lightning_cam.output.report.wording import number, verdict


def alert(metric="enrichment", judged="confirmed", epoch=1):
    return Alert(
        "cam", metric, 0.4, 1.0, epoch, 10 * epoch + 9, judged, {"patch_reliance": 0.5},
        worst=("00",),
    )  # fmt: skip


def test_the_most_severe_alert_is_the_verdict(tmp_path):
    run = Run(tmp_path)
    run.evaluate(0, [alert("entropy", "contradicted", 0), alert("border_mass", "saliency only", 0)])
    run.evaluate(1, [alert()])
    level, sentence = verdict(read_run(tmp_path))
    assert level == "confirmed"
    assert sentence == (
        "The model relies on the background: 1 confirmed alert of 3 at epoch 1 "
        "(Enrichment 0.40, limit 1.00)."
    )


def test_alerts_are_listed_with_their_severity(tmp_path):
    run = Run(tmp_path)
    run.evaluate(0, [alert("entropy", "contradicted", 0), alert("border_mass", "saliency only", 0)])
    run.evaluate(1, [alert()])
    source = write_report([tmp_path]).read_text(encoding="utf-8")
    assert verdict(read_run(tmp_path))[1] in source
    assert re.findall(r'<article class="(.*?)"', source) == [
        "alert contradicted",
        "alert saliency",
        "alert confirmed",
    ]


@pytest.mark.parametrize(
    ("judged", "level"), [("saliency only", "saliency"), ("contradicted", "contradicted")]
)
def test_without_confirmation_reliance_is_not_claimed(tmp_path, judged, level):
    Run(tmp_path).evaluate(0, [alert(judged=judged), alert(judged=judged)])
    found, sentence = verdict(read_run(tmp_path))
    assert found == level
    assert "relies on" not in sentence
    assert "2 alerts, the first at epoch 1" in sentence


def test_a_run_without_alerts_differs_from_one_without_rules(tmp_path):
    Run(tmp_path / "a", probe_of(64), alerts=None).evaluate(0, [])
    Run(tmp_path / "b", alerts=()).evaluate(0, [])
    assert verdict(read_run(tmp_path / "a")) == (
        "none",
        "No alert in 1 evaluation. It relies on no attribute more than natural data explains.",
    )
    assert verdict(read_run(tmp_path / "b")) == (
        "unknown",
        "No alert in 1 evaluation, but there was no rule.",
    )


def test_a_run_whose_rules_are_about_something_else_is_not_said_to_be_sound(tmp_path):
    Run(tmp_path, alerts=None).evaluate(0, [])
    (record,) = read_run(tmp_path)
    record.evaluations[0].metrics.update(
        shortcut_score_low=0.2, border_reliance_low=0.4, patch_reliance_low=0.1
    )
    assert verdict([record])[1] == (
        "No alert in 1 evaluation. But it relies on one attribute, which no rule was about: see "
        "“Border reliance, lower bound”."
    )


def test_a_run_without_evaluations_has_no_verdict(tmp_path):
    Recorder(tmp_path, "cam").begin(probe_of(2), 2, {})
    assert verdict(read_run(tmp_path)) == ("unknown", "No evaluation has been recorded yet.")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.50"),
        (-1.256, "−1.26"),
        (0.00012, "1.2e−04"),
        (0, "0.00"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_numbers_have_two_decimals_or_two_digits(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"shortcut_score": 0.0, "context_reliance_low": 0.25}, "surroundings help.*at least 25%"),
        ({"shortcut_score": 0.0, "context_reliance_low": 0.0}, "relies on no attribute"),
        ({"entropy": 0.5}, "is unknown"),
        ({"shortcut_score": math.nan}, "is unknown"),
    ],
)
def test_without_an_alert_it_says_what_helps_or_that_it_is_unknown(metrics, said):
    evaluations = [
        SimpleNamespace(metrics=metrics, alerts=()),
        SimpleNamespace(metrics={}, alerts=()),
    ]
    record = SimpleNamespace(evaluations=evaluations, settings={})
    level, sentence = verdict([record])
    assert level == "none"
    assert re.search(said, sentence)
