"""Setting up a probe: its target, its layers, its limitations, and what does not fit together."""

import pytest
import torch
from helpers.monitoring import probe_monitor
from helpers.nets import ConvNet
from torch import nn

from lightning_cam import Probe
from lightning_cam.explain.targets import (
    ClassTarget,
    DetectionTarget,
    DifferenceTarget,
    MultiLabelTarget,
)
from lightning_cam.monitor import map_computer
from lightning_cam.monitor.config import MonitorConfig
from lightning_cam.monitor.probe_setup import target_of
from lightning_cam.monitor.start_message import limitations


def probe(labels=(0, 0, 0, 1, 1, 1), masks=None, **known):
    images = torch.rand(len(labels) if labels is not None else 4, 3, 8, 8)
    return Probe(images, labels, masks=masks, **known)


def squares(count, *, empty=(), full=()):
    masks = torch.zeros(count, 8, 8, dtype=torch.bool)
    masks[:, 2:5, 2:5] = True
    masks[list(empty)] = False
    masks[list(full)] = True
    return masks


# --- limitations ----------------------------------------------------------------------------------


def test_with_pairs_of_two_classes_there_are_no_limitations():
    assert limitations(probe()) == []
    assert limitations(probe(masks=squares(6))) == []


def test_empty_and_full_masks_are_counted():
    found = limitations(probe(masks=squares(6, empty=[0], full=[1, 3])))
    assert found[0].startswith("1 of 6 masks are empty")
    assert found[1].startswith("2 of 6 masks are full")


def test_where_all_masks_are_empty_nothing_else_is_said():
    assert len(limitations(probe(masks=squares(6, empty=range(6))))) == 1


@pytest.mark.parametrize("labels", [[3, 3, 3, 3], [3]])
def test_images_of_one_class_only(labels):
    assert "one class only" in limitations(probe(labels))[0]


def test_no_pair_within_a_class():
    assert "no two images of the same class" in limitations(probe([0, 1, 2, 3]))[0]


def test_without_labels_and_with_several():
    without = ["no labels: reliance on attributes is not measured"]
    assert limitations(probe(None)) == without
    assert limitations(probe(None, masks=squares(4))) == without
    several = Probe(torch.rand(2, 3, 8, 8), torch.tensor([[1, 0], [1, 1]]))
    assert limitations(several) == [
        "several labels per image: reliance on attributes is not measured"
    ]


# --- the target -----------------------------------------------------------------------------------


def target(of, probe):
    return target_of(probe, MonitorConfig(target=of))


def test_words_for_one_label_per_image():
    own = probe()
    for word, kind in (("label", ClassTarget), ("difference", DifferenceTarget)):
        found = target(word, own)
        assert type(found) is kind
        assert found.classes.tolist() == own.targets.tolist()
    assert target("prediction", own).classes is None


def test_words_for_several_labels_per_image():
    own = Probe(torch.rand(2, 3, 8, 8), torch.tensor([[1, 0], [1, 1]]))
    each, mean = target("label", own), target("mean_label", own)
    assert isinstance(each, MultiLabelTarget)
    assert isinstance(mean, MultiLabelTarget)
    assert (each.reduce, mean.reduce) == ("each", "mean")


def test_without_labels_the_prediction_is_explained():
    assert target("label", probe(None)).classes is None


def test_each_box_is_explained_with_its_images_label():
    boxes = [torch.tensor([[0.0, 0, 2, 2]]).expand(n, 4) for n in (1, 2, 0, 1, 1, 3)]
    found = target("box", probe(boxes=boxes))
    assert isinstance(found, DetectionTarget)
    assert [each.tolist() for each in found.labels] == [[0], [0, 0], [], [1], [1], [1, 1, 1]]
    with pytest.raises(ValueError, match="expected a probe with boxes"):
        target("box", probe())
    with pytest.raises(ValueError, match="expected a probe with boxes"):
        target("box", probe(None, boxes=torch.zeros(4, 4)))


# --- a small pass ---------------------------------------------------------------------------------


def test_the_summary_says_what_was_chosen_and_what_cannot_be_measured():
    summary = probe_monitor(ConvNet(), probe([0, 1, 2])).summary
    assert "cam: " in summary
    assert "3 images without masks, Grad-CAM at 'b' (Conv2d" in summary
    assert "chosen as the last spatial layer before the pooling" in summary
    assert summary.endswith("an exchange within the class is its control")
    named = probe_monitor(ConvNet(), probe(masks=squares(6)), tag="cam/val", layers=["a", "b"])
    assert "cam/val: " in named.summary
    assert "6 images with masks, Grad-CAM at 'a' (8×8), 'b' (8×8)" in named.summary


def test_maps_are_of_the_configured_methods_and_layers():
    monitor = probe_monitor(ConvNet(), probe(), method=["gradcam", "gradient"], layers="a")
    assert monitor.state_dict()["layers"] == ["a"]
    pixels = probe_monitor(ConvNet(), probe(), method="gradient")
    assert pixels.state_dict()["layers"] == []


@pytest.mark.parametrize(
    ("labels", "options", "match"),
    [
        ((0, 1, 3), {}, "expected class indices below 3, .* got 3"),
        ([[1, 0], [1, 1]], {}, "expected labels of the logits' shape .*3.*, got shape .*2"),
        ([[1, 0], [1, 1]], {"target": 0}, "as many labels as the model's 3 logits, got 2"),
        ((0, 1, 2), {"layers": "missing"}, "missing"),
        ((0, 1, 2), {"target": 7}, "below 3"),
        (
            (0, 1, 2),
            {"panels": ["features"], "feature_layers": "missing"},
            "missing",
        ),
        (
            (0, 1, 2),
            {"panels": ["activation_maximization"], "activation_maximization": [9]},
            "9",
        ),
    ],
    ids=str,
)
def test_what_does_not_fit_together_is_reported(labels, options, match):
    with pytest.raises(ValueError, match=match):
        probe_monitor(ConvNet(), probe(torch.tensor(labels)), **options)


def test_a_model_without_spatial_layers_is_reported():
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    with pytest.raises(ValueError, match="found no layer with a spatial output"):
        probe_monitor(net, probe())


def test_setting_up_changes_no_random_stream_and_no_mode():
    net, before = ConvNet().train(), torch.get_rng_state()
    own = probe()
    before = torch.get_rng_state()
    probe_monitor(net, own, panels=["features", "activation_maximization"])
    assert torch.equal(torch.get_rng_state(), before)
    assert net.training
    assert all(p.grad is None for p in net.parameters())


def test_gradient_ascent_is_refused_where_weights_are_sharded(monkeypatch):
    monkeypatch.setattr(map_computer, "sharing_of", lambda model, world_size: "lockstep")
    with pytest.raises(ValueError, match="panels without 'activation_maximization'"):
        probe_monitor(ConvNet(), probe(), panels=["activation_maximization"])
    probe_monitor(ConvNet(), probe(), panels=["overlay"])
