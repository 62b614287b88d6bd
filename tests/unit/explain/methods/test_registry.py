import pytest
import torch
from torch import nn

from lightning_cam import METHODS, compute_cams
from lightning_cam.explain.methods import resolve_methods


def test_the_registry_holds_methods_under_the_papers_names():
    titles = {name: method.title for name, method in METHODS.items()}
    assert titles.items() >= {
        ("gradcam", "Grad-CAM"),
        ("hirescam", "HiResCAM"),
        ("layercam", "LayerCAM"),
    }


@pytest.mark.parametrize("name", [n for n in METHODS if METHODS[n].place != "attention"])
def test_every_method_gives_float32_maps_that_are_never_negative(name):
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
def test_methods_come_in_the_order_given_once_each(given, names):
    assert [method.name for method in resolve_methods(given)] == names


@pytest.mark.parametrize("near_miss", ["grad-cam", "GradCAM", "gradcams"])
def test_an_unknown_method_names_the_near_miss(near_miss):
    with pytest.raises(ValueError, match=rf"{near_miss}'\. Did you mean 'gradcam'"):
        resolve_methods(near_miss)


def test_a_hopeless_name_lists_what_there_is():
    with pytest.raises(ValueError, match=r"Known:.* gradcam, .*hirescam, .*layercam"):
        resolve_methods("?")


def test_no_method_is_an_error():
    with pytest.raises(ValueError, match="at least one method"):
        resolve_methods([])


@pytest.mark.parametrize("bad", [[1], [None], 3, None])
def test_something_else_than_names_is_a_type_error(bad):
    with pytest.raises(TypeError):
        resolve_methods(bad)
