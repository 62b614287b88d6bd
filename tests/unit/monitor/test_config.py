"""`MonitorConfig`: its defaults are those of `CAMCallback`, its checks name what was expected."""

import dataclasses
import inspect
import json
import math

import pytest
import torch
from torch import nn

from lightning_cam import CAMCallback, Threshold
from lightning_cam.monitor.config import MonitorConfig, as_primitives, option_names
from lightning_cam.output.config import OutputConfig


def defaults():
    """Return the default of every option, by name."""
    config = MonitorConfig()
    own = {each.name: getattr(config, each.name) for each in dataclasses.fields(config)}
    output = own.pop("output_config")
    return own | {each.name: getattr(output, each.name) for each in dataclasses.fields(output)}


def parameters():
    return {name: each.default for name, each in inspect.signature(CAMCallback).parameters.items()}


def test_option_names_are_all_fields_of_both_configurations():
    assert option_names() == set(defaults())


@pytest.mark.parametrize("name", sorted(option_names()))
def test_every_default_is_that_of_the_callback(name):
    assert parameters()[name] == defaults()[name]
    assert type(parameters()[name]) is type(defaults()[name])


def test_options_go_to_the_configuration_that_has_them():
    config = MonitorConfig.from_options({"tag": "mine", "alpha": 0.5, "method": "layercam"})
    assert (config.tag, config.method, config.output_config.alpha) == ("mine", "layercam", 0.5)
    assert config.output_config == OutputConfig(alpha=0.5)
    assert MonitorConfig.from_options({}) == MonitorConfig()


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("methods", "method"),
        ("num_picture", "num_pictures"),
        ("alert", "alerts"),
        ("layer", "layers"),
    ],
)
def test_an_unknown_option_names_the_near_miss(name, near):
    with pytest.raises(TypeError, match=rf"unknown argument '{name}'\. Did you mean '{near}'"):
        MonitorConfig.from_options({name: None})


def test_the_output_is_no_option_by_itself():
    with pytest.raises(TypeError, match="unknown argument 'output_config'"):
        MonitorConfig.from_options({"output_config": OutputConfig()})


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"tag": "/"}, ValueError, "expected a tag with letters, got '/'"),
        ({"method": "grad-cam"}, ValueError, "unknown method 'grad-cam'. Did you mean 'gradcam'"),
        ({"target": "labels"}, ValueError, "expected target 'label' or .*, got 'labels'"),
        ({"every_n_validations": 0}, ValueError, "every_n_validations as an integer of 1 or more"),
        ({"chunk_size": 0}, ValueError, "chunk_size as an integer of 1 or more, got 0"),
        ({"interventions_every": -1}, ValueError, "interventions_every as an integer of 0 or more"),
        (
            {"alerts": ["enrichment"]},
            TypeError,
            r"alerts as rules such as Threshold\(...\), got 'e",
        ),
        ({"alpha": 2}, ValueError, "alpha between 0 and 1, got 2"),
        ({"num_pictures": 1.5}, ValueError, "num_pictures as an integer of 0 or more, got 1.5"),
    ],
    ids=str,
)
def test_wrong_options_are_reported(options, error, match):
    with pytest.raises(error, match=match):
        MonitorConfig.from_options(options)


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, math.nan])
def test_the_overhead_is_a_share_between_0_and_1(share):
    with pytest.raises(ValueError, match="max_overhead between 0 and 1"):
        MonitorConfig(max_overhead=share)


@pytest.mark.parametrize("share", [None, 0.02, 0.999])
def test_other_overheads_are_accepted(share):
    assert MonitorConfig(max_overhead=share).max_overhead == share


def test_slashes_around_the_tag_are_removed():
    assert MonitorConfig(tag="/cam/val/").tag == "cam/val"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, False),
        ({"method": ["gradcam"]}, False),
        ({"method": ["gradcam", "layercam"]}, True),
        ({"layers": "layer*"}, False),
        ({"layers": -1}, False),
        ({"layers": nn.Conv2d(1, 1, 1)}, False),
        ({"layers": ["layer4"]}, False),
        ({"layers": ["layer3", "layer4"]}, True),
    ],
    ids=str,
)
def test_whether_there_may_be_several_maps_per_image(options, expected):
    assert MonitorConfig(**options).has_several_maps is expected


# --- settings for the record ----------------------------------------------------------------------


def test_settings_are_primitives_without_addresses():
    net = nn.Sequential(nn.ReLU())
    rules = [Threshold("enrichment", below=0.8)]
    found = MonitorConfig(target=defaults, layers=[net]).settings(rules)
    assert found["target"] == "defaults"
    assert found["layers"] == ["Sequential"]
    assert found["alerts"][0].startswith("Threshold(metric='enrichment'")
    assert found["alpha"] == 0.7
    assert set(found) == option_names()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_settings_state_the_rules_in_effect():
    assert MonitorConfig(alerts=None).settings([])["alerts"] == []


def test_values_that_json_lacks_become_none_or_a_type():
    value = {"a": math.nan, "b": (1, torch.zeros(2)), 3: {"c": None}, "d": True}
    assert as_primitives(value) == {"a": None, "b": [1, "Tensor"], "3": {"c": None}, "d": True}
