"""`layers="auto"` chooses the layer that experts choose."""

import warnings

import pytest
from model_zoo.layer_choices import EXPECTED, chosen_layer
from model_zoo.models import BUILDERS, has_model
from torchvision.models import get_model

QUICK = {
    "resnet18": 64,
    "mobilenet_v2": 64,
    "densenet121": 64,
    "squeezenet1_1": 64,
    "alexnet": 96,
    "swin_t": 96,
    "vit_b_32": 224,
}


@pytest.mark.parametrize("name", QUICK)
def test_the_choice_for_small_images_is_that_of_experts(name):
    expected = next(e for e in EXPECTED if (e.library, e.model) == ("torchvision", name))
    names = chosen_layer(get_model(name, weights=None), (QUICK[name], QUICK[name]))
    assert expected.agrees(names), f"chose {names}, experts choose {expected.layers}"


@pytest.mark.zoo
@pytest.mark.slow
@pytest.mark.parametrize("expected", EXPECTED, ids=lambda each: f"{each.library}-{each.model}")
def test_the_choice_is_that_of_experts(expected):
    if not has_model(expected.library, expected.model):
        pytest.skip(f"the installed {expected.library} has no {expected.model}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = chosen_layer(*BUILDERS[expected.library](expected.model))
    assert expected.agrees(names), f"chose {names}, experts choose {expected.layers}"


def test_the_table_is_large_and_without_duplicates():
    assert len(EXPECTED) >= 32
    assert all(expected.layers for expected in EXPECTED)
    assert len({(e.library, e.model) for e in EXPECTED}) == len(EXPECTED)
