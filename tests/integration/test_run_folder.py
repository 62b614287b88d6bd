"""What other loggers, several or none get, and which files a run writes."""

import lightning.pytorch as pl
from helpers.training import (
    QUIET,
    Module,
    Squares,
    cam_scalars,
    csv_rows,
    decoded,
    events_of,
    fit,
    fit_with_tensorboard,
    image_tags,
    loader,
    make_trainer,
    png_files,
    small,
    squares_probe,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from lightning_cam import CAMCallback

pytestmark = QUIET


def expected_files(names, steps):
    return sorted(f"cam/{name}/epoch={e:04d}-step={s:08d}.png" for name in names for e, s in steps)


_NAMES = ("overlay/00", "overlay/01", "overlay/02", "timeline")


def overlays_and_timeline():
    return CAMCallback(squares_probe(3), panels=["overlay", "timeline"])


def test_a_csv_logger_gets_scalars_and_image_files_beside_them(tmp_path):
    callback = overlays_and_timeline()
    trainer = fit(tmp_path, callback, logger=CSVLogger(tmp_path, name="csv"), max_epochs=2)
    rows = [row for row in csv_rows(tmp_path) if row["cam/enrichment"]]
    steps = [(e, int(row["step"])) for e, row in enumerate(rows)]
    assert len(steps) == 2
    assert png_files(trainer.log_dir) == expected_files(_NAMES, steps)
    assert all(decoded(p.read_bytes()).ndim == 3 for p in tmp_path.rglob("*.png"))


def test_without_a_logger_images_are_written_below_the_root(tmp_path):
    fit(tmp_path, overlays_and_timeline(), max_epochs=2)
    assert png_files(tmp_path) == expected_files(_NAMES, [(0, 3), (1, 7)])
    others = {p.name for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".png"}
    assert others == {"cam.jsonl", "report.html"}


def test_each_of_several_loggers_gets_everything(tmp_path):
    loggers = [TensorBoardLogger(tmp_path, name="tb"), CSVLogger(tmp_path, name="csv")]
    trainer = fit(tmp_path, overlays_and_timeline(), logger=loggers)
    events = events_of(trainer)
    assert image_tags(events) == [f"cam/{name}" for name in _NAMES]
    assert len(png_files(tmp_path)) == len(_NAMES)
    assert csv_rows(tmp_path)[0]["cam/enrichment"]


def test_two_tensorboard_loggers_get_the_same_images(tmp_path):
    loggers = [TensorBoardLogger(tmp_path, name=name) for name in ("a", "b")]
    trainer = fit(tmp_path, overlays_and_timeline(), logger=loggers)
    first = events_of(trainer)
    trainer.loggers.reverse()
    second = events_of(trainer)
    assert image_tags(first) == image_tags(second) == [f"cam/{name}" for name in _NAMES]
    assert png_files(tmp_path) == []


def test_fast_dev_run_evaluates_and_writes_nothing(tmp_path):
    callback = small()
    trainer = fit(tmp_path, callback, fast_dev_run=True, logger=True)
    assert trainer.callback_metrics["cam/enrichment"].isfinite()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_num_pictures_0_logs_no_images(tmp_path):
    _, events = fit_with_tensorboard(tmp_path, CAMCallback(squares_probe(), num_pictures=0))
    assert image_tags(events) == []
    assert cam_scalars(events)


def test_names_from_the_data_cannot_leave_the_log_folder(tmp_path):
    root = tmp_path / "logs"
    names = ["../../escaped", "<script>", "a/b", "😀"]
    fit(root, CAMCallback(squares_probe(ids=names), panels=["overlay", "timeline"]))
    files = png_files(tmp_path)
    assert len(files) == 5
    assert all(name.startswith("logs/cam/") and name.count("/") <= 4 for name in files)
    assert not any(sign in "".join(files) for sign in "<>😀")


def test_datamodule_data_is_sampled_too(tmp_path):
    class Data(pl.LightningDataModule):
        def train_dataloader(self):
            return loader()

        def val_dataloader(self):
            return loader(Squares(8, seed=4))

    callback = small()
    make_trainer(tmp_path, [callback]).fit(Module(), datamodule=Data())
    assert len(callback.probes["val"]) == 4
