"""Names of classes: given, of weights, of the model; and targets by name."""

from types import SimpleNamespace

import pytest
import timm
import torch
from helpers.nets import ConvNet
from torchvision.models import ResNet18_Weights

from lightning_cam import compute_cams
from lightning_cam.explain.known_names import fitting_names, known_class_names

IMAGES = torch.rand(2, 3, 16, 16)


def test_given_names_come_first_and_none_can_be_given():
    weights = ResNet18_Weights.DEFAULT
    assert known_class_names(["a", 2], weights, ConvNet()) == ("a", "2")
    assert known_class_names((), weights, ConvNet()) is None
    with pytest.raises(TypeError, match="list of names, got 'abc'"):
        known_class_names("abc", None, ConvNet())


def test_weights_and_models_say_their_names():
    assert known_class_names(None, ResNet18_Weights.DEFAULT, ConvNet())[285] == "Egyptian cat"
    assert known_class_names(None, None, timm.create_model("resnet18"))[285] == "Egyptian cat"
    few = timm.create_model("resnet18", num_classes=3)
    assert known_class_names(None, None, few) is None
    model = ConvNet()
    model.config = SimpleNamespace(id2label={0: "ant", 1: "bee", 2: "owl"})
    assert known_class_names(None, None, model) == ("ant", "bee", "owl")


def test_names_of_other_classes_are_not_used():
    names = ("a", "b")
    assert fitting_names(names, 3, needed=False) is None
    assert fitting_names(names, 1, needed=True) == fitting_names(names, 0, needed=True) == names
    with pytest.raises(ValueError, match="names of 3 classes, got 2"):
        compute_cams(ConvNet(), IMAGES, class_names=names)


def test_a_network_trained_further_does_not_take_the_names_of_its_weights():
    pixels = (IMAGES[0].permute(1, 2, 0) * 255).byte().numpy()
    weights = ResNet18_Weights.DEFAULT
    assert compute_cams(ConvNet(3), pixels, transform=weights).class_names is None
    with pytest.raises(ValueError, match="names of 3 classes, got 1000"):
        compute_cams(ConvNet(3), pixels, "tench", transform=weights)


def test_targets_are_given_by_name():
    model, names = ConvNet(), ["ant", "bee", "owl"]
    for by_name, by_index in {"owl": 2, ("bee", "ant"): [1, 0]}.items():
        found = compute_cams(model, IMAGES, by_name, class_names=names)
        expected = compute_cams(model, IMAGES, by_index)
        assert torch.equal(found["gradcam"], expected["gradcam"])
        assert torch.equal(found.classes, expected.classes)
    with pytest.raises(ValueError, match=r"unknown class 'owll'\. Did you mean 'owl'"):
        compute_cams(model, IMAGES, "owll", class_names=names)
    with pytest.raises(ValueError, match=r"name of classes \[0, 2\]: give an index"):
        compute_cams(model, IMAGES, "ant", class_names=["ant", "bee", "ant"])
    with pytest.raises(ValueError, match="with class_names="):
        compute_cams(model, IMAGES, ["owl", "ant"])
