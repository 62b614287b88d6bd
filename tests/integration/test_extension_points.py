"""What is added by one function and one line works everywhere, with nothing else touched."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.training import (
    QUIET,
    Module,
    events_of,
    fit,
    fit_with_tensorboard,
    image_tags,
    small,
    squares_probe,
)

from lightning_cam import METHODS, Threshold, compute_cams
from lightning_cam.explain.methods.registry import register
from lightning_cam.interventions import ATTRIBUTES, Attribute, register_attribute
from lightning_cam.metrics import METRICS, Metric, register_metric
from lightning_cam.metrics.documentation import document_metrics, metrics_tables
from lightning_cam.output.loggers import register_sink
from lightning_cam.output.loggers.registry import _SINKS
from lightning_cam.output.panels import PANELS, register_panel
from lightning_cam.output.record import read_run

pytestmark = QUIET


@pytest.fixture(autouse=True)
def _restore_registries():
    """Remove what a test registered."""
    kept = [(each, dict(each)) for each in (METHODS, METRICS, ATTRIBUTES, PANELS, _SINKS)]
    yield
    for registry, before in kept:
        registry.clear()
        registry.update(before)


def custom_scalars(events):
    """Return the layout of TensorBoard's page of custom scalars as text."""
    (tag,) = [t for t in events.Tags()["tensors"] if "custom_scalars" in t]
    return events.Tensors(tag)[-1].tensor_proto.string_val[0].decode("utf-8", "ignore")


def embedded_data(page):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(found[1])


def corner_share(maps):
    """Return the share of each map in its first cell."""
    return maps[:, 0, 0] / maps.sum(dim=(1, 2))


def test_a_metric_is_logged_monitored_drawn_and_documented(tmp_path):
    register_metric(
        Metric(
            "corner_share",
            "Share in the corner",
            "share of the map in its first cell",
            group="attention",
            function=corner_share,
            bounds=(0.0, 1.0),
        )
    )
    rule = Threshold("corner_share", above=-1.0, patience=1, warmup=0)
    with pytest.warns(UserWarning, match="corner_share"):
        trainer, events = fit_with_tensorboard(tmp_path, small(alerts=[rule]))
    folder = trainer.loggers[0].log_dir
    (logged,) = [event.value for event in events.Scalars("cam/corner_share")]
    (record,) = read_run(folder)
    recorded = record.evaluations[0]
    assert logged == pytest.approx(recorded.metrics["corner_share"])
    assert logged == pytest.approx(np.nanmean(recorded.per_image["corner_share"]), 1e-5)
    assert "Share in the corner" in custom_scalars(events)
    data = embedded_data(Path(folder, "report.html").read_text(encoding="utf-8"))
    attention = next(group for group in data["groups"] if group["key"] == "attention")
    (chart,) = [metric for metric in attention["metrics"] if metric["name"] == "corner_share"]
    assert chart["title"] == "Share in the corner"
    assert data["runs"][0]["probes"][0]["metrics"]["corner_share"] == [pytest.approx(logged, 1e-3)]
    assert (
        "| `corner_share` | share of the map in its first cell **(headline)** | 0 to 1 |"
        in metrics_tables()
    )

    @document_metrics
    class Documented:
        """{metrics}"""

    assert "`corner_share`" in Documented.__doc__


def test_a_metric_with_masks_has_its_baselines_and_one_of_movement_its_references(tmp_path):
    register_metric(
        Metric(
            "overlap",
            "Overlap",
            "mean of the map on the mask",
            group="attention",
            kind="mask",
            function=lambda maps, masks: maps.mean(dim=(1, 2)) * masks.flatten(1).float().mean(1),
            needs=("masks",),
        )
    )
    register_metric(
        Metric(
            "change",
            "Change",
            "mean absolute difference of the cells",
            group="movement",
            kind="movement",
            function=lambda maps, before: (maps - before).abs().mean(dim=(1, 2)),
        )
    )
    trainer = fit(tmp_path, small(probe=squares_probe()), max_epochs=2)
    names = trainer.callback_metrics
    for name in ("overlap", "overlap_random", "overlap_center", "overlap_untrained"):
        assert f"cam/{name}" in names
    for reference in ("previous", "first", "best", "average"):
        assert float(names[f"cam/change_{reference}"]) > 0
        assert f"cam/unflipped/change_{reference}" in names


def test_a_method_is_found_by_its_name(tmp_path):
    @register("brightness", "Brightness")
    def brightness(batch, site):
        """Return the largest activation over channels."""
        return batch.acts_of(site).amax(dim=1).relu()

    probe = squares_probe()
    result = compute_cams(Module().net, probe.images, probe.targets, method="brightness")
    ((method, _),) = result.maps
    assert method == "brightness"
    trainer = fit(tmp_path, small(method=["gradcam", "brightness"], layers="net.3"))
    assert "cam/entropy/brightness@net.3" in trainer.callback_metrics


def test_a_logger_gets_images_and_alerts(tmp_path):
    from lightning.pytorch.loggers import CSVLogger

    written, alerts = [], []

    class OurLogger(CSVLogger):
        """A logger that the package does not know."""

    class OurSink:
        def __init__(self, logger):
            assert isinstance(logger, OurLogger)

        def write(self, pictures, step):
            written.extend((picture.tag, step) for picture in pictures)

        def alert(self, tag, message, step):
            alerts.append((tag, step))

    register_sink("OurLogger", OurSink)
    rule = Threshold("entropy", above=-1.0, patience=1, warmup=0)
    with pytest.warns(UserWarning, match="cam/entropy"):
        fit(tmp_path, small(alerts=[rule]), logger=OurLogger(tmp_path))
    assert ("cam/timeline", 3) in written or ("cam/timeline", 4) in written
    assert [tag for tag, _ in alerts] == ["cam/alerts"]
    assert not list(tmp_path.rglob("*.png"))


def test_a_panel_is_drawn(tmp_path):
    @register_panel("first_image")
    def first_image(scene):
        """Return the first image."""
        pixels = scene.plain([0], (32, 32))[0]
        return [scene.displayed.picture("first_image", pixels, "first", scene.snapshot.epoch)]

    trainer, _ = fit_with_tensorboard(tmp_path, small(panels=["overlay", "first_image"]))
    assert "cam/first_image" in image_tags(events_of(trainer))


def test_an_attribute_is_exchanged_and_its_reliance_measured(tmp_path):
    def everything(batch, partners):
        """Return the partners themselves."""
        return batch.images[partners]

    register_attribute(Attribute("everything", "the whole image", everything, 0.99))
    trainer = fit(tmp_path, small(probe=squares_probe(16)), max_epochs=4)
    metrics = trainer.callback_metrics
    found = float(metrics["cam/everything_reliance"])
    error = float(metrics["cam/everything_reliance_se"])
    assert 0 <= found <= 1
    assert error > 0
    page = metrics_tables()
    assert "depends on the whole image" in page
