"""`History`: references, the exponential average, a bounded timeline, its state and its check."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from lightning_cam.monitor import History, Snapshot
from lightning_cam.monitor.history import AVERAGE_WEIGHT, averaged

KEY = ("gradcam", "layer")


def snapshot(number, maps=None):
    maps = torch.full((2, 3, 3), float(number)) if maps is None else maps
    return Snapshot(
        index=number,
        epoch=number,
        step=number * 10,
        maps={KEY: maps},
        rows=torch.tensor([0, 1]),
        classes=torch.tensor([0, 1]),
        predictions=torch.tensor([0, 1]),
        confidences=torch.tensor([0.5, 0.75]),
    )


def random_maps(seed):
    return torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(seed))


def history_of(*values):
    """Return a history with an evaluation of random maps per monitored value."""
    history = History()
    for number, value in enumerate(values):
        history.add(snapshot(number, random_maps(number)), value)
    return history


# --- references -----------------------------------------------------------------------------------


def test_first_previous_before_and_best():
    history = history_of(0.1, 0.9, 0.3, 0.2)
    found = (history.first, history.best, history.before, history.previous)
    assert [each.index for each in found] == [0, 1, 2, 3]
    assert (history.count, history.best_value) == (4, 0.9)


def test_best_is_the_first_until_a_value_is_known_and_nan_is_never_better():
    history = history_of(math.nan, math.nan)
    assert history.best.index == 0
    history.add(snapshot(2), 0.5)
    history.add(snapshot(3), math.nan)
    assert history.best.index == 2


def test_past_snapshots_of_an_added_and_of_a_new_evaluation():
    history = history_of(0.1, 0.9, 0.3)
    past = history.past_of(history.previous)
    assert (past.first.index, past.best.index, past.previous.index) == (0, 1, 1)
    assert [each.index for each in past.timeline] == [0, 1, 2]
    new = snapshot(3)
    past = history.past_of(new)
    assert past.previous.index == 2
    assert [each.index for each in past.timeline] == [0, 1, 2, 3]
    assert past.timeline[-1] is new


def test_past_snapshots_without_a_past_or_a_known_value():
    new = snapshot(0)
    past = History().past_of(new)
    assert (past.first, past.best, past.previous, past.timeline) == (new, None, None, [new])
    assert history_of(math.nan, math.nan).past_of(snapshot(2)).best is None


# --- the average ----------------------------------------------------------------------------------


def test_the_average_is_exponential():
    shares = [m / m.sum(dim=(1, 2), keepdim=True) for m in (random_maps(0), random_maps(1))]
    expected = (1 - AVERAGE_WEIGHT) * shares[0] + AVERAGE_WEIGHT * shares[1]
    assert torch.allclose(history_of(0, 0).average[KEY], expected)


def test_flat_maps_leave_the_average_unchanged():
    history = history_of(0)
    before = history.average[KEY]
    history.add(snapshot(1, torch.zeros(2, 3, 3)))
    assert torch.equal(history.average[KEY], before)
    history = History()
    history.add(snapshot(0, torch.zeros(2, 3, 3)))
    history.add(snapshot(1, random_maps(0)))
    assert bool(history.average[KEY].isfinite().all())


def test_maps_of_another_shape_start_a_new_average():
    before, now = averaged(None, random_maps(0)), torch.rand(2, 4, 4)
    assert torch.equal(averaged(before, now), averaged(None, now))


# --- the timeline ---------------------------------------------------------------------------------


def indices(history):
    return [each.index for each in history.timeline()]


@pytest.mark.parametrize("capacity", [2, 3, 7, 12])
def test_the_timeline_stays_evenly_spaced_and_bounded(capacity):
    history = History(capacity)
    for number in range(150):
        history.add(snapshot(number))
        *even, latest = indices(history)
        assert latest == number
        assert len(even) <= capacity
        gaps = [after - before for before, after in itertools.pairwise(even)]
        assert len(set(gaps)) <= 1
        assert not even or even[0] == 0
        assert not gaps or 0 < latest - even[-1] <= gaps[0]
        assert len(even) + 1 >= min(number + 1, (capacity + 1) // 2)
    assert history.first.index == 0
    assert history.count == 150


def test_a_state_that_kept_more_than_this_version_does_is_thinned_out():
    larger, restored = History(12), History(4)
    for number in range(12):
        larger.add(snapshot(number))
    restored.load_state_dict(larger.state_dict())
    for number in range(12, 60):
        restored.add(snapshot(number))
    assert len(indices(restored)) <= 5


def test_the_state_does_not_grow_with_the_training():
    def size(evaluations):
        history = History()
        for number in range(evaluations):
            history.add(snapshot(number))
        return sum(s["maps"][0][2].numel() for s in history.state_dict()["kept"])

    assert max(size(100), size(1000)) <= size(10)


def test_fine_maps_are_kept_at_56_cells_a_side_and_shown_as_they_are():
    fine = torch.rand(2, 224, 40)
    history = History()
    for number in range(20):
        history.add(snapshot(number, fine))
    for kept in (history.first, history.best, *history.timeline()):
        assert kept.maps[KEY].shape == (2, 56, 40)
    torch.testing.assert_close(history.first.maps[KEY], fine.view(2, 56, 4, 40).mean(dim=2))
    assert history.average[KEY].shape == (2, 56, 40)
    history.check({KEY: (224, 40)}, images=2)
    assert history.past_of(snapshot(19, fine)).previous.index == 18


# --- the state ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 1, 11, 12, 13, 24, 30])
def test_a_restored_history_continues_as_an_uninterrupted_one(cut):
    whole, first_part, second_part = History(), History(), History()
    for number in range(40):
        whole.add(snapshot(number))
    for number in range(cut):
        first_part.add(snapshot(number))
    second_part.load_state_dict(first_part.state_dict())
    for number in range(cut, 40):
        second_part.add(snapshot(number))
    assert indices(second_part) == indices(whole)
    assert second_part.first.index == 0
    assert second_part.previous.index == 39
    assert second_part.count == 40


def test_references_average_and_timeline_are_restored():
    history, restored = history_of(0.1, 0.9, 0.3), History()
    restored.load_state_dict(history.state_dict())
    assert indices(restored) == [0, 1, 2]
    assert restored.best.index == 1
    assert restored.before.index == 1
    assert restored.best_value == pytest.approx(0.9)
    assert torch.equal(restored.average[KEY], history.average[KEY])
    restored.check({KEY: (3, 3)}, 2)


def test_the_state_can_be_loaded_with_weights_only(tmp_path):
    history, restored = history_of(0.1, 0.9), History()
    torch.save(history.state_dict(), tmp_path / "state.pt")
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert indices(restored) == [0, 1]


@pytest.mark.parametrize(
    ("shapes", "images", "match"),
    [
        ({("gradcam", "other"): (3, 3)}, 2, "expected maps of gradcam@other, got gradcam@layer"),
        ({KEY: (7, 7)}, 2, "expected maps of 7×7 for gradcam@layer, got 3×3"),
        ({KEY: (3, 3)}, 1, "expected a snapshot of 1 images"),
        ({KEY: (3, 3)}, 5, "expected a snapshot of 5 images"),
    ],
)
def test_a_history_of_other_maps_or_images_is_rejected(shapes, images, match):
    with pytest.raises(ValueError, match=match):
        history_of(0.1, 0.2).check(shapes, images)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda s: replace(s, rows=[0, 1]), TypeError),
        (lambda s: replace(s, epoch="third"), TypeError),
        (lambda s: replace(s, maps={KEY: torch.rand(3, 3)}), TypeError),
        (lambda s: replace(s, maps={KEY: torch.rand(3, 3, 3)}), ValueError),
        (lambda s: replace(s, rows=torch.tensor([0, 7])), ValueError),
    ],
    ids=["rows", "epoch", "no stack of maps", "number of maps", "row too high"],
)
def test_a_damaged_snapshot_is_rejected(damage, error):
    history = history_of(0.1, 0.2)
    history.best = damage(history.best)
    with pytest.raises(error, match="expected"):
        history.check({KEY: (3, 3)}, 2)


def test_a_count_without_snapshots_is_rejected():
    history = History()
    history.count = 3
    with pytest.raises(ValueError, match="expected snapshots of 3 evaluations, got 0"):
        history.check({KEY: (3, 3)}, 2)
    History().check({KEY: (3, 3)}, 2)
