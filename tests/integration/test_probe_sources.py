"""Probes from the trainer's data, datasets, loaders, or given; with and without validation."""

import pytest
import torch
from helpers.training import (
    QUIET,
    ModuleWithoutValidation,
    Squares,
    cam_scalars,
    fit,
    fit_with_tensorboard,
    image_steps,
    image_tags,
    loader,
    scalar_steps,
    small,
    squares_probe,
)

from lightning_cam import CAMCallback

pytestmark = QUIET


def test_without_a_validation_loop_a_given_probe_is_evaluated_at_epoch_ends(tmp_path):
    callback = CAMCallback(squares_probe(), num_pictures=2)
    module = ModuleWithoutValidation()
    trainer, events = fit_with_tensorboard(tmp_path, callback, module=module, max_epochs=3)
    assert "cam/enrichment" in trainer.callback_metrics
    assert len(scalar_steps(events, "train_loss")) == 3
    assert scalar_steps(events, "cam/enrichment") == scalar_steps(events, "train_loss")
    assert image_steps(events, "cam/timeline") == scalar_steps(events, "train_loss")


def test_without_a_validation_loop_the_training_data_can_be_sampled(tmp_path):
    module = ModuleWithoutValidation()
    _, events = fit_with_tensorboard(tmp_path, small(probe="train"), module=module)
    assert cam_scalars(events)


def test_the_training_data_can_be_the_probe(tmp_path):
    train = Squares(12, seed=9)
    callback = small(probe="train")
    _, events = fit_with_tensorboard(tmp_path, callback, train=loader(train))
    (probe,) = callback.probes.values()
    assert torch.equal(probe.images[0], train.images[int(probe.ids[0].split("-")[-1])])
    assert "cam/enrichment" in cam_scalars(events)
    assert "cam/timeline" in image_tags(events)


@pytest.mark.parametrize("sanity_steps", [0, 2])
def test_several_probes_have_their_names_in_the_tags(tmp_path, sanity_steps):
    callback = small(probe={"train": "train", "val": "val", "own": squares_probe()})
    _, events = fit_with_tensorboard(tmp_path, callback, num_sanity_val_steps=sanity_steps)
    scalars, images = cam_scalars(events), image_tags(events)
    for name in ("train", "val", "own"):
        assert f"cam/{name}/enrichment" in scalars
        assert f"cam/{name}/timeline" in images
        assert len([tag for tag in images if tag.startswith(f"cam/{name}/overlay/")]) == 2
    assert "cam/enrichment" not in scalars
    assert len(images) == 9


def test_a_dataset_and_a_dataloader_can_be_the_probe(tmp_path):
    source = {"set": Squares(8, seed=3), "loader": loader(Squares(8, seed=3))}
    callback = small(probe=source)
    fit(tmp_path, callback, max_epochs=1)
    probes = callback.probes
    assert probes["set"].fingerprint == probes["loader"].fingerprint
