"""The progress bar, the time budget, the report, pictures drawn beside the training."""

import threading

import pytest
from helpers.training import QUIET, Ledger, Module, fit, png_files, small

from lightning_cam import CAMCallback
from lightning_cam.monitor.budget import Budget

pytestmark = QUIET


def test_the_progress_bar_shows_the_metric_that_was_asked_for(tmp_path):
    trainer = fit(tmp_path, small(progress_bar="enrichment"))
    assert "cam/enrichment" in trainer.progress_bar_metrics
    assert "cam/entropy" not in trainer.progress_bar_metrics


def test_an_unknown_metric_for_the_bar_names_the_near_miss(tmp_path):
    module = Module()
    with pytest.raises(ValueError, match=r"unknown metric 'enrichmnt'. Did you mean 'enrichment'"):
        fit(tmp_path, small(progress_bar="enrichmnt"), module=module)
    assert module.trained == 0


# --- the time budget -----------------------------------------------------------------------------


def test_without_time_left_only_the_first_validation_is_looked_at(tmp_path):
    ledger = Ledger()
    callback = small(max_overhead=1e-9)
    fit(tmp_path, callback, ledger, max_epochs=3)
    assert callback._watches["val"].history.count == 1
    assert len({entry["cam/enrichment"] for entry in ledger.metrics}) == 1


def test_with_time_left_every_validation_is_looked_at_and_the_share_is_logged(tmp_path):
    ledger = Ledger()
    callback = small(max_overhead=0.999999)
    fit(tmp_path, callback, ledger, max_epochs=3)
    assert callback._watches["val"].history.count == 3
    shares = ledger.of("cam/overhead")
    assert shares[0] == 0
    assert 0 < shares[-1] < 1


@pytest.mark.parametrize("share", [0, 1, -0.5, 2])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="max_overhead between 0 and 1"):
        CAMCallback(max_overhead=share)


def test_the_budget_waits_until_the_next_look_is_paid_for(monkeypatch):
    clock = iter([0.0, 0.0, 0.5, 99.0, 99.5])
    monkeypatch.setattr("lightning_cam.monitor.budget.time.perf_counter", lambda: next(clock))
    budget = Budget(0.02)
    budget.start()
    assert budget.allows()  # the first look always
    budget.spend(1.0)
    assert not budget.allows()  # 2 of 1.5 seconds
    assert budget.allows()  # 2 of 100 seconds


# --- beside the training -------------------------------------------------------------------------


def drawing_threads():
    return [thread for thread in threading.enumerate() if thread.name == "lightning_cam"]


def test_nothing_is_left_running_and_no_picture_lost(tmp_path):
    fit(tmp_path, small(), max_epochs=3)
    assert drawing_threads() == []
    assert len(png_files(tmp_path)) == 9


def test_an_interrupted_training_loses_no_picture_either(tmp_path):
    class Stops(Module):
        def on_train_epoch_start(self):
            if self.trainer.current_epoch == 2:
                raise RuntimeError("no more data")

    with pytest.raises(RuntimeError, match="no more data"):
        fit(tmp_path, small(), module=Stops(), max_epochs=4)
    assert len(png_files(tmp_path)) == 6
    assert (tmp_path / "report.html").exists()
    assert drawing_threads() == []


def test_pictures_reach_the_loggers_in_the_trainings_own_thread(tmp_path, monkeypatch):
    writers = set()
    from lightning_cam.output.loggers.files import FileSink

    plain = FileSink.write

    def write(self, pictures, step):
        writers.add(threading.current_thread().name)
        plain(self, pictures, step)

    monkeypatch.setattr(FileSink, "write", write)
    fit(tmp_path, small(), max_epochs=2)
    assert writers == {threading.current_thread().name}


def test_no_report_when_none_is_wanted(tmp_path):
    fit(tmp_path, small(report=False))
    assert not (tmp_path / "report.html").exists()
