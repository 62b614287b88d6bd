"""MLflow, read back from its local file store through its own client."""

from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import UNUSUAL_NAMES, moving, picture
from helpers.training import QUIET, fit, small
from lightning.pytorch.loggers import MLFlowLogger
from PIL import Image, ImageSequence

from lightning_cam import Threshold
from lightning_cam.output.loggers.mlflow import MLFlowSink

pytest.importorskip("mlflow")
pytestmark = [
    *QUIET,
    # Lightning's warning about metric names with an @
    pytest.mark.filterwarnings("ignore:MLFlow only allows:RuntimeWarning"),
]


@pytest.fixture(autouse=True)
def _allowed(monkeypatch):
    # Newer MLflow requires a database, which needs more than its client.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


@pytest.fixture
def logger(tmp_path):
    return MLFlowLogger(tracking_uri=(tmp_path / "mlruns").as_uri())


def files(logger, under=None):
    """Return the paths of a run's artifacts."""
    found = []
    for each in logger.experiment.list_artifacts(logger.run_id, under):
        found += files(logger, each.path) if each.is_dir else [each.path]
    return found


def frames(logger, path):
    """Return the frames of an image file, (T, H, W, 3)."""
    with Image.open(logger.experiment.download_artifacts(logger.run_id, path)) as image:
        return np.stack(
            [np.asarray(frame.convert("RGB")) for frame in ImageSequence.all_frames(image)]
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's use of SQLAlchemy
def test_a_training_logs_images_scalars_and_the_alert(tmp_path):
    # A database: the file store cannot hold a metric `a` beside another one `a/b`.
    logger = MLFlowLogger(
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
        artifact_location=(tmp_path / "artifacts").as_uri(),
    )
    rule = Threshold("entropy", above=0.01, patience=1, warmup=0)
    callback = small(method=["gradcam", "layercam"], alerts=[rule], on_alert=(), strict=True)
    fit(tmp_path, callback, max_epochs=2, logger=logger)
    client, run = logger.experiment, logger.run_id
    steps = [m.step for m in client.get_metric_history(run, "cam/entropy")]
    assert len(steps) == 2
    images = [path for path in files(logger) if path.endswith(".png")]
    timelines = [path for path in images if path.startswith("images/cam~timeline+step+")]
    assert sorted(int(path.split("+")[2]) for path in timelines) == steps
    assert any("cam~overlay~layercam_" in path for path in images)
    assert "cam/report.html" in files(logger)
    text = client.get_run(run).data.tags["cam/alerts"]
    assert "cam/entropy is" in text
    (alert,) = (path for path in files(logger) if path.startswith("cam/alerts/"))
    with open(client.download_artifacts(run, alert), encoding="utf-8") as file:  # noqa: PTH123
        assert file.read() == text


def test_an_image_is_stored_without_loss(logger):
    MLFlowSink(logger).write([picture()], 7)
    (path,) = (path for path in files(logger) if path.endswith(".png"))
    assert path.startswith("images/cam~overlay~00+step+7+timestamp+")
    assert np.array_equal(frames(logger, path)[0], picture().pixels)


def test_an_animation_replaces_the_previous_one(logger):
    sink = MLFlowSink(logger)
    sink.write([moving(count=2)], 1)
    sink.write([moving(count=3)], 2)
    assert files(logger) == ["cam/animation.gif"]
    assert len(frames(logger, "cam/animation.gif")) == 3


def test_every_alert_keeps_its_text(logger):
    sink = MLFlowSink(logger)
    for step, text in [(1, "one"), (1, "two"), (2, "three" * 2000)]:
        sink.alert("cam/alerts", text, step)
    assert len(files(logger)) == 3
    tag = logger.experiment.get_run(logger.run_id).data.tags["cam/alerts"]
    assert tag == ("three" * 2000)[:5000]


@pytest.mark.parametrize("name", UNUSUAL_NAMES.values(), ids=UNUSUAL_NAMES)
def test_unusual_names_can_be_logged(tmp_path, logger, name):
    long = "/".join(["cam/overlay", "y" * 80, "z" * 80])
    sink = MLFlowSink(logger)
    sink.write([picture(f"cam/overlay/{name}"), picture(name), picture(f"{long}/{name}")], 0)
    sink.write([moving(name)], 0)
    sink.alert(f"{name}/alerts", name, 0)
    found = files(logger)
    assert len([path for path in found if path.endswith(".png")]) == 3
    assert len([path for path in found if path.endswith((".gif", ".txt"))]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mlruns"]
    for path in found:
        assert logger.experiment.download_artifacts(logger.run_id, path)


def test_different_names_give_different_keys(logger):
    MLFlowSink(logger).write([picture("cam/a@b"), picture("cam/a_b"), picture("cam/a b")], 0)
    names = {path.split("+")[0] for path in files(logger)}
    assert len(names) == 3


def test_all_names_have_the_loggers_prefix(tmp_path):
    logger = MLFlowLogger(tracking_uri=(tmp_path / "mlruns").as_uri(), prefix="mine")
    MLFlowSink(logger).write([picture("cam/timeline")], 0)
    assert all(path.startswith("images/mine-cam~timeline+") for path in files(logger))


def test_errors_of_the_store_are_raised(logger, tmp_path):
    sink = MLFlowSink(logger)
    sink.write([picture()], 0)
    logger._run_id = "0" * 32
    with pytest.raises(Exception, match="0000"):
        sink.write([picture()], 1)


def test_the_report_is_an_artifact(logger, tmp_path):
    report = tmp_path / "report.html"
    report.write_text("<!doctype html><title>ünïcode</title>", encoding="utf-8")
    MLFlowSink(logger).attach_report("cam", report, 7)
    assert files(logger) == ["cam/report.html"]
    found = logger.experiment.download_artifacts(logger.run_id, "cam/report.html")
    assert Path(found).read_bytes() == report.read_bytes()
