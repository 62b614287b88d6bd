"""When the callback looks, under which names, and what other callbacks can do with it."""

import copy
import math
import pickle
import re

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from helpers.training import (
    QUIET,
    Ledger,
    Module,
    ModuleWithoutValidation,
    Squares,
    cam_scalars,
    fit,
    fit_with_tensorboard,
    image_steps,
    image_tags,
    loader,
    make_trainer,
    scalar_steps,
    small,
    squares_probe,
)

from lightning_cam import CAMCallback, Probe

pytestmark = QUIET

# --- monitoring ----------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["cam/enrichment", "cam/jsd_previous"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_other_callbacks_can_monitor_whatever_the_order(tmp_path, metric, order):
    keeper = ModelCheckpoint(tmp_path, "best", monitor=metric, mode="max", save_top_k=1)
    stopper = EarlyStopping(metric, mode="max", patience=99)
    ledger = Ledger()
    team = [small(), stopper, keeper]
    callbacks = [team[i] for i in order]
    fit(tmp_path, *callbacks, ledger, max_epochs=3, enable_checkpointing=True)
    values = ledger.of(metric)
    assert len(values) == 3
    assert keeper.best_model_score.item() == max(values)
    assert stopper.best_score.item() == max(values)


@pytest.mark.parametrize("cam_first", [True, False])
def test_early_stopping_stops_on_what_was_seen_in_the_same_validation(tmp_path, cam_first):
    stopper = EarlyStopping("cam/enrichment", mode="max", stopping_threshold=0.0)
    callbacks = [small(), stopper] if cam_first else [stopper, small()]
    trainer = fit(tmp_path, *callbacks, max_epochs=5)
    assert trainer.current_epoch == 1


def test_monitoring_survives_the_validations_between_two_looks(tmp_path):
    stopper = EarlyStopping("cam/enrichment", mode="max", patience=99)
    ledger = Ledger()
    fit(tmp_path, small(every_n_validations=2), stopper, ledger, max_epochs=4)
    values = ledger.of("cam/enrichment")
    assert values[0] == values[1] != values[2] == values[3]


# --- when ----------------------------------------------------------------------------------------


def test_trainer_validate_looks_too_although_inference_mode_is_on(tmp_path):
    modes = []

    class Watcher(pl.Callback):
        def on_validation_epoch_end(self, trainer, pl_module):
            modes.append(torch.is_inference_mode_enabled())

    trainer = make_trainer(tmp_path, [small(), Watcher()])
    (metrics,) = trainer.validate(Module(), loader(), verbose=False)
    assert modes == [True]
    assert metrics["cam/enrichment"] > 0
    assert metrics["cam/zero_map_fraction"] < 1
    assert len(list(tmp_path.rglob("*.png"))) == 3


def test_validate_sees_what_fit_saw_last(tmp_path):
    ledger, module = Ledger(), Module()
    fit(tmp_path, small(), ledger, module=module)
    trainer = make_trainer(tmp_path, [small()])
    (metrics,) = trainer.validate(module, loader(), verbose=False)
    assert metrics["cam/enrichment"] == ledger.of("cam/enrichment")[-1]


def test_validate_is_no_part_of_the_history_of_fit(tmp_path):
    callback, module = small(), Module()
    trainer = make_trainer(tmp_path, [callback])
    trainer.validate(module, loader(), verbose=False)
    trainer.fit(module, loader(), loader())
    assert callback.state_dict()["validations"] == 1
    assert trainer.callback_metrics["cam/jsd_first"] == 0


def test_test_and_predict_are_left_alone(tmp_path):
    class Tested(Module):
        def test_step(self, batch, batch_idx):
            self.log("test_loss", self.net(batch[0]).mean())

    callback, module = small(), Tested()
    trainer = make_trainer(tmp_path, [callback])
    trainer.test(module, loader(), verbose=False)
    trainer.predict(module, loader(torch.rand(2, 3, 16, 16)))
    assert callback.state_dict()["validations"] == 0
    assert list(tmp_path.rglob("*.png")) == []


