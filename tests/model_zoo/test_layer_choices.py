"""The automatic choice against experts'; the whole table: `python -m benchmarks.zoo --table`."""

import pytest
import torchvision
from model_zoo.layer_choices import EXPECTED, chosen

QUICK = {
    "resnet18": 64,
    "mobilenet_v2": 64,
    "densenet121": 64,
    "squeezenet1_1": 64,
    "shufflenet_v2_x1_0": 64,
    "mnasnet1_0": 64,
    "regnet_y_400mf": 64,
    "alexnet": 96,
    "swin_t": 96,
    "vit_b_32": 224,
}


@pytest.mark.parametrize("model", QUICK)
def test_the_automatic_choice_is_the_experts(model):
    expected = next(e for e in EXPECTED if (e.library, e.model) == ("torchvision", model))
    names = chosen(torchvision.models.get_model(model, weights=None), (QUICK[model], QUICK[model]))
    assert expected.agrees(names), f"chose {names}, experts take {expected.layers}"


def test_the_table_is_large_enough():
    assert len(EXPECTED) >= 32
    assert all(expected.layers for expected in EXPECTED)
    assert len({(e.library, e.model) for e in EXPECTED}) == len(EXPECTED)
