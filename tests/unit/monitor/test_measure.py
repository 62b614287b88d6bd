"""Movement against the previous, the first, the best and the average; subsets; one transfer."""

import math

import pytest
import torch

from lightning_cam.metrics import jsd
from lightning_cam.monitor import History, Snapshot
from lightning_cam.monitor.history import AVERAGE_WEIGHT
from lightning_cam.monitor.measure import averages, measure_movement, unflipped

KEY = ("gradcam", "layer")


def snapshot(maps, predictions=(0, 1), validation=0):
    rows = torch.arange(len(maps))
    return Snapshot(
        validation, 0, 0, {KEY: maps}, rows, rows, torch.tensor(predictions), torch.ones(len(maps))
    )


def maps(seed):
    return torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(seed))


def history_of(*goodness):
    history = History()
    for n, value in enumerate(goodness):
        history.add(snapshot(maps(n), validation=n), value)
    return history


def test_each_reference_is_the_one_it_is_named_after():
    history = history_of(0.1, 0.9, 0.3)
    moved = measure_movement(maps(7), history, KEY)
    for reference, seed in (("first", 0), ("best", 1), ("previous", 2)):
        assert torch.equal(moved[f"jsd_{reference}"], jsd(maps(7), maps(seed)))


def test_the_average_is_exponential():
    history = history_of(0, 0)
    shares = [m / m.sum(dim=(1, 2), keepdim=True) for m in (maps(0), maps(1))]
    expected = (1 - AVERAGE_WEIGHT) * shares[0] + AVERAGE_WEIGHT * shares[1]
    assert torch.allclose(history.average[KEY], expected)


def test_a_flat_map_leaves_the_average_as_it_was():
    history = history_of(0)
    before = history.average[KEY]
    history.add(snapshot(torch.zeros(2, 4, 4)))
    assert torch.equal(history.average[KEY], before)
    history = History()
    history.add(snapshot(torch.zeros(2, 4, 4)))
    history.add(snapshot(maps(0)))
    assert bool(history.average[KEY].isfinite().all())


def test_without_a_past_nothing_moved():
    moved = measure_movement(maps(0), History(), KEY)
    assert moved["jsd_best"].tolist() == [0, 0]
    assert moved["top_overlap_average"].tolist() == [1, 1]


def test_the_best_is_the_first_until_a_better_one_comes_and_nan_is_never_better():
    history = history_of(math.nan, math.nan)
    assert history.best.validation == 0
    history.add(snapshot(maps(3), validation=2), 0.5)
    history.add(snapshot(maps(4), validation=3), math.nan)
    assert history.best.validation == 2


def test_unflipped_leaves_out_images_with_another_answer_than_the_reference_had():
    history = history_of(0.5)
    history.add(snapshot(maps(1), predictions=(1, 1), validation=1), 0.1)
    moved = measure_movement(maps(2), history, KEY)
    kept = unflipped(moved, torch.tensor([0, 1]), torch.arange(2), history)
    assert kept["unflipped/jsd_previous"].isnan().tolist() == [True, False]
    assert kept["unflipped/jsd_first"].isnan().tolist() == [False, False]
    assert kept["unflipped/jsd_first"].tolist() == moved["jsd_first"].tolist()


def test_averages_skip_nan_and_keep_the_order():
    values = {
        "a": torch.tensor([1.0, math.nan, 3.0]),
        "b": torch.tensor([math.nan]),
        "c": torch.tensor([4.0, 4.0, 4.0]),
    }
    found = averages(values)
    assert list(found) == ["a", "b", "c"]
    assert found["a"] == 2
    assert math.isnan(found["b"])
    assert found["c"] == 4


def test_state_goes_round():
    history = history_of(0.1, 0.9, 0.3)
    other = History()
    other.load_state_dict(history.state_dict())
    assert other.best.validation == 1
    assert other.before.validation == 1
    assert other.best_value == pytest.approx(0.9)
    assert torch.equal(other.average[KEY], history.average[KEY])
