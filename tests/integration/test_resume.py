"""A resumed run goes on as if it had never stopped."""

import itertools
import math

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from helpers.training import (
    QUIET,
    Ledger,
    Module,
    Squares,
    decoded,
    fit,
    loader,
    make_trainer,
    small,
    squares_probe,
)

from lightning_cam import CAMCallback
from lightning_cam.monitor import History, Snapshot

pytestmark = [
    *QUIET,
    # `trainer.validate` has no use for the ModelCheckpoint of the run
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    # the second half of a run saves its checkpoint where the first half did
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


def train(folder, epochs, callback=None, *, resume=False, **kwargs):
    """Train with the last checkpoint kept; return what was seen at every validation."""
    ledger, callback = Ledger(), small() if callback is None else callback
    fit(
        folder,
        callback,
        ledger,
        ModelCheckpoint(folder, save_last=True, save_top_k=0),
        max_epochs=epochs,
        enable_checkpointing=True,
        ckpt_path=folder / "last.ckpt" if resume else None,
        **kwargs,
    )
    return ledger.metrics, callback


def noisy_data():
    """Return data whose transform draws from the global random stream at every access."""
    return Squares(transform=lambda image: image + 0.1 * torch.rand(()))


def pictures_of(folder):
    return {p.relative_to(folder): decoded(p.read_bytes()) for p in folder.rglob("*.png")}


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_run_logs_what_an_uninterrupted_one_does(tmp_path, every, stop):
    options = {"method": ["gradcam", "layercam"], "every_n_validations": every}
    whole, _ = train(tmp_path / "whole", 4, small(**options))
    first, before = train(tmp_path / "parts", stop, small(**options))
    second, after = train(tmp_path / "parts", 4, small(**options), resume=True)
    assert before.probes["val"].fingerprint == after.probes["val"].fingerprint
    assert len(first) + len(second) == 4
    assert seen(first) == seen(whole[:stop])
    looks = [i for i in range(stop, 4) if i % every == 0]
    assert [seen([second[i - stop]]) for i in looks] == [seen([whole[i]]) for i in looks]
    assert after.state_dict()["validations"] == 4


def seen(entries):
    """Return what the callback and the validation loop logged, without older training metrics."""
    known = [{k: v for k, v in each.items() if k.startswith(("cam/", "val_"))} for each in entries]
    return [{k: None if math.isnan(v) else v for k, v in each.items()} for each in known]


def test_the_baseline_is_the_very_first_validation(tmp_path):
    whole, _ = train(tmp_path, 2)
    resumed, _ = train(tmp_path, 3, resume=True)
    fresh, _ = train(tmp_path / "other", 1)
    assert fresh[0]["cam/jsd_first"] == whole[0]["cam/jsd_first"] == 0
    assert 0 < resumed[0]["cam/jsd_previous"] != resumed[0]["cam/jsd_first"] > 0


def test_the_timeline_goes_on_where_it_stopped(tmp_path):
    train(tmp_path / "whole", 4)
    train(tmp_path / "parts", 2)
    train(tmp_path / "parts", 4, resume=True)
    whole, parts = pictures_of(tmp_path / "whole"), pictures_of(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert len(whole) == 12
    for name, picture in whole.items():
        assert (picture == parts[name]).all(), name


def test_the_checkpoint_loads_with_weights_only(tmp_path):
    train(tmp_path, 2)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    (key,) = [key for key in content["callbacks"] if "CAMCallback" in key]
    assert content["callbacks"][key]["validations"] == 2


def test_a_probe_from_random_transforms_is_the_same_after_a_resume(tmp_path):
    _, before = train(tmp_path, 1, val=loader(noisy_data()))
    torch.manual_seed(99)
    _, after = train(tmp_path, 2, resume=True, val=loader(noisy_data()))
    assert torch.equal(before.probes["val"].images, after.probes["val"].images)


def test_several_probes_resume_each_on_its_own(tmp_path):
    sources = {"probe": {"train": "train", "own": squares_probe(3)}}
    whole, _ = train(tmp_path / "whole", 3, small(**sources))
    train(tmp_path / "parts", 1, small(**sources))
    resumed, _ = train(tmp_path / "parts", 3, small(**sources), resume=True)
    assert seen(resumed) == seen(whole[1:])


def test_another_probe_starts_its_history_afresh_and_says_so(tmp_path):
    train(tmp_path, 2)
    with pytest.warns(UserWarning, match="afresh.*another probe"):
        resumed, _ = train(tmp_path, 3, small(seed=1), resume=True)
    assert resumed[0]["cam/jsd_first"] == 0


def test_another_layer_starts_its_history_afresh_and_says_so(tmp_path):
    train(tmp_path, 2)
    with pytest.warns(UserWarning, match="afresh.*layers"):
        resumed, _ = train(tmp_path, 3, small(layers="net.1"), resume=True)
    assert resumed[0]["cam/jsd_first"] == 0


def test_a_run_can_resume_from_a_checkpoint_without_the_callback(tmp_path):
    fit(
        tmp_path,
        ModelCheckpoint(tmp_path, save_last=True, save_top_k=0),
        enable_checkpointing=True,
    )
    resumed, _ = train(tmp_path, 2, resume=True)
    assert resumed[0]["cam/jsd_first"] == 0


def test_trainer_validate_from_a_checkpoint_compares_with_its_history(tmp_path):
    train(tmp_path, 2)
    trainer = make_trainer(tmp_path, [small()])
    (metrics,) = trainer.validate(
        Module(), loader(), ckpt_path=tmp_path / "last.ckpt", verbose=False
    )
    if not trainer.callbacks[0].state_dict()["validations"]:
        pytest.skip("this Lightning restores callbacks in fit only")
    # the weights are those of the last look, which was not the first
    assert metrics["cam/jsd_previous"] == pytest.approx(0, abs=1e-6)
    assert metrics["cam/jsd_first"] > 0


def test_memory_that_waits_for_its_probe_is_not_lost():
    callback = CAMCallback()
    state = {"validations": 3, "probes": {"val": {"fingerprint": "f", "layers": [], "history": {}}}}
    callback.load_state_dict(state)
    assert callback.state_dict() == state


# --- the history itself --------------------------------------------------------------------------


def snapshot(number):
    return Snapshot(
        validation=number,
        epoch=number,
        step=number * 10,
        maps={("gradcam", "layer"): torch.full((2, 3, 3), float(number))},
        rows=torch.tensor([0, 1]),
        classes=torch.tensor([0, 1]),
        predictions=torch.tensor([0, 1]),
        confidences=torch.tensor([0.5, 0.75]),
    )


def kept(history):
    return [s.validation for s in history.timeline()]


@pytest.mark.parametrize("capacity", [2, 3, 7, 12])
def test_the_timeline_stays_evenly_spaced_and_bounded(capacity):
    history = History(capacity)
    for number in range(150):
        history.add(snapshot(number))
        *even, latest = kept(history)
        assert latest == number
        assert len(even) <= capacity
        gaps = [after - before for before, after in itertools.pairwise(even)]
        assert len(set(gaps)) <= 1
        assert not even or even[0] == 0
        assert not gaps or 0 < latest - even[-1] <= gaps[0]
        assert len(even) + 1 >= min(number + 1, (capacity + 1) // 2)
    assert history.first.validation == 0
    assert history.count == 150


def test_the_state_does_not_grow_with_the_training():
    def size(validations):
        history = History()
        for number in range(validations):
            history.add(snapshot(number))
        return sum(s["maps"][0][2].numel() for s in history.state_dict()["kept"])

    assert max(size(100), size(1000)) <= size(12)


@pytest.mark.parametrize("cut", [0, 1, 11, 12, 13, 24, 30])
def test_a_history_that_was_saved_goes_on_as_before(cut):
    whole, first_part, second_part = History(), History(), History()
    for number in range(40):
        whole.add(snapshot(number))
    for number in range(cut):
        first_part.add(snapshot(number))
    second_part.load_state_dict(first_part.state_dict())
    for number in range(cut, 40):
        second_part.add(snapshot(number))
    assert kept(second_part) == kept(whole)
    assert second_part.first.validation == 0
    assert second_part.previous.validation == 39
    assert second_part.count == 40