def test_several_validation_loaders_give_one_look(tmp_path):
    callback = small()
    trainer, events = fit_with_tensorboard(
        tmp_path, callback, val=[loader(Squares(8, seed=1)), loader(Squares(8, seed=2))]
    )
    assert len(events.Images("cam/timeline")) == 1
    assert "cam/enrichment" in trainer.callback_metrics
    first = Squares(8, seed=1)
    (probe,) = callback.probes.values()
    assert all(
        torch.equal(image, first.images[int(name.split("-")[-1])])
        for image, name in zip(probe.images, probe.ids, strict=True)
    )


def test_validations_within_an_epoch_are_all_seen(tmp_path):
    _, events = fit_with_tensorboard(tmp_path, small(), val_check_interval=2, max_epochs=2)
    steps = scalar_steps(events, "val_loss")
    assert len(steps) == 4
    assert image_steps(events, "cam/timeline") == steps == scalar_steps(events, "cam/entropy")


def test_every_second_epoch(tmp_path):
    _, events = fit_with_tensorboard(tmp_path, small(), check_val_every_n_epoch=2, max_epochs=4)
    assert image_steps(events, "cam/timeline") == scalar_steps(events, "val_loss")
    assert len(image_steps(events, "cam/timeline")) == 2


def test_step_based_validation_across_epochs(tmp_path):
    _, events = fit_with_tensorboard(
        tmp_path, small(), check_val_every_n_epoch=None, val_check_interval=3, max_epochs=3
    )
    assert len(scalar_steps(events, "val_loss")) == 4
    assert image_steps(events, "cam/timeline") == scalar_steps(events, "val_loss")


def test_accumulated_gradients_do_not_part_pictures_from_curves(tmp_path):
    _, events = fit_with_tensorboard(
        tmp_path, small(), accumulate_grad_batches=3, val_check_interval=1, max_epochs=2
    )
    assert image_steps(events, "cam/timeline") == scalar_steps(events, "val_loss")


@pytest.mark.parametrize("sanity_steps", [0, 2, -1])
def test_the_sanity_check_is_not_logged(tmp_path, sanity_steps):
    callback = small()
    _, events = fit_with_tensorboard(tmp_path, callback, num_sanity_val_steps=sanity_steps)
    assert image_steps(events, "cam/timeline") == [3]
    assert scalar_steps(events, "cam/enrichment") == [3]
    assert callback.state_dict()["validations"] == 1


def test_every_second_validation(tmp_path):
    _, events = fit_with_tensorboard(tmp_path, small(every_n_validations=2), max_epochs=5)
    steps = scalar_steps(events, "val_loss")
    assert image_steps(events, "cam/timeline") == steps[::2]
    assert scalar_steps(events, "cam/entropy") == steps[::2]


# --- what ----------------------------------------------------------------------------------------


def test_without_a_validation_loop_a_given_probe_is_seen_at_epoch_ends(tmp_path):
    callback = CAMCallback(squares_probe(), num_pictures=2)
    module = ModuleWithoutValidation()
    trainer, events = fit_with_tensorboard(tmp_path, callback, module=module, max_epochs=3)
    assert "cam/enrichment" in trainer.callback_metrics
    assert len(scalar_steps(events, "train_loss")) == 3
    assert scalar_steps(events, "cam/enrichment") == scalar_steps(events, "train_loss")
    assert image_steps(events, "cam/timeline") == scalar_steps(events, "train_loss")


def test_without_a_validation_loop_the_training_data_can_be_watched(tmp_path):
    module = ModuleWithoutValidation()
    _, events = fit_with_tensorboard(tmp_path, small(probe="train"), module=module)
    assert cam_scalars(events)


def test_training_data_as_the_probe(tmp_path):
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


