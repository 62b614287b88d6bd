"""W&B, read back from the file of an offline run."""

import warnings

import numpy as np
import pytest
from helpers.pictures import UNUSUAL_NAMES, moving, picture
from helpers.training import (
    QUIET,
    decoded,
    events_of,
    fit,
    image_tags,
    png_files,
    small,
    squares_probe,
)
from helpers.wandb_file import RunFile
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from PIL import Image

from lightning_cam import Threshold
from lightning_cam.output.loggers.wandb import WandbSink

wandb = pytest.importorskip("wandb")
pytestmark = QUIET


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")  # and forget what the logger sets itself
    monkeypatch.setenv("WANDB_SILENT", "true")


def offline(folder, **kwargs):
    settings = wandb.Settings(console="off", x_disable_stats=True)
    return WandbLogger(offline=True, save_dir=folder, project="p", settings=settings, **kwargs)


def logged(folder, *calls, **kwargs):
    """Return the run that a sink logged to, after some calls with it."""
    logger = offline(folder, **kwargs)
    sink = WandbSink(logger)
    for call in calls:
        call(sink)
    logger.experiment.finish()
    return RunFile(folder)


# --- a training -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return trainer, run and folder of three validations, an alert at the first, three loggers."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        loggers = [
            TensorBoardLogger(folder, name="tb"),
            CSVLogger(folder, name="csv"),
            offline(folder),
        ]
        rule = Threshold("entropy", above=0.01, patience=1, warmup=0)
        callback = small(
            probe=squares_probe(class_names=["<b>", 'q"', "c", "d"]),
            alerts=[rule],
            on_alert=(),
            strict=True,
        )
        trainer = fit(folder, callback, max_epochs=3, logger=loggers)
        loggers[-1].experiment.finish()
    return trainer, RunFile(folder), folder


def overlays(run):
    """Return the overlays that were logged, one list of dicts per validation."""
    found = []
    for row in run.history:
        images = [value for key, value in row.items() if key.startswith("cam/overlay")]
        if images:
            found.append(images)
    return found


@pytest.mark.slow
def test_a_training_logs_images_and_scalars(trained):
    _, run, _ = trained
    keys = {key for row in run.history for key in row}
    assert {"cam/timeline", "cam/entropy", "val_loss"} <= keys
    assert [len(images) > 0 for images in overlays(run)] == [True] * 3
    assert len(run.of("cam/timeline")) == len(run.of("cam/entropy")) == 3
    assert len(run.of("cam/report")) == 1


@pytest.mark.slow
def test_images_are_logged_at_the_step_of_the_scalars(trained):
    _, run, _ = trained
    steps = [row["trainer/global_step"] for row in run.history if "val_loss" in row]
    images = [row["trainer/global_step"] for row in run.history if "cam/timeline" in row]
    assert images == steps
    assert len(set(steps)) == 3


@pytest.mark.slow
def test_image_files_are_where_the_run_says(trained):
    _, run, _ = trained
    names = [name for media in run.of("cam/timeline") for name in media["filenames"]]
    assert len(names) == 3
    for name in names:
        assert name.startswith("media/images/")
        assert name in run.files
        assert decoded((run.folder / name).read_bytes()).ndim == 3


@pytest.mark.slow
def test_captions_start_with_the_epoch_and_hold_unchanged_names(trained):
    _, run, _ = trained
    captions = [image["captions"][0] for images in overlays(run) for image in images]
    assert {caption.split(" · ")[0] for caption in captions} == {"epoch 0", "epoch 1", "epoch 2"}
    assert any("label <b>" in caption for caption in captions)


@pytest.mark.slow
def test_masks_are_logged_with_their_images(trained):
    _, run, _ = trained
    media = overlays(run)[0][0]
    (mask,) = media["all_masks"][0].values()
    pixels = np.asarray(Image.open(run.folder / mask["path"]))
    image = decoded((run.folder / media["filenames"][0]).read_bytes())
    assert pixels.shape[:2] == image.shape[:2]
    assert set(np.unique(pixels)) == {0, 1}


