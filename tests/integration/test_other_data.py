"""`trainer.validate()` on other data than the probe's: that data counts, and nothing is mixed."""

import multiprocessing

import pytest
from helpers.training import (
    QUIET,
    Module,
    Squares,
    history_of,
    loader,
    make_trainer,
    small,
    squares_probe,
)
from lightning.pytorch import LightningDataModule
from torch.utils.data import IterableDataset

pytestmark = QUIET
OURS, OTHER = Squares(16, seed=1), Squares(12, seed=8)


def names_in(metrics):
    return {name for name in metrics if name.startswith("cam/")}


def validate(trainer, module, data):
    (metrics,) = trainer.validate(module, data, verbose=False)
    return metrics


def alone(tmp_path, module, data):
    """Return what a callback that knows no other data says."""
    return validate(make_trainer(tmp_path / "alone", [small()]), module, data)


@pytest.fixture
def trained(tmp_path):
    module, callback = Module(), small()
    trainer = make_trainer(tmp_path, [callback], max_epochs=2)
    trainer.fit(module, loader(), loader(OURS))
    return trainer, module, callback


def test_the_metrics_are_of_the_data_that_is_given(tmp_path, trained):
    trainer, module, _ = trained
    found = validate(trainer, module, loader(OTHER))
    expected = alone(tmp_path, module, loader(OTHER))
    for name in ("cam/entropy", "cam/label_confidence", "cam/enrichment"):
        assert found[name] == pytest.approx(expected[name], abs=1e-6)


def test_nothing_compares_it_with_the_data_of_the_training(trained):
    trainer, module, _ = trained
    ours = names_in(validate(trainer, module, loader(OURS)))
    other = names_in(validate(trainer, module, loader(OTHER)))
    assert "cam/drift_first" in ours
    assert not any("drift" in name or "jsd" in name for name in other)
    assert "cam/enrichment" in other


def test_the_data_of_the_training_keeps_its_history(trained):
    trainer, module, callback = trained
    count, before = history_of(callback).count, validate(trainer, module, loader(OURS))
    for _ in range(2):
        validate(trainer, module, loader(OTHER))
    assert history_of(callback).count == count
    again = validate(trainer, module, loader(OURS))
    assert {n: again[n] for n in names_in(again)} == pytest.approx(
        {n: before[n] for n in names_in(before)}, abs=1e-6, nan_ok=True
    )


def test_two_validations_without_a_training(tmp_path):
    module, trainer = Module(), make_trainer(tmp_path, [small()])
    first = validate(trainer, module, loader(OURS))
    second = validate(trainer, module, loader(OTHER))
    expected = alone(tmp_path, module, loader(OTHER))
    assert second["cam/entropy"] == pytest.approx(expected["cam/entropy"], abs=1e-6)
    assert second["cam/entropy"] != first["cam/entropy"]


class MadeAgain(LightningDataModule):
    """Makes its data set for each stage again, as most do."""

    def setup(self, stage):
        self.data = Squares(16, seed=1)

    def train_dataloader(self):
        return loader()

    def val_dataloader(self):
        return loader(self.data)


def test_the_same_data_in_a_new_data_set_is_the_same(tmp_path):
    module, data = Module(), MadeAgain()
    trainer = make_trainer(tmp_path, [small()], max_epochs=2)
    trainer.fit(module, datamodule=data)
    assert "cam/drift_first" in trainer.validate(module, datamodule=data, verbose=False)[0]


def test_a_given_probe_stays(tmp_path):
    module = Module()
    trainer = make_trainer(tmp_path, [small(probe=squares_probe())], max_epochs=1)
    trainer.fit(module, loader(), loader(OURS))
    found = validate(trainer, module, loader(OTHER))
    assert found["cam/entropy"] == pytest.approx(
        validate(trainer, module, loader(OURS))["cam/entropy"], abs=1e-6
    )


class Stream(IterableDataset):
    """Cannot be sampled beside the validation: its batches are collected."""

    def __init__(self, data):
        self.data = data

    def __iter__(self):
        return iter([self.data[i] for i in range(len(self.data))])


def test_batches_of_a_stream_are_collected(tmp_path, trained):
    trainer, module, _ = trained
    found = validate(trainer, module, loader(Stream(OTHER)))
    expected = alone(tmp_path, module, loader(Stream(OTHER)))
    assert found["cam/entropy"] == pytest.approx(expected["cam/entropy"], abs=1e-6)


class Unreadable(Squares):
    """Fails where the probe is sampled, in a process of its own."""

    def __getitem__(self, index):
        if multiprocessing.parent_process() is not None:
            raise OSError("gone")
        return super().__getitem__(index)


def test_a_failure_costs_a_warning_and_its_metrics(trained):
    trainer, module, _ = trained
    with pytest.warns(UserWarning, match="skipped the evaluation of other validation data"):
        metrics = validate(trainer, module, loader(Unreadable(8)))
    assert names_in(metrics) == set()
    assert "val_loss" in metrics
