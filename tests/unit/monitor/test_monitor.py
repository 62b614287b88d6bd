"""`CAMMonitor` without a trainer: evaluations, scalars, files, failures, state."""

import json
import math

import pytest
import torch
from helpers.nets import ConvNet
from helpers.recorded_run import probe_of

from lightning_cam import CAMMonitor, Evaluation, Threshold
from lightning_cam.monitor.config import MonitorConfig

ALWAYS = Threshold("entropy", above=-1.0, patience=1, warmup=0)


class ScalarLogger:
    """A logger that keeps scalars and has a folder."""

    def __init__(self, folder=None):
        self.save_dir = folder
        self.logged = []

    def log_metrics(self, metrics, step):
        self.logged.append((dict(metrics), step))


class Failing(ConvNet):
    """Raises in its forward pass while `fails` is true."""

    fails = False

    def forward(self, images):
        if self.fails:
            raise RuntimeError("broken model")
        return super().forward(images)


# --- evaluating -----------------------------------------------------------------------------------


def test_one_probe_gives_an_evaluation_and_several_give_one_per_name():
    model = ConvNet()
    assert isinstance(CAMMonitor(probe_of()).evaluate(model), Evaluation)
    several = CAMMonitor({"train": probe_of(), "val": probe_of(5)})
    found = several.evaluate(model)
    assert list(found) == ["train", "val"]
    assert len(found["val"].snapshot.predictions) == 5
    assert "gap/enrichment" in found["val"].metrics
    assert set(several.history) == set(several.probes) == {"train", "val"}


def test_the_last_evaluation_is_shown(monkeypatch):
    shown = []

    def show(evaluation):
        shown.append(evaluation)

    monkeypatch.setattr(Evaluation, "show", show)
    monitor, model = CAMMonitor({"a": probe_of(), "b": probe_of(5)}), ConvNet()
    with pytest.raises(ValueError, match=r"none yet: call evaluate\(model\)"):
        monitor.show()
    monitor.evaluate(model)
    last = monitor.evaluate(model)
    monitor.show()
    assert [id(each) for each in shown] == [id(each) for each in last.values()]


def test_showing_an_evaluation_that_failed_costs_one_warning():
    monitor, model, warned = CAMMonitor(probe_of(), warn=(found := []).append), Failing(), found
    monitor.evaluate(model)
    model.fails = True
    monitor.evaluate(model)
    monitor.show()
    assert "broken model" in warned[0]
    assert "skipped showing an evaluation" in warned[1]
    assert len(warned) == 2


def test_epoch_and_step_count_evaluations_unless_they_are_given():
    monitor, model = CAMMonitor(probe_of()), ConvNet()
    found = [monitor.evaluate(model), monitor.evaluate(model)]
    found += [monitor.evaluate(model, epoch=7), monitor.evaluate(model, epoch=8, step=80)]
    assert [(each.epoch, each.step) for each in found] == [(0, 0), (1, 1), (7, 7), (8, 80)]


def test_an_evaluation_without_history_is_not_compared_with():
    monitor, model = CAMMonitor(probe_of(), alerts=[ALWAYS]), ConvNet()
    assert monitor.evaluate(model, update_history=False).alerts == ()
    assert monitor.history.count == 0
    assert len(monitor.evaluate(model).alerts) == 1
    assert monitor.history.count == 1


def test_alerts_are_collected():
    monitor, model = CAMMonitor(probe_of(), alerts=[ALWAYS]), ConvNet()
    evaluation = monitor.evaluate(model)
    monitor.evaluate(model)
    assert monitor.alerts == list(evaluation.alerts)
    assert [alert.metric for alert in monitor.alerts] == ["entropy"]


def test_options_and_configuration_are_two_ways_to_the_same():
    assert CAMMonitor(probe_of(), tag="mine", alpha=0.5).config == MonitorConfig.from_options(
        {"tag": "mine", "alpha": 0.5}
    )
    config = MonitorConfig(method="layercam")
    assert CAMMonitor(probe_of(), config=config).config is config
    with pytest.raises(TypeError, match=r"unknown argument 'methods'. Did you mean 'method'"):
        CAMMonitor(probe_of(), methods="layercam")


