"""The report's data: columns over evaluations, groups from the catalog, outlines, image sizes."""

import base64
import json
import math
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from helpers.recorded_run import Run, probe_of

from lightning_cam.metrics.registry import GROUPS, METRICS, grouped
from lightning_cam.monitor import Alert
from lightning_cam.output.record import read_run
from lightning_cam.output.report.payload import (
    colour_tables,
    image_size,
    is_uncertainty,
    outline,
    payload,
)
from lightning_cam.render.colormaps import COLORMAPS, table


def probe_data(folder):
    """Return the data of a run's only probe."""
    (run,) = payload([("run", read_run(folder))])["runs"]
    (probe,) = run["probes"]
    return probe


def test_the_data_are_json_with_all_metrics_over_the_evaluations(tmp_path):
    evaluations = Run(tmp_path, probe_of(6)).evaluate_epochs(3)
    data = payload([("run", read_run(tmp_path))])
    assert json.loads(json.dumps(data, allow_nan=False)) == json.loads(json.dumps(data))
    probe = data["runs"][0]["probes"][0]
    assert (probe["epochs"], probe["steps"]) == ([0, 1, 2], [9, 19, 29])
    for name, values in probe["metrics"].items():
        expected = [each.metrics.get(name, math.nan) for each in evaluations]
        found = [math.nan if value is None else value for value in values]
        assert found == pytest.approx(expected, rel=1e-3, nan_ok=True)
    assert not any(name.startswith("enrichment_of/") for name in probe["metrics"])


def test_groups_and_charts_are_those_of_the_catalog(tmp_path):
    Run(tmp_path).evaluate(0)
    groups = payload([("run", read_run(tmp_path))])["groups"]
    charts = {each["name"]: each for group in groups for each in group["metrics"]}
    drawn = {name for name, metric in METRICS.items() if not is_uncertainty(metric)}
    assert set(charts) == drawn
    assert charts["patch_reliance"]["uncertain"] == ["se", "low"]  # in the chart of the reliance
    assert sum(len(group["metrics"]) for group in groups) == len(drawn)  # each once
    assert [group["title"] for group in groups if group["metrics"]] == [
        GROUPS[key] for key in grouped()
    ]
    chart, metric = charts["enrichment"], METRICS["enrichment"]
    assert (chart["title"], chart["even"], chart["low"]) == (metric.title, 1.0, 0.0)
    assert charts["jsd"]["moves"]


def test_gaps_that_were_recorded_have_charts(tmp_path):
    run = Run(tmp_path)
    evaluation = run.evaluate(0)
    metrics = {**evaluation.metrics, "gap/enrichment": 0.3}
    snapshot = replace(evaluation.snapshot, index=1)
    run.recorder.add(replace(evaluation, snapshot=snapshot, metrics=metrics))
    groups = {each["key"]: each for each in payload([("run", read_run(tmp_path))])["groups"]}
    (chart,) = groups["gap"]["metrics"]
    assert (chart["name"], chart["title"], chart["even"]) == ("gap/enrichment", "Enrichment", 0.0)


def test_alerts_are_listed_by_evaluation(tmp_path):
    run = Run(tmp_path)
    alert = Alert("cam", "jsd_first", 0.4, 1.0, 1, 19, "saliency only", worst=("02",))
    run.evaluate(0, [])
    run.evaluate(1, [alert, alert])
    assert (
        probe_data(tmp_path)["alerts"]
        == [
            {
                "evaluation": 1,
                "metric": "jsd_first",
                "title": "Divergence (JSD) from the first evaluation",
                "level": "saliency",
                "worst": ["02"],
            }
        ]
        * 2
    )


def test_maps_that_an_evaluation_lacks_are_null(tmp_path):
    run = Run(tmp_path)
    evaluation = run.evaluate(0)
    other = {("layercam", "9"): torch.rand(4, 3, 3)}
    snapshot = replace(evaluation.snapshot, index=1, maps=other)
    run.recorder.add(replace(evaluation, snapshot=snapshot))
    first, second = probe_data(tmp_path)["maps"]
    assert (first["suffix"], second["suffix"]) == ("", "/layercam@9")
    assert first["cells"][1] is None
    assert second["cells"][0] is None
    assert second["shape"] == [None, [4, 3, 3]]


def test_colour_tables_are_256_rgb_triples_each():
    tables = colour_tables()
    assert list(tables) == list(COLORMAPS)
    found = np.frombuffer(base64.b64decode(tables["viridis"]), np.uint8).reshape(256, 3)
    expected = table("viridis", torch.device("cpu")).mul(255).round().byte().numpy()
    assert np.array_equal(found, expected)


def test_the_colours_are_those_of_the_first_run(tmp_path):
    Run(tmp_path / "a", colormap="bone", alpha=0.3)
    Run(tmp_path / "b")
    data = payload([(name, read_run(tmp_path / name)) for name in ("a", "b")])
    assert (data["colormap"], data["opacity"]) == ("bone", 0.3)
    assert [run["name"] for run in data["runs"]] == ["a", "b"]


def encoded(pixels):
    return base64.b64encode(cv2.imencode(".png", pixels)[1].tobytes()).decode()


def test_the_size_of_an_image_is_width_and_height():
    assert image_size(encoded(np.zeros((10, 20, 3), np.uint8))) == [20, 10]
    with pytest.raises(ValueError, match="in the record"):
        image_size(base64.b64encode(b"no image").decode())


def test_an_outline_follows_the_edges_of_pixels_and_holes():
    mask = np.zeros((10, 20), np.uint8)
    mask[2:8, 4:16] = 255
    mask[4:6, 8:12] = 0
    path = outline(base64.b64encode(cv2.imencode(".png", mask)[1].tobytes()).decode())
    assert path.count("M") == path.count("Z") == 2
    numbers = np.array(re.findall(r"[\d.]+", path), float).reshape(-1, 2)
    assert np.allclose(numbers.min(axis=0), (4, 2), atol=0.2)
    assert np.allclose(numbers.max(axis=0), (16, 8), atol=0.2)
    assert not re.search(r"[^MZ\d. ]", path)


def test_an_empty_mask_has_no_outline():
    assert outline(encoded(np.zeros((10, 20), np.uint8))) == ""