def test_further_maps_carry_method_and_layer(tmp_path):
    probe = squares_probe(2)
    callback = CAMCallback(probe, method=["gradcam", "layercam"], layers=["net.3", "net.1"])
    _, events = fit_with_tensorboard(tmp_path, callback)
    suffixes = ["", "/gradcam@net.1", "/layercam@net.1", "/layercam@net.3"]
    tags = [tag for tag in cam_scalars(events) if re.match(r"cam/enrichment(/|$)", tag)]
    assert tags == [f"cam/enrichment{suffix}" for suffix in suffixes]
    overlays = [tag for tag in image_tags(events) if "overlay" in tag]
    places = ["00", "01"] + [f"{s[1:]}/{i}" for s in suffixes[1:] for i in ("00", "01")]
    assert overlays == sorted(f"cam/overlay/{place}" for place in places)


def test_further_maps_do_not_change_the_first(tmp_path):
    alone, both = Ledger(), Ledger()
    probe = squares_probe()
    fit(tmp_path, CAMCallback(probe, layers="net.3"), alone)
    several = {"method": ["gradcam", "hirescam"], "layers": ["net.3", "net.1"]}
    fit(tmp_path, CAMCallback(probe, **several), both)
    known = {k: v for k, v in alone.metrics[0].items() if not math.isnan(v)}
    assert known.items() <= both.metrics[0].items()


@pytest.mark.parametrize("target", ["prediction", 2, lambda logits: logits[:, 1] - logits[:, 0]])
def test_other_targets_give_other_maps(tmp_path, target):
    label, other = Ledger(), Ledger()
    probe = squares_probe()
    fit(tmp_path, CAMCallback(probe), label)
    fit(tmp_path, CAMCallback(probe, target=target), other)
    assert other.of("cam/mean_activation") != label.of("cam/mean_activation")
    assert other.of("cam/label_confidence") == label.of("cam/label_confidence")


def test_an_unlabelled_probe_explains_the_prediction(tmp_path):
    unlabelled, predicted = Ledger(), Ledger()
    data = Squares(4, seed=5)
    fit(tmp_path, CAMCallback(Probe(data.images)), unlabelled)
    fit(tmp_path, CAMCallback(squares_probe(), target="prediction"), predicted)
    assert unlabelled.of("cam/mean_activation") == predicted.of("cam/mean_activation")
    assert "cam/label_confidence" not in unlabelled.metrics[0]
    assert "cam/enrichment" not in unlabelled.metrics[0]


def test_two_callbacks_with_their_own_tags_live_together(tmp_path):
    ours, theirs = small(tag="early", layers="net.1"), small(tag="late", layers="net.3")
    _, events = fit_with_tensorboard(tmp_path, ours, theirs)
    for tag in ("early", "late"):
        assert cam_scalars(events, f"{tag}/")
        assert f"{tag}/timeline" in image_tags(events)
    assert ours.state_key != theirs.state_key
    assert cam_scalars(events, "cam/") == []


def test_two_callbacks_with_one_tag_are_refused_by_lightning(tmp_path):
    with pytest.raises(RuntimeError, match="state_key"):
        make_trainer(tmp_path, [small(), small()])


def test_the_callback_can_be_copied_and_pickled_before_and_after_a_run(tmp_path):
    callback = small()
    copy.deepcopy(callback)
    fit(tmp_path, callback)
    for twin in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):  # noqa: S301
        assert twin.probes["val"].fingerprint == callback.probes["val"].fingerprint
        assert twin.state_key == callback.state_key


def test_one_callback_serves_two_runs(tmp_path):
    callback = small()
    fit(tmp_path / "a", callback)
    trainer = fit(tmp_path / "b", callback)
    assert trainer.callback_metrics["cam/jsd_first"] >= 0
    assert len(list((tmp_path / "b").rglob("*.png"))) == 3


def test_a_tag_may_have_several_parts(tmp_path):
    _, events = fit_with_tensorboard(tmp_path, small(tag="a/b/"))
    assert len(image_tags(events)) == 3
    assert all(tag.startswith("a/b/") for tag in image_tags(events))