def test_every_nth_validation_is_evaluated():
    monitor = CAMMonitor(probe_of(), every_n_validations=2)
    assert [monitor.should_evaluate() for _ in range(5)] == [True, False, True, False, True]


def test_with_a_time_budget_validations_are_skipped():
    monitor, model = CAMMonitor(probe_of(), max_overhead=1e-9), ConvNet()
    assert monitor.should_evaluate()
    monitor.evaluate(model)
    assert not monitor.should_evaluate()
    monitor.start_run()
    assert monitor.should_evaluate()


# --- scalars --------------------------------------------------------------------------------------


def test_scalars_have_the_tag_and_go_to_each_logger():
    loggers = [ScalarLogger(), ScalarLogger()]
    monitor = CAMMonitor(probe_of(), loggers=loggers, draw=False, metrics="all")
    evaluation = monitor.evaluate(ConvNet(), epoch=3, step=39)
    for logger in loggers:
        ((scalars, step),) = logger.logged
        assert step == 39
        assert scalars == pytest.approx(
            {f"cam/{name}": value for name, value in evaluation.metrics.items()}, nan_ok=True
        )


def test_log_scalars_takes_the_place_of_the_loggers():
    logger, taken = ScalarLogger(), []
    monitor = CAMMonitor(probe_of(), loggers=[logger], draw=False, max_overhead=0.5)
    monitor.evaluate(ConvNet(), log_scalars=taken.append)
    assert logger.logged == []
    assert 0 < taken[0]["cam/overhead"] < 1
    assert "cam/enrichment" in taken[0]


# --- files ----------------------------------------------------------------------------------------


def test_files_of_a_run(tmp_path):
    with CAMMonitor(probe_of(), log_dir=tmp_path, alerts=[ALWAYS], num_pictures=2) as monitor:
        monitor.evaluate(ConvNet())
    assert (tmp_path / "report.html").is_file()
    (line,) = (tmp_path / "alerts.jsonl").read_text().splitlines()
    assert json.loads(line)["metric"] == "entropy"
    assert [path.name for path in (tmp_path / "lightning_cam").glob("*.jsonl")] == ["cam.jsonl"]
    assert len(list(tmp_path.rglob("*.png"))) >= 2


def test_without_drawing_there_are_no_images_but_a_report(tmp_path):
    monitor = CAMMonitor(probe_of(), log_dir=tmp_path, draw=False)
    monitor.evaluate(ConvNet())
    assert monitor.close() == tmp_path / "report.html"
    assert list(tmp_path.rglob("*.png")) == []


@pytest.mark.parametrize(("option", "argument"), [(False, None), (True, False)])
def test_the_report_can_be_left_out(tmp_path, option, argument):
    monitor = CAMMonitor(probe_of(), log_dir=tmp_path, draw=False, report=option)
    monitor.evaluate(ConvNet())
    assert monitor.close(report=argument) is None
    assert not (tmp_path / "report.html").exists()


def test_the_folder_is_the_first_loggers_unless_one_is_given(tmp_path):
    loggers = [ScalarLogger(), ScalarLogger(str(tmp_path / "a")), ScalarLogger(tmp_path / "b")]
    assert CAMMonitor(probe_of(), loggers=loggers).log_dir == tmp_path / "a"
    assert CAMMonitor(probe_of(), loggers=loggers, log_dir=tmp_path).log_dir == tmp_path
    assert CAMMonitor(probe_of(), loggers=loggers[:1]).log_dir is None


def test_without_a_folder_and_loggers_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with CAMMonitor(probe_of(), alerts=[ALWAYS]) as monitor:
        monitor.evaluate(ConvNet())
    assert list(tmp_path.iterdir()) == []


# --- failures -------------------------------------------------------------------------------------


