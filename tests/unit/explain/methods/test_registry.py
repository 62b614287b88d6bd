"""`METHODS` and `resolve_methods`: names, order, wrong names and types."""

import pytest
import torch
from torch import nn

from lightning_cam import METHODS, compute_cams
from lightning_cam.explain.methods import resolve_methods


def test_methods_have_the_names_of_their_papers():
    titles = {name: method.title for name, method in METHODS.items()}
    assert titles.items() >= {
        ("gradcam", "Grad-CAM"),
        ("hirescam", "HiResCAM"),
        ("layercam", "LayerCAM"),
    }


@pytest.mark.parametrize("name", [n for n in METHODS if METHODS[n].place != "attention"])
def test_maps_of_every_method_are_float32_and_not_negative(name):
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    result = compute_cams(net.double(), torch.rand(2, 3, 8, 8).double(), 1, method=name, layers="1")
    ((_, maps),) = result.maps.items()
    assert maps.dtype == torch.float32
    assert maps.shape[0] == 2
    assert maps.isfinite().all()
    assert maps.min() >= 0


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("layercam", ["layercam"]),
        (["layercam", "gradcam"], ["layercam", "gradcam"]),
        (("gradcam", "hirescam", "gradcam"), ["gradcam", "hirescam"]),
    ],
)
def test_methods_are_in_the_given_order_and_once(given, names):
    assert [method.name for method in resolve_methods(given)] == names


@pytest.mark.parametrize("near_miss", ["grad-cam", "GradCAM", "gradcams"])
def test_an_unknown_method_is_reported_with_the_near_miss(near_miss):
    with pytest.raises(ValueError, match=rf"{near_miss}'\. Did you mean 'gradcam'"):
        resolve_methods(near_miss)


def test_an_unknown_name_without_near_miss_is_reported_with_all_names():
    with pytest.raises(ValueError, match=r"Known:.* gradcam, .*hirescam, .*layercam"):
        resolve_methods("?")


def test_an_empty_list_is_reported():
    with pytest.raises(ValueError, match="at least one method"):
        resolve_methods([])


@pytest.mark.parametrize("bad", [[1], [None], 3, None])
def test_other_types_are_reported(bad):
    with pytest.raises(TypeError):
        resolve_methods(bad)
