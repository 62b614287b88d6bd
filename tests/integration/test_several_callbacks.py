"""Several callbacks in a training, one callback in several; tags, copies and pickles."""

import copy
import pickle

import pytest
from helpers.training import (
    QUIET,
    cam_scalars,
    fit,
    fit_with_tensorboard,
    image_tags,
    make_trainer,
    small,
)

pytestmark = QUIET


def test_two_callbacks_with_different_tags_log_side_by_side(tmp_path):
    early, late = small(tag="early", layers="net.1"), small(tag="late", layers="net.3")
    _, events = fit_with_tensorboard(tmp_path, early, late)
    for tag in ("early", "late"):
        assert cam_scalars(events, f"{tag}/")
        assert f"{tag}/timeline" in image_tags(events)
    assert early.state_key != late.state_key
    assert cam_scalars(events, "cam/") == []


def test_two_callbacks_with_the_same_tag_are_refused_by_lightning(tmp_path):
    with pytest.raises(RuntimeError, match="state_key"):
        make_trainer(tmp_path, [small(), small()])


def test_the_callback_can_be_copied_and_pickled_before_and_after_a_run(tmp_path):
    callback = small()
    assert copy.deepcopy(callback).state_key == callback.state_key
    assert pickle.loads(pickle.dumps(callback)).state_key == callback.state_key  # noqa: S301
    fit(tmp_path, callback)
    for copied in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):  # noqa: S301
        assert copied.probes["val"].fingerprint == callback.probes["val"].fingerprint
        assert copied.state_key == callback.state_key


def test_one_callback_can_be_used_in_two_runs(tmp_path):
    callback = small()
    fit(tmp_path / "a", callback)
    trainer = fit(tmp_path / "b", callback)
    assert trainer.callback_metrics["cam/jsd_first"] >= 0
    assert len(list((tmp_path / "b").rglob("*.png"))) == 3


def test_a_tag_may_have_several_parts(tmp_path):
    _, events = fit_with_tensorboard(tmp_path, small(tag="a/b/"))
    assert len(image_tags(events)) == 3
    assert all(tag.startswith("a/b/") for tag in image_tags(events))