@pytest.mark.slow
def test_the_alert_is_sent_and_part_of_the_summary(trained):
    _, run, folder = trained
    (alert,) = run.alerts
    assert len(alert.title) < 64
    assert alert.level == "WARN"
    assert "cam/entropy is" in alert.text
    assert run.summary["cam/alerts/count"] == 1
    assert run.summary["cam/alerts/last"] == alert.text
    assert len((folder / "tb" / "version_0" / "alerts.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_other_loggers_get_the_images_too(trained):
    trainer, _, folder = trained
    assert "cam/timeline" in image_tags(events_of(trainer))
    assert any("cam/timeline" in name for name in png_files(folder / "tb"))


# --- the sink alone -------------------------------------------------------------------------------


def test_a_run_without_alerts_counts_none(tmp_path):
    run = logged(tmp_path, lambda sink: sink.prepare("cam", ["cam/entropy"]))
    assert run.summary["cam/alerts/count"] == 0
    assert run.alerts == []


def test_alerts_are_counted(tmp_path):
    def alerts(sink):
        for step, text in enumerate(["one", "two " * 40]):
            sink.prepare("cam", [])
            sink.alert("cam/alerts", text, step)

    run = logged(tmp_path, alerts)
    assert run.of("cam/alerts/count") == [1, 2]
    assert run.summary["cam/alerts/last"].startswith("two")
    assert run.summary["cam/alerts/count"] == 2
    assert [len(alert.title) for alert in run.alerts] == [3, 63]
    assert run.alerts[1].text == "two " * 40


def test_images_of_a_group_are_one_list_of_one_size(tmp_path):
    mask = np.ones((8, 9), bool)
    pictures = [
        picture("cam/overlay/a", group="cam/overlay", mask=mask),
        picture("cam/overlay/b", (12, 9, 3), group="cam/overlay", mask=None),
        picture("cam/timeline"),
    ]
    run = logged(tmp_path, lambda sink: sink.write(pictures, 7))
    (row,) = run.history
    assert row["trainer/global_step"] == 7
    media = row["cam/overlay"]
    assert media["count"] == 2
    assert media["captions"] == ["epoch 2 · a · label cat · 61%", "epoch 2 · b · label cat · 61%"]
    shapes = [decoded((run.folder / name).read_bytes()).shape for name in media["filenames"]]
    assert shapes == [(12, 9, 3)] * 2
    first, second = media["all_masks"]
    assert second is None
    inside = np.asarray(Image.open(run.folder / first["object"]["path"]))
    assert inside[:8].all()
    assert not inside[8:].any()
    assert row["cam/timeline"]["count"] == 1


def test_an_image_keeps_its_colours(tmp_path):
    red = picture()
    red.pixels[:] = (250, 10, 10)
    run = logged(tmp_path, lambda sink: sink.write([red], 0))
    (name,) = run.history[0]["cam/overlay/00"]["filenames"]
    seen = decoded((run.folder / name).read_bytes()).astype(int)
    assert np.abs(seen - [250, 10, 10]).max() < 8


def test_long_lists_are_split(tmp_path):
    pictures = [picture(f"cam/overlay/{i:03}", group="cam/overlay") for i in range(110)]
    run = logged(tmp_path, lambda sink: sink.write(pictures, 0))
    (row,) = run.history
    assert {key: row[key]["count"] for key in row if key.startswith("cam")} == {
        "cam/overlay": 108,
        "cam/overlay-2": 2,
    }


def test_an_animation_is_logged_as_gif(tmp_path):
    run = logged(tmp_path, lambda sink: sink.write([moving()], 0))
    video = run.history[0]["cam/animation"]
    with Image.open(run.folder / video["path"]) as film:
        assert film.format == "GIF"
        assert film.n_frames == 3
    assert video["caption"].startswith("epoch 2")


def test_all_names_have_the_loggers_prefix(tmp_path):
    def calls(sink):
        sink.prepare("cam", [])
        sink.write([picture()], 0)
        sink.alert("cam/alerts", "text", 0)

    run = logged(tmp_path, calls, prefix="mine")
    assert "mine-cam/overlay/00" in run.history[0]
    assert run.summary["mine-cam/alerts/count"] == 1
    assert not any(key.startswith("cam") for key in run.summary)


def test_unusual_names_can_be_logged(tmp_path):
    root = tmp_path / "inside"
    root.mkdir()
    names = list(UNUSUAL_NAMES.values())

    def calls(sink):
        sink.write([picture(f"cam/overlay/{name}", caption=name) for name in names], 0)
        sink.write([picture(name, caption=name) for name in names], 1)
        for step, name in enumerate(names):
            sink.alert("cam/alerts", name, step)

    run = logged(root, calls)
    for row in run.history[:2]:
        keys = [key for key in row if isinstance(row[key], dict)]
        assert len(keys) == len(names)
        assert {row[key]["captions"][0] for key in keys} == {f"epoch 2 · {name}" for name in names}
        for key in keys:
            assert key.isascii()
            file = run.folder / row[key]["filenames"][0]
            assert file.resolve().is_relative_to((run.folder / "media" / "images").resolve())
            assert file.is_file()
    assert [alert.text for alert in run.alerts] == names
    assert list(tmp_path.iterdir()) == [root]


def test_without_images_no_row_is_logged(tmp_path):
    assert logged(tmp_path, lambda sink: sink.write([], 0)).history == []


def test_logging_causes_no_warning_of_wandb(tmp_path, caplog):
    pictures = [picture(f"cam/overlay/{n}", (8 + n, 9, 3), group="cam/overlay") for n in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logged(tmp_path, lambda sink: sink.write(pictures, 0))
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []


def test_the_report_is_a_page_of_the_run(tmp_path):
    report = tmp_path / "report.html"
    report.write_text("<!doctype html><title>ünïcode</title>", encoding="utf-8")
    run = logged(tmp_path, lambda sink: sink.attach_report("cam", report, 7), prefix="mine")
    (page,) = run.of("mine-cam/report")
    assert page["_type"] == "html-file"
    assert page["path"] in run.files
    assert (run.folder / page["path"]).read_bytes() == report.read_bytes()  # nothing injected
    assert run.history[0]["trainer/global_step"] == 7