def test_a_failure_costs_one_warning_and_all_metrics_are_nan():
    messages, model = [], Failing()
    monitor = CAMMonitor(probe_of(), warn=messages.append)
    known = monitor.evaluate(model)
    model.fails = True
    for _ in range(3):
        evaluation = monitor.evaluate(model)
        assert evaluation.failed
        assert set(known.metrics) <= set(evaluation.metrics)
        assert all(math.isnan(value) for value in evaluation.metrics.values())
    assert len(messages) == 1
    assert "lightning_cam skipped an evaluation" in messages[0]
    assert "broken model" in messages[0]
    assert monitor.history.count == 1
    model.fails = False
    assert not monitor.evaluate(model).failed


def test_after_a_failure_no_scalars_are_logged_where_there_are_earlier_ones():
    logger, model = ScalarLogger(), Failing()
    monitor = CAMMonitor(probe_of(), loggers=[logger], draw=False, warn=lambda _: None)
    monitor.setup(model)
    model.fails = True
    monitor.evaluate(model)
    assert all(math.isnan(value) for value in logger.logged[-1][0].values())
    assert "cam/enrichment" in logger.logged[-1][0]  # EarlyStopping needs the name
    model.fails = False
    monitor.evaluate(model)
    model.fails = True
    monitor.evaluate(model)
    assert logger.logged[-1][0] == {}


def test_strict_raises():
    model = Failing()
    monitor = CAMMonitor(probe_of(), strict=True)
    monitor.evaluate(model)
    model.fails = True
    with pytest.raises(RuntimeError, match="broken model"):
        monitor.evaluate(model)


def test_what_does_not_fit_together_raises_at_the_first_evaluation():
    with pytest.raises(ValueError, match="class indices below 3"):
        CAMMonitor(probe_of(6, classes=5)).evaluate(ConvNet())


def test_a_logger_that_fails_does_not_keep_others_from_their_scalars():
    class Broken(ScalarLogger):
        def log_metrics(self, metrics, step):
            raise OSError("no connection")

    messages, logger = [], ScalarLogger()
    monitor = CAMMonitor(probe_of(), loggers=[Broken(), logger], draw=False, warn=messages.append)
    monitor.evaluate(ConvNet())
    assert len(logger.logged) == 1
    assert [("scalars in a logger" in message) for message in messages] == [True]


def test_running_out_of_memory_costs_one_warning_that_names_the_chunk_size():
    class Limited(ConvNet):
        most = 64

        def forward(self, images):
            if len(images) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(images)

    messages, model = [], Limited()
    monitor = CAMMonitor(probe_of(), warn=messages.append, chunk_size=4, interventions_every=0)
    monitor.setup(model)
    model.most = 2
    assert not monitor.evaluate(model).failed
    assert not monitor.evaluate(model).failed
    (message,) = messages
    assert "ran out of memory with 4 images per pass and goes on with 2. chunk_size=2 " in message


# --- state ----------------------------------------------------------------------------------------


def test_a_restored_monitor_continues(tmp_path):
    model = ConvNet()
    monitor = CAMMonitor(probe_of())
    for _ in range(3):
        monitor.should_evaluate()
        monitor.evaluate(model)
    torch.save(monitor.state_dict(), tmp_path / "state.pt")
    restored = CAMMonitor(probe_of())
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    evaluation = restored.evaluate(model)
    assert evaluation.snapshot.index == 3
    assert evaluation.metrics["jsd_previous"] == pytest.approx(0, abs=1e-6)
    assert restored.state_dict()["validations"] == 3


@pytest.mark.parametrize("state", [{}, {"validations": "three"}, {"validations": 3}])
def test_a_damaged_state_costs_one_warning(state):
    messages = []
    monitor = CAMMonitor(probe_of(), warn=messages.append)
    monitor.load_state_dict(state)
    assert len(messages) == 1
    assert "starts its history afresh" in messages[0]
    assert not monitor.evaluate(ConvNet()).failed
