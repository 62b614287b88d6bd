"""Tasks beyond single-label classification: several labels, detection, segmentation."""

import pytest
import torch
import torchvision
from helpers.training import (
    QUIET,
    Module,
    Squares,
    cam_scalars,
    fit,
    fit_with_tensorboard,
    image_tags,
    squares_probe,
)
from torch import nn

from lightning_cam import CAMCallback, Probe, SegmentationTarget, Threshold, load_weights

pytestmark = QUIET


class Tiny(Module):
    """Calls a network in `forward`; its training and validation steps do nothing."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images)

    def training_step(self, batch, *_):
        del batch
        return sum(p.sum() for p in self.network.parameters()) * 0

    def validation_step(self, batch, *_):
        del batch
        self.log("val_loss", torch.tensor(0.0))


def test_several_labels_and_weights_of_a_data_parallel_checkpoint(tmp_path):
    def densenet():
        return torchvision.models.DenseNet(8, (2, 2, 2, 2), 16, num_classes=14)

    saved = {f"module.{name}": t for name, t in densenet().state_dict().items()}
    torch.save({"state_dict": saved}, tmp_path / "checkpoint.pt")
    network = densenet()
    loaded = load_weights(network, tmp_path / "checkpoint.pt")
    assert loaded.stripped == "module."
    assert (loaded.missing, loaded.unexpected, loaded.mismatched) == ((), (), ())
    assert torch.equal(network.classifier.weight, saved["module.classifier.weight"])
    labels = torch.zeros(3, 14)
    labels[0, [1, 3]] = 1
    labels[1, 5] = 1
    names = [f"finding {i}" for i in range(14)]
    probe = Probe(torch.rand(3, 3, 64, 64), labels, class_names=names)
    _, events = fit_with_tensorboard(tmp_path, CAMCallback(probe), module=Tiny(network))
    overlays = [tag for tag in image_tags(events) if "overlay" in tag]
    assert [tag.split("/")[2] for tag in overlays] == ["00", "00", "01"]  # image 02 has no label
    assert "finding_3" in overlays[1]
    assert "cam/label_confidence" in cam_scalars(events)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn"])
def test_a_detector_has_maps_of_each_level_of_its_pyramid(tmp_path, name):
    few = {"min_size": 64, "max_size": 64, "weights": None, "weights_backbone": None}
    few["score_thresh" if "retina" in name else "box_score_thresh"] = 0.0
    network = torchvision.models.get_model(name, **few, num_classes=3)
    boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0]] * 2)
    probe = Probe(torch.rand(2, 3, 64, 64), [1, 2], boxes=boxes)
    callback = CAMCallback(
        probe, method="channel_mean", interventions_every=0, alerts=(), metrics="all"
    )
    _, events = fit_with_tensorboard(tmp_path, callback, module=Tiny(network))
    levels = {tag for tag in cam_scalars(events) if tag.startswith("cam/mean_activation")}
    assert len(levels) >= 3
    assert "cam/enrichment" in cam_scalars(events)  # the boxes serve as masks


class Segmenter(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU())
        self.classifier = nn.Conv2d(8, 4, 1)

    def forward(self, images):
        scores = self.classifier(self.encoder(images))
        return {"out": nn.functional.interpolate(scores, size=images.shape[2:])}


def test_a_segmentation_model_has_a_map_per_class(tmp_path):
    probe = Probe(torch.rand(2, 3, 32, 32))
    callback = CAMCallback(probe, target=SegmentationTarget((0, 2, 3)))
    _, events = fit_with_tensorboard(tmp_path, callback, module=Tiny(Segmenter()))
    overlays = [tag.removeprefix("cam/overlay/") for tag in image_tags(events) if "overlay" in tag]
    assert overlays == ["00/0", "00/2", "00/3", "01/0", "01/2", "01/3"]


class WithoutLogits(Module):
    """Its forward returns a map of depths: no class logits to ask after an intervention."""

    def forward(self, images):
        return {"depth": self.net[:4](images).mean(1)}


@pytest.mark.parametrize("masks", [True, False])
def test_default_rules_are_those_that_the_output_can_be_asked_for(tmp_path, masks):
    known = {"masks": Squares(4).masks} if masks else {}
    probe = Probe(Squares(4).images, Squares(4).targets, **known)
    callback = CAMCallback(probe, target=lambda output: output["depth"].mean((1, 2)), strict=True)
    trainer = fit(tmp_path, callback, module=WithoutLogits())
    assert "cam/entropy" in trainer.callback_metrics
    rules = callback._monitor.probe_set.monitors["val"].rules.rules
    assert [rule.metric for rule in rules] == (["enrichment"] if masks else [])


def test_a_rule_of_the_user_says_that_the_output_has_no_logits(tmp_path):
    rule = Threshold("background_reliance", above=0.2)
    depth = {"target": lambda output: output["depth"].mean((1, 2)), "alerts": [rule]}
    with pytest.raises(ValueError, match="background_reliance needs class logits; the output"):
        fit(tmp_path, CAMCallback(squares_probe(), **depth), module=WithoutLogits())
