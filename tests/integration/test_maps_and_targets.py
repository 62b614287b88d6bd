"""Several methods and layers, and what the maps explain."""

import math
import re

import pytest
from helpers.training import (
    QUIET,
    MetricsLog,
    Squares,
    cam_scalars,
    fit,
    fit_with_tensorboard,
    history_of,
    image_tags,
    squares_probe,
)

from lightning_cam import METHODS, CAMCallback, Probe

pytestmark = QUIET


def test_further_maps_are_logged_under_method_and_layer(tmp_path):
    probe = squares_probe(2)
    callback = CAMCallback(probe, method=["gradcam", "layercam"], layers=["net.3", "net.1"])
    _, events = fit_with_tensorboard(tmp_path, callback)
    suffixes = ["", "/gradcam@net.1", "/layercam@net.1", "/layercam@net.3"]
    tags = [tag for tag in cam_scalars(events) if re.match(r"cam/enrichment(/|$)", tag)]
    assert tags == [f"cam/enrichment{suffix}" for suffix in suffixes]
    overlays = [tag for tag in image_tags(events) if "overlay" in tag]
    places = ["00", "01"] + [f"{s[1:]}/{i}" for s in suffixes[1:] for i in ("00", "01")]
    assert overlays == sorted(f"cam/overlay/{place}" for place in places)


def test_further_maps_do_not_change_the_first(tmp_path):
    alone, both = MetricsLog(), MetricsLog()
    probe = squares_probe()
    fit(tmp_path, CAMCallback(probe, layers="net.3"), alone)
    several = {"method": ["gradcam", "hirescam"], "layers": ["net.3", "net.1"]}
    fit(tmp_path, CAMCallback(probe, **several), both)
    known = {k: v for k, v in alone.metrics[0].items() if not math.isnan(v)}
    assert known.items() <= both.metrics[0].items()


@pytest.mark.parametrize("target", ["prediction", 2, lambda logits: logits[:, 1] - logits[:, 0]])
def test_other_targets_give_other_maps(tmp_path, target):
    label, other = MetricsLog(), MetricsLog()
    probe = squares_probe()
    fit(tmp_path, CAMCallback(probe), label)
    fit(tmp_path, CAMCallback(probe, target=target), other)
    assert other.of("cam/mean_activation") != label.of("cam/mean_activation")
    assert other.of("cam/label_confidence") == label.of("cam/label_confidence")


def test_an_unlabelled_probe_explains_the_prediction(tmp_path):
    unlabelled, predicted = MetricsLog(), MetricsLog()
    data = Squares(4, seed=5)
    fit(tmp_path, CAMCallback(Probe(data.images)), unlabelled)
    fit(tmp_path, CAMCallback(squares_probe(), target="prediction"), predicted)
    assert unlabelled.of("cam/mean_activation") == predicted.of("cam/mean_activation")
    assert "cam/label_confidence" not in unlabelled.metrics[0]
    assert "cam/enrichment" not in unlabelled.metrics[0]


@pytest.mark.slow
@pytest.mark.parametrize("method", [m.name for m in METHODS.values() if m.place != "attention"])
def test_every_method_works_in_the_callback(tmp_path, method):
    callback = CAMCallback(squares_probe(2), method=method, strict=True, alerts=())
    fit(tmp_path, callback, max_epochs=1)
    ((name, _),) = history_of(callback).previous.maps
    assert name == method


def test_smoothing_and_fusion_are_options_of_the_callback(tmp_path):
    options = {"aug_smooth": True, "eigen_smooth": True, "fuse_layers": True}
    callback = CAMCallback(squares_probe(2), layers=["net.1", "net.3"], alerts=(), **options)
    _, events = fit_with_tensorboard(tmp_path, callback, max_epochs=1)
    assert "cam/entropy/gradcam@net.1+net.3" in cam_scalars(events)
