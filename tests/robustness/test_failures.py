"""Failures during the training cost a warning and one evaluation, never the run."""

import math
import shutil
import warnings

import numpy as np
import pytest
from helpers.training import (
    QUIET,
    MetricsLog,
    Module,
    Squares,
    convnet,
    decoded,
    events_of,
    fit,
    image_steps,
    loader,
    png_files,
    scalar_steps,
    small,
    squares_probe,
)
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import nn

from lightning_cam import CAMCallback, Probe

pytestmark = QUIET


class Breaking(Module):
    """Its forward fails from the second validation until the third; its own steps do not."""

    def __init__(self, fail, until=3):
        super().__init__()
        self.fail, self.until, self.validations = fail, until, 0

    def forward(self, images):
        output = self.net(images)
        return self.fail(output) if 2 <= self.validations < self.until else output

    def on_validation_epoch_start(self):
        if not self.trainer.sanity_checking:
            self.validations += 1


def raises(output):
    raise RuntimeError("the forward pass fails")


def becomes_nan(output):
    return output * float("nan")


def loses_its_shape(output):
    return output.sum()


@pytest.mark.parametrize("fail", [raises, loses_its_shape])
def test_a_model_that_fails_costs_a_warning_and_one_evaluation(tmp_path, fail):
    module, log = Breaking(fail), MetricsLog()
    logger = TensorBoardLogger(tmp_path, name="tb")
    with pytest.warns(UserWarning, match="lightning_cam skipped an evaluation; training goes on"):
        trainer = fit(tmp_path, small(), log, module=module, max_epochs=4, logger=logger)
    events = events_of(trainer)
    steps = scalar_steps(events, "val_loss")
    assert len(steps) == 4
    assert image_steps(events, "cam/timeline") == [steps[0], steps[2], steps[3]]
    assert scalar_steps(events, "cam/entropy") == [steps[0], steps[2], steps[3]]
    assert all(part.training for part in module.modules())


