"""`ProbeSet`: probes that are announced, set and set up; names, checks and restored state."""

import math

import pytest
import torch
from helpers.nets import ConvNet
from helpers.recorded_run import probe_of

from lightning_cam import Threshold
from lightning_cam.monitor.config import MonitorConfig
from lightning_cam.monitor.probe_set import ProbeSet
from lightning_cam.runtime.errors import ErrorPolicy
from lightning_cam.runtime.forward_context import ForwardContext


@pytest.fixture
def messages():
    return []


@pytest.fixture
def make(messages):
    """Return a function that makes a probe set; its warnings are collected in `messages`."""

    def make(*names, strict=False, **options):
        errors = ErrorPolicy(strict=strict, warn=messages.append)
        return ProbeSet(names, MonitorConfig(**options), errors)

    return make


def set_up(probes, model):
    return probes.set_up(model, ForwardContext.of(model))


# --- setting --------------------------------------------------------------------------------------


def test_probes_are_set_up_as_soon_as_they_are_set(make):
    probes, model = make("train", "val"), ConvNet()
    assert probes.unset == ["train", "val"]
    probes.set("val", probe_of())
    assert probes.unset == ["train"]
    (summary,) = set_up(probes, model)
    assert "cam/val: " in summary
    assert list(probes.monitors) == ["val"]
    probes.set("train", probe_of())
    (summary,) = set_up(probes, model)
    assert "cam/train: " in summary
    assert set_up(probes, model) == []


def test_a_single_probe_has_the_plain_tag(make):
    assert make("val").tag_of("val") == "cam"
    assert make("val", tag="mine").tag_of("val") == "mine"
    assert make("a", "b").tag_of("b") == "cam/b"


def test_wrong_probes_are_reported(make):
    with pytest.raises(ValueError, match="at least one probe, got an empty dict"):
        make()
    probes = make("train", "val")
    with pytest.raises(ValueError, match=r"unknown probe 'trian'. Did you mean 'train'"):
        probes.set("trian", probe_of())
    with pytest.raises(TypeError, match="expected probe 'val' as a Probe, got a Tensor"):
        probes.set("val", torch.rand(2, 3, 4, 4))


def test_masks_are_estimated_where_the_configuration_says_so(make):
    probes = make("val", estimate_masks=True)
    probes.set("val", probe_of(masks=False))
    set_up(probes, ConvNet())
    assert probes.monitors["val"].probe.masks_estimated


def test_a_setup_without_memory_is_skipped_with_a_warning_and_made_later(make, messages):
    class Full(ConvNet):
        full = True

        def forward(self, images):
            if self.full:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(images)

    probes, model = make("val"), Full()
    probes.set("val", probe_of())
    assert set_up(probes, model) == []
    assert len(messages) == 1
    assert "lightning_cam skipped the setup of cam" in messages[0]
    failed = probes.failed_evaluations(3, 39)["val"]
    assert (failed.failed, failed.epoch, failed.step) == (True, 3, 39)
    model.full = False
    assert len(set_up(probes, model)) == 1
    assert probes.failed_evaluations(3, 39) == {}
    names = probes.monitors["val"].metric_names
    assert {name for name in names if "/" not in name} <= set(failed.metrics)
    assert all(math.isnan(value) for value in failed.metrics.values())


def test_a_halved_chunk_size_costs_one_warning(make, messages):
    class Limited(ConvNet):
        def forward(self, images):
            if len(images) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(images)

    probes = make("val", chunk_size=2)
    probes.set("val", probe_of())
    assert len(set_up(probes, Limited())) == 1
    assert len(messages) == 1
    assert "ran out of memory with 2 images per pass and goes on with 1" in messages[0]


# --- checks of metrics ----------------------------------------------------------------------------


def test_a_metric_is_checked_once_all_probes_are_set_up(make):
    probes, model = make("train", "val"), ConvNet()
    probes.set("val", probe_of())
    set_up(probes, model)
    probes.metrics.check_metric("train/enrichment")  # may still be measured on the other probe
    probes.set("train", probe_of())
    set_up(probes, model)
    probes.metrics.check_metric("train/enrichment")
    with pytest.raises(ValueError, match=r"unknown metric 'enrichment'.*'val/enrichment'"):
        probes.metrics.check_metric("enrichment")


def test_a_single_probes_metric_has_its_plain_name(make):
    probes = make("val")
    probes.set("val", probe_of())
    set_up(probes, ConvNet())
    probes.metrics.check_metric("enrichment")


def test_rules_about_the_gap_are_checked_with_both_probes(make):
    rule = Threshold("gap/enrichmnt", above=0.3)
    probes, model = make("train", "val", alerts=[rule]), ConvNet()
    for name in ("train", "val"):
        probes.set(name, probe_of())
    with pytest.raises(ValueError, match=r"unknown metric in a rule 'gap/enrichmnt'"):
        set_up(probes, model)
    with pytest.raises(ValueError, match="two probes for a rule"):
        make("val", alerts=[rule])


# --- state ----------------------------------------------------------------------------------------


def evaluated(make, *names, **options):
    """Return a probe set with one evaluation of each probe."""
    probes, model = make(*names, **options), ConvNet()
    context = ForwardContext.of(model)
    for name in names:
        probes.set(name, probe_of())
    set_up(probes, model)
    for monitor in probes.monitors.values():
        monitor.update_history(monitor.evaluate(model, context, 0, 0), 0.5)
    return probes


def test_a_state_is_restored_when_its_probe_is_set_up(make, messages):
    state = evaluated(make, "train", "val").state_dict()
    probes, model = make("train", "val"), ConvNet()
    probes.load_state_dict(state)
    probes.set("val", probe_of())
    set_up(probes, model)
    assert probes.monitors["val"].history.count == 1
    # The state of a probe that is not set up yet is kept for the next checkpoint.
    assert set(probes.state_dict()["probes"]) == {"train", "val"}
    assert messages == []


def test_a_state_is_restored_into_probes_that_are_set_up(make):
    state = evaluated(make, "val").state_dict()
    probes = evaluated(make, "val")
    probes.monitors["val"].history.count = 7
    probes.load_state_dict(state)
    assert probes.monitors["val"].history.count == 1


def test_the_state_of_another_probe_costs_one_warning(make, messages):
    state = evaluated(make, "val").state_dict()
    probes = make("val")
    probes.load_state_dict(state)
    probes.set("val", probe_of(5))
    set_up(probes, ConvNet())
    assert probes.monitors["val"].history.count == 0
    assert messages == [
        "lightning_cam starts its history afresh: the checkpoint's history is of another probe."
    ]


@pytest.mark.parametrize(
    "state", [{}, {"probes": 7}, {"probes": {}, "gap": {"rules": 7}}, {"probes": {}, "gap": 7}]
)
def test_a_damaged_state_costs_one_warning(make, messages, state):
    make("train", "val").load_state_dict(state)
    assert len(messages) == 1
    assert messages[0].startswith("lightning_cam starts its history afresh: ")


def test_a_damaged_state_raises_where_strict(make):
    with pytest.raises(ValueError, match="expected a checkpoint of this run, but the state"):
        make("val", strict=True).load_state_dict({})
