"""`trainer.test()`: the test data is evaluated, and the history of the training is left alone."""

import math

import pytest
from helpers.records import record_lines
from helpers.training import (
    QUIET,
    Module,
    Squares,
    cam_scalars,
    events_of,
    fit,
    history_of,
    loader,
    make_trainer,
    small,
    squares_probe,
)
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_cam import Threshold
from lightning_cam.probe.drawn_masks import DrawnMask, DrawnMasks, write_masks

pytestmark = [
    *QUIET,
    # trainers without a logger have nowhere to log the loss of the test
    pytest.mark.filterwarnings("ignore:.*`trainer.test`.*"),
]
TEST = Squares(8, seed=7)


class WithTest(Module):
    """With a test loop."""

    def test_step(self, batch, batch_idx):
        self.log("test_loss", self.net(batch[0]).square().mean())


def run(folder, callback, **kwargs):
    trainer = make_trainer(folder, [callback], **kwargs)
    (metrics,) = trainer.test(WithTest(), loader(TEST), verbose=False)
    return metrics


def cam(metrics):
    return {name for name in metrics if name.startswith("cam/")}


def test_by_default_the_test_data_is_evaluated(tmp_path):
    metrics = run(tmp_path, small(probe_size=8))
    assert metrics["cam/test/enrichment"] > 0
    assert math.isfinite(metrics["cam/test/background_reliance"])
    assert all(name.startswith("cam/test/") for name in cam(metrics))
    assert any("cam/test/overlay" in str(path) for path in tmp_path.rglob("*.png"))


def test_what_would_compare_evaluations_is_not_logged(tmp_path):
    names = {name.removeprefix("cam/test/") for name in cam(run(tmp_path, small()))}
    assert {"entropy", "enrichment", "label_confidence"} <= names
    assert [n for n in names if n.startswith(("jsd", "drift", "unflipped", "prediction_fl"))] == []


def test_the_history_of_the_training_is_left_alone(tmp_path):
    callback = small()
    trainer = fit(tmp_path, callback, module=WithTest(), max_epochs=2)
    before, state = callback.probes["val"], repr(callback.state_dict())
    (metrics,) = trainer.test(trainer.lightning_module, loader(TEST), verbose=False)
    assert cam(metrics)
    assert callback.probes["val"] is before
    assert history_of(callback).count == 2
    assert repr(callback.state_dict()) == state
    ((_, lines),) = record_lines(tmp_path).items()
    assert [line["kind"] for line in lines] == ["probe", "evaluation", "evaluation"]


def test_a_logger_gets_the_tests_metrics_under_names_of_their_own(tmp_path):
    logger = TensorBoardLogger(tmp_path, name="tb")
    trainer = fit(tmp_path, small(), module=WithTest(), logger=logger)
    trainer.test(trainer.lightning_module, loader(TEST), verbose=False)
    events = events_of(trainer)
    assert "cam/test/enrichment" in cam_scalars(events, "cam/test/")
    assert len(events.Scalars("cam/enrichment")) == 1


def test_a_probe_of_the_test_data_beside_that_of_the_validation_data(tmp_path):
    callback = small(probe={"val": "val", "test": "test"})
    trainer = fit(tmp_path, callback, module=WithTest())
    assert list(callback.probes) == ["val"]
    assert "cam/enrichment" in trainer.callback_metrics
    (metrics,) = trainer.test(trainer.lightning_module, loader(TEST), verbose=False)
    assert "cam/test/enrichment" in metrics


def test_a_probe_of_the_test_data_alone_is_evaluated_in_the_test_only(tmp_path):
    callback = small(probe="test")
    trainer = fit(tmp_path, callback, module=WithTest())
    assert cam(trainer.callback_metrics) == set()
    (metrics,) = trainer.test(trainer.lightning_module, loader(TEST), verbose=False)
    assert "cam/test/enrichment" in metrics


def test_a_given_probe_is_evaluated_in_the_test_too(tmp_path):
    probe = squares_probe(4)
    metrics = run(tmp_path, small(probe={"own": probe, "val": "val"}))
    assert "cam/test/enrichment" in metrics


def test_rules_raise_no_alert_in_a_test(tmp_path, recwarn):
    run(tmp_path, small(alerts=None, probe_size=8))
    assert not (tmp_path / "alerts.jsonl").exists()
    assert [str(each.message) for each in recwarn if "lightning_cam" in str(each.message)] == []


def test_rules_that_the_test_data_cannot_answer_do_not_matter(tmp_path):
    class WithoutMasks(Squares):
        def __getitem__(self, index):
            return self.images[index], self.targets[index]

    rule = Threshold("enrichment", below=0.5)
    trainer = make_trainer(tmp_path, [small(alerts=[rule], strict=True)])
    (metrics,) = trainer.test(WithTest(), loader(WithoutMasks()), verbose=False)
    assert "cam/test/entropy" in metrics


def test_test_data_that_cannot_be_read_costs_a_warning(tmp_path):
    class Rows(Squares):
        def __getitem__(self, index):
            return self.images[index].mean((1, 2)), self.targets[index]

    class OfRows(WithTest):
        def test_step(self, batch, batch_idx):
            self.log("test_loss", batch[0].mean())

    trainer = make_trainer(tmp_path, [small()])
    with pytest.warns(UserWarning, match="skipped the evaluation of the test data"):
        (metrics,) = trainer.test(OfRows(), loader(Rows()), verbose=False)
    assert set(metrics) == {"test_loss"}


def test_masks_drawn_on_other_images_do_not_hinder_it(tmp_path):
    mask = DrawnMask("id", squares_probe().masks[0].numpy())
    write_masks(DrawnMasks(tmp_path / "masks.json", {"0123456789abcdef": mask}))
    metrics = run(tmp_path, small(probe_size=8, masks=tmp_path / "masks.json"))
    assert metrics["cam/test/enrichment"] > 0
