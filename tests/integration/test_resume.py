"""A resumed training logs and draws what an uninterrupted one does."""

import math

import pytest
import torch
from helpers.records import assert_close, record_lines
from helpers.training import (
    QUIET,
    MetricsLog,
    Module,
    Squares,
    decoded,
    fit,
    loader,
    make_trainer,
    small,
    squares_probe,
)
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_cam import CAMCallback
from lightning_cam.monitor import History

pytestmark = [
    *QUIET,
    # `trainer.validate` does not use the ModelCheckpoint of the run
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    # the second half of a run saves its checkpoint where the first half did
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


def train(folder, epochs, callback=None, *, resume=False, **kwargs):
    """Train and save the last checkpoint; return the metrics of every validation."""
    log, callback = MetricsLog(), small() if callback is None else callback
    fit(
        folder,
        callback,
        log,
        ModelCheckpoint(folder, save_last=True, save_top_k=0),
        max_epochs=epochs,
        enable_checkpointing=True,
        ckpt_path=folder / "last.ckpt" if resume else None,
        **kwargs,
    )
    return log.metrics, callback


def noisy_data():
    """Return data whose transform draws from the global random stream at every access."""
    return Squares(transform=lambda image: image + 0.1 * torch.rand(()))


def images_in(folder):
    return {p.relative_to(folder): decoded(p.read_bytes()) for p in folder.rglob("*.png")}


@pytest.mark.parametrize(
    ("every", "stop"),
    [
        (1, 2),
        *(pytest.param(1, stop, marks=pytest.mark.slow) for stop in (1, 3)),
        *(pytest.param(2, stop, marks=pytest.mark.slow) for stop in (1, 2, 3)),
    ],
)
def test_a_resumed_run_logs_what_an_uninterrupted_one_does(tmp_path, every, stop):
    options = {"method": ["gradcam", "layercam"], "every_n_validations": every}
    whole, _ = train(tmp_path / "whole", 4, small(**options))
    first, before = train(tmp_path / "parts", stop, small(**options))
    second, after = train(tmp_path / "parts", 4, small(**options), resume=True)
    assert before.probes["val"].fingerprint == after.probes["val"].fingerprint
    assert len(first) + len(second) == 4
    assert own(first) == own(whole[:stop])
    evaluated = [i for i in range(stop, 4) if i % every == 0]
    assert [own([second[i - stop]]) for i in evaluated] == [own([whole[i]]) for i in evaluated]
    assert after.state_dict()["validations"] == 4


def own(entries):
    """Return the metrics of the callback and of the validation loop, None in place of NaN."""
    known = [{k: v for k, v in each.items() if k.startswith(("cam/", "val_"))} for each in entries]
    return [{k: None if math.isnan(v) else v for k, v in each.items()} for each in known]


def test_the_first_evaluation_stays_the_reference_over_a_resume(tmp_path):
    whole, _ = train(tmp_path, 2)
    resumed, _ = train(tmp_path, 3, resume=True)
    fresh, _ = train(tmp_path / "other", 1)
    assert fresh[0]["cam/jsd_first"] == whole[0]["cam/jsd_first"] == 0
    assert 0 < resumed[0]["cam/jsd_previous"] != resumed[0]["cam/jsd_first"] > 0


def test_the_timeline_continues_over_a_resume(tmp_path):
    train(tmp_path / "whole", 4)
    train(tmp_path / "parts", 2)
    train(tmp_path / "parts", 4, resume=True)
    whole, parts = images_in(tmp_path / "whole"), images_in(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert len(whole) == 12
    for name, pixels in whole.items():
        assert (pixels == parts[name]).all(), name


def test_the_record_of_a_resumed_run_is_that_of_an_uninterrupted_one(tmp_path):
    train(tmp_path / "whole", 3)
    train(tmp_path / "parts", 2)
    train(tmp_path / "parts", 3, resume=True)
    ((name, whole),) = record_lines(tmp_path / "whole").items()
    assert [line["kind"] for line in whole] == ["probe", *["evaluation"] * 3]
    assert_close(record_lines(tmp_path / "parts")[name], whole)


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


@pytest.mark.slow
def test_each_of_several_probes_is_resumed(tmp_path):
    sources = {"probe": {"train": "train", "own": squares_probe(3)}}
    whole, _ = train(tmp_path / "whole", 3, small(**sources))
    train(tmp_path / "parts", 1, small(**sources))
    resumed, _ = train(tmp_path / "parts", 3, small(**sources), resume=True)
    assert own(resumed) == own(whole[1:])


def test_another_probe_starts_afresh_with_a_warning(tmp_path):
    train(tmp_path, 2)
    with pytest.warns(UserWarning, match="afresh.*another probe"):
        resumed, _ = train(tmp_path, 3, small(seed=1), resume=True)
    assert resumed[0]["cam/jsd_first"] == 0


def test_another_layer_starts_afresh_with_a_warning(tmp_path):
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
    # the weights are those of the last evaluation, which was not the first
    assert metrics["cam/drift_previous"] == pytest.approx(0, abs=1e-4)
    assert metrics["cam/drift_first"] > 0


def test_a_state_whose_probe_is_not_set_up_yet_is_not_lost():
    callback = CAMCallback()
    history = History().state_dict()
    probe = {"fingerprint": "f", "layers": [], "history": history}
    state = {"validations": 3, "probes": {"val": probe}}
    callback.load_state_dict(state)
    assert callback.state_dict() == state
