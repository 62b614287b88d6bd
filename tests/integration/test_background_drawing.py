"""Images are drawn beside the training, none is lost, and no thread is left behind."""

import threading

import pytest
from helpers.training import (
    QUIET,
    Module,
    fit,
    png_files,
    small,
)

pytestmark = QUIET


def drawing_threads():
    return [thread for thread in threading.enumerate() if thread.name == "lightning_cam"]


def test_no_thread_is_left_running_and_no_image_is_lost(tmp_path):
    fit(tmp_path, small(), max_epochs=3)
    assert drawing_threads() == []
    assert len(png_files(tmp_path)) == 9


def test_an_interrupted_training_loses_no_image_either(tmp_path):
    class Stops(Module):
        def on_train_epoch_start(self):
            if self.trainer.current_epoch == 2:
                raise RuntimeError("no more data")

    with pytest.raises(RuntimeError, match="no more data"):
        fit(tmp_path, small(), module=Stops(), max_epochs=4)
    assert len(png_files(tmp_path)) == 6
    assert (tmp_path / "report.html").exists()
    assert drawing_threads() == []


def test_loggers_get_the_images_in_the_thread_of_the_training(tmp_path, monkeypatch):
    writers = set()
    from lightning_cam.output.loggers.files import FileSink

    plain = FileSink.write

    def write(self, pictures, step):
        writers.add(threading.current_thread().name)
        plain(self, pictures, step)

    monkeypatch.setattr(FileSink, "write", write)
    fit(tmp_path, small(), max_epochs=2)
    assert writers == {threading.current_thread().name}


def test_report_false_writes_no_report(tmp_path):
    fit(tmp_path, small(report=False))
    assert not (tmp_path / "report.html").exists()