def test_the_same_failure_warns_once(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(tmp_path, small(), module=Breaking(raises, until=99), max_epochs=5)
    ours = [w for w in caught if "lightning_cam skipped" in str(w.message)]
    assert len(ours) == 1
    assert "the forward pass fails" in str(ours[0].message)


def test_a_model_that_becomes_nan_is_visible_in_the_metrics(tmp_path):
    log = MetricsLog()
    trainer = fit(tmp_path, small(alpha=1.0), log, module=Breaking(becomes_nan), max_epochs=3)
    assert trainer.current_epoch == 3
    assert log.of("cam/zero_map_fraction")[1] == 1
    assert np.isnan(log.of("cam/entropy")[1])
    assert np.isfinite(log.of("cam/entropy")[2])
    assert len(png_files(tmp_path)) == 9


def test_strict_raises(tmp_path):
    with pytest.raises(RuntimeError, match="the forward pass fails"):
        fit(tmp_path, small(strict=True), module=Breaking(raises), max_epochs=3)


def test_a_failed_evaluation_does_not_become_the_reference(tmp_path):
    class BreaksFirst(Breaking):
        def forward(self, images):
            output = self.net(images)
            return self.fail(output) if self.validations == 1 else output

    log = MetricsLog()
    with pytest.warns(UserWarning, match="skipped"):
        fit(tmp_path, small(), log, module=BreaksFirst(raises), max_epochs=3)
    first, second, third = log.of("cam/jsd_first")
    assert math.isnan(first)  # it exists, so that it can be monitored, and is no number
    assert second == 0
    assert third > 0


def test_a_failed_evaluation_keeps_the_monitored_metric_of_the_last_one(tmp_path):
    stopper = EarlyStopping("cam/enrichment", mode="max", patience=99)
    with pytest.warns(UserWarning, match="skipped"):
        trainer = fit(tmp_path, small(), stopper, module=Breaking(raises), max_epochs=4)
    assert trainer.current_epoch == 4


def logger_that_is_down():
    """Return a logger with the class name of TensorBoard's, whose experiment always raises."""

    class Unreachable:
        def __getattr__(self, name):
            raise OSError("the server is down")

    class TensorBoardLogger(Logger):
        name, version = "down", 0
        log_dir = save_dir = None

        def log_metrics(self, metrics, step=None):
            pass

        def log_hyperparams(self, *args, **kwargs):
            pass

        @property
        def experiment(self):
            return Unreachable()

    return TensorBoardLogger()


def test_a_logger_that_is_down_costs_a_warning_and_no_metric(tmp_path):
    log = MetricsLog()
    with pytest.warns(UserWarning, match="the server is down"):
        fit(tmp_path, small(), log, logger=logger_that_is_down(), max_epochs=2)
    assert None not in log.of("cam/enrichment")


def test_strict_raises_for_a_logger_that_is_down(tmp_path):
    with pytest.raises(OSError, match="the server is down"):
        fit(tmp_path, small(strict=True), logger=logger_that_is_down())


def test_a_logger_that_is_down_does_not_cost_the_others_their_images(tmp_path):
    loggers = [logger_that_is_down(), CSVLogger(tmp_path, name="csv")]
    with pytest.warns(UserWarning, match="the server is down"):
        fit(tmp_path, small(), logger=loggers, max_epochs=1)
    assert len(png_files(tmp_path)) == 3


def test_a_logger_that_is_down_does_not_cost_the_other_probes_their_metrics(tmp_path):
    probes = {"one": squares_probe(seed=1), "two": squares_probe(seed=2)}
    with pytest.warns(UserWarning, match="the server is down"):
        trainer = fit(tmp_path, CAMCallback(probes), logger=logger_that_is_down())
    assert {"cam/one/enrichment", "cam/two/enrichment"} <= trainer.callback_metrics.keys()


def test_one_probe_that_fails_does_not_cost_the_others_theirs(tmp_path):
    class FailsOnThree(Module):
        def forward(self, images):
            if len(images) == 3:
                raise RuntimeError("three is too many")
            return self.net(images)

    probes = {"three": squares_probe(3), "four": squares_probe(4)}
    with pytest.warns(UserWarning, match="three is too many"):
        trainer = fit(tmp_path, CAMCallback(probes), module=FailsOnThree())
    assert "cam/four/enrichment" in trainer.callback_metrics


def test_a_folder_that_cannot_be_made_costs_a_warning(tmp_path):
    (tmp_path / "cam").write_text("a file")
    with pytest.warns(UserWarning, match="lightning_cam skipped images in a logger"):
        trainer = fit(tmp_path, small(), max_epochs=2)
    assert trainer.current_epoch == 2
    assert "cam/enrichment" in trainer.callback_metrics


def test_a_folder_that_was_deleted_is_made_again(tmp_path):
    class Deleting(Module):
        def on_validation_epoch_start(self):
            shutil.rmtree(tmp_path / "cam", ignore_errors=True)

    fit(tmp_path, small(strict=True), module=Deleting(), max_epochs=2)  # strict: draws in place
    files = png_files(tmp_path)
    assert len(files) == 3
    assert all("epoch=0001" in name for name in files)


def test_a_keyboard_interrupt_is_not_swallowed(tmp_path):
    def interrupt(output):
        raise KeyboardInterrupt

    module = Breaking(interrupt)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(tmp_path, small(), module=module, max_epochs=4)
    assert module.validations == 2


@pytest.mark.parametrize(
    "names",
    [["two\nlines", "b", "c", "d"], ["x" * 300, "", "日本語", "😀"], ["\x00", "%s", "{}", "\t"]],
    ids=["newline", "long and foreign", "signs"],
)
def test_class_names_of_any_kind_do_not_cost_an_evaluation(tmp_path, names):
    probe = squares_probe(class_names=names)
    fit(tmp_path, CAMCallback(probe, strict=True))
    assert all(decoded(p.read_bytes()).size for p in tmp_path.rglob("*.png"))
    assert len([name for name in png_files(tmp_path) if "overlay" in name]) == 4


def test_a_binary_classifier_with_one_logit_is_monitored(tmp_path):
    class Binary(Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(*convnet()[:6], nn.Linear(12, 1))

        def training_step(self, batch, batch_idx):
            logits = self.net(batch[0])[:, 0]
            return nn.functional.binary_cross_entropy_with_logits(logits, batch[1].float())

        def validation_step(self, batch, batch_idx):
            self.log("val_loss", self.training_step(batch, batch_idx))

    data = Squares(8)
    data.targets = [label % 2 for label in data.targets]
    trainer = fit(
        tmp_path, small(strict=True), module=Binary(), train=loader(data), val=loader(data)
    )
    assert trainer.callback_metrics["cam/label_confidence"].isfinite()


def test_a_probe_of_one_image_is_monitored(tmp_path):
    data = Squares(1)
    probe = Probe(data.images, data.targets, masks=data.masks)
    fit(tmp_path, CAMCallback(probe, strict=True))
    assert len([name for name in png_files(tmp_path) if "overlay" in name]) == 1
