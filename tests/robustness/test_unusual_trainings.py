"""Trainings as strangers write them end as they would without the callback.

Each is fitted twice. With `CAMCallback` it raises what it raises without, or its weights are the
same bit for bit and there are metrics and pictures without a warning; or the callback refuses it
before the first batch, in a message that says what to write. The trainings are the functions and
classes in `robustness/unusual/`; the ids of the tests list them.
"""

import itertools
import math
import multiprocessing
import signal
import warnings

import pytest
import torch
from helpers.training import QUIET, Module, Squares, loader, make_trainer, png_files
from robustness.unusual import data, modules
from robustness.unusual.training import Training, images_and_labels, run

from lightning_cam import CAMCallback

pytestmark = QUIET


def of(kind):
    """Return a function that makes a training of a module class."""
    return lambda: Training(kind())


EVALUATED = {
    # data
    "a damaged item that is not validated": data.raising_item_that_is_not_validated,
    "missing items that collate drops": data.missing_items_that_collate_drops,
    "a field that some items lack": data.items_of_which_some_lack_a_field,
    "an infinite stream": data.infinite_stream,
    "a stream of three": data.stream_of_three,
    "one validation image": data.one_validation_image,
    "batches of one": data.batches_of_one,
    "one class only": data.one_class_only,
    "labels -1": data.labels_of_which_some_are_minus_one,
    "labels 255": data.labels_of_which_some_are_255,
    "mixup in the training only": data.mixup_in_the_training_only,
    "NaN images": data.nan_images,
    "constant images": data.constant_images,
    "large images that forward shrinks": data.large_images,
    "images of different sizes": data.images_of_different_sizes,
    "images of different sizes one by one": data.images_of_different_sizes_one_by_one,
    "images in double precision": data.images_in_double_precision,
    "images that require gradients": data.images_that_require_gradients,
    "bytes that forward scales": data.bytes_that_forward_scales,
    # loaders
    "a loader with every option": data.loader_with_every_option,
    "opened by worker_init_fn": data.opened_by_worker_init,
    "a loader with its own iteration": data.loader_with_its_own_iteration,
    "no DataLoader": data.iterable_without_a_dataset,
    "a sampler with replacement": data.sampler_with_replacement,
    "a dataset that cannot be pickled": data.dataset_that_cannot_be_pickled,
    "a dataset that starts processes": data.dataset_that_starts_processes,
    # modules
    "frozen": of(modules.Frozen),
    "no_grad inside forward": of(modules.WithoutGraph),
    "inference_mode inside forward": of(modules.Inference),
    "a loss in training, logits in evaluation": of(modules.LossInTraining),
    "forward changes its input": of(modules.Mutating),
    "hooks that return tensors": of(modules.Hooked),
    "forward logs": of(modules.LoggingForward),
    "control flow by values": of(modules.Branching),
    "calls counted, features kept": of(modules.Remembering),
    "lazy layers": of(modules.Lazy),
    "lazy layers of which the first batch is the first": modules.lazy_until_the_first_batch,
    "a head created by the first batch": of(modules.LateHead),
    "a head created by the first batch, dropout": of(modules.LateHeadAndDropout),
    "a head created by the first batch, no sanity check": modules.late_head_without_sanity_check,
    "a transformer on patches": of(modules.PatchTransformer),
    "a compiled part": of(modules.CompiledPart),
    "two inputs, forward=": modules.two_inputs_with_forward,
    "autoencoder": modules.autoencoder,
    "two views": modules.two_views,
    # trainers
    "overfit_batches": modules.overfitting,
    "limit_val_batches": modules.limited,
    "stopped in an epoch": modules.stopped_in_an_epoch,
}
# What is refused before the first batch, and the words that say why and what to write.
REFUSED = {
    "no validation images": (data.no_validation_images, ["empty", "probe=Probe(images, targets)"]),
    "text": (modules.text, ["hold images", "(10,)", "probe=Probe(images, targets)"]),
    "video": (modules.video, ["hold images", "(3, 5, 16, 16)", "probe=Probe(images, targets)"]),
    "two inputs": (modules.two_inputs, ["'sizes'", "images: module(images, ...)"]),
    "GAN": (of(modules.GAN), ["cannot be multiplied", "forward=lambda module, images: module."]),
    "features without a graph": (of(modules.Detaching), ["the score does not depend on it"]),
}
RAISING = {
    "a damaged item": (data.raising_item, OSError),
    "a dataset that spawned workers cannot get": (
        data.dataset_that_spawned_workers_cannot_get,
        Exception,
    ),
}
SLOW = set(list(EVALUATED)[::2]) - {"missing items that collate drops", "labels 255"}


def marked(names):
    rare = [pytest.mark.slow, pytest.mark.sweep]
    marks = {name: rare if name in SLOW else [] for name in names}
    return [pytest.param(name, id=name.replace(" ", "-"), marks=marks[name]) for name in names]


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value.nan_to_num(77), second[name].nan_to_num(77)), name


@pytest.mark.parametrize("name", marked(EVALUATED))
def test_an_unusual_training_is_evaluated(tmp_path, name):
    plain = run(EVALUATED[name], tmp_path / "plain", monitored=False)
    random_state = torch.get_rng_state()
    assert plain.error is None
    ours = run(EVALUATED[name], tmp_path / "ours")
    assert ours.error is None
    assert ours.warnings == []
    assert_same(plain.weights, ours.weights)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert 0 <= ours.metrics["cam/entropy"] <= 1
    evaluations = next(iter(ours.callback.state_dict()["probes"].values()))["history"]["count"]
    validations = 1 if ours.trainer.max_epochs in (1, -1) else 2
    assert evaluations == validations
    images = min(2, *(len(probe) for probe in ours.callback.probes.values()))
    assert ours.pictures == (images + 1) * validations


def test_dropout_in_evaluation_costs_one_warning(tmp_path):
    plain = run(of(modules.DropoutInEvaluation), tmp_path / "plain", monitored=False)
    ours = run(of(modules.DropoutInEvaluation), tmp_path / "ours")
    assert ours.error is None
    assert_same(plain.weights, ours.weights)
    (warning,) = ours.warnings
    assert "is called in another way or in another state" in warning
    assert "dropout in evaluation" in warning
    assert 0 <= ours.metrics["cam/entropy"] <= 1


def test_a_forward_pass_of_the_callback_is_not_counted_and_leaves_no_features(tmp_path):
    plain, ours = (
        run(of(modules.Remembering), tmp_path / str(monitored), monitored=monitored).module
        for monitored in (False, True)
    )
    assert plain.calls == ours.calls == len(ours.kept)
    assert all(torch.equal(a, b) for a, b in zip(plain.kept, ours.kept, strict=True))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_monitored_is_refused_before_the_first_batch(tmp_path, name):
    make, words = REFUSED[name]
    assert run(make, tmp_path / "plain", monitored=False).error is None
    ours = run(make, tmp_path / "ours")
    assert isinstance(ours.error, ValueError)
    assert ours.trainer.global_step == 0
    assert [word for word in words if word not in str(ours.error)] == []


@pytest.mark.parametrize("name", RAISING)
def test_what_fails_without_the_callback_fails_alike(tmp_path, name):
    make, kind = RAISING[name]
    plain = run(make, tmp_path / "plain", monitored=False)
    ours = run(make, tmp_path / "ours")
    assert isinstance(plain.error, kind)
    assert type(ours.error) is type(plain.error)
    assert str(ours.error) == str(plain.error)


@pytest.mark.parametrize("kind", [modules.NaNWeights, modules.NaNLoss])
def test_weights_that_become_nan_end_the_training_as_without_the_callback(tmp_path, kind):
    plain = run(of(kind), tmp_path / "plain", monitored=False)
    ours = run(of(kind), tmp_path / "ours")
    assert ours.error is None
    assert ours.warnings == []
    assert_same(plain.weights, ours.weights)
    assert math.isnan(ours.metrics["cam/entropy"])


def test_ctrl_c_while_the_probe_is_read_leaves_no_process(tmp_path):
    # Ctrl-C is ignored in processes that a shell started in the background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        ours = run(data.interrupted_while_the_probe_is_read, tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert isinstance(ours.error, (KeyboardInterrupt, SystemExit))
    assert ours.warnings == []
    assert multiprocessing.active_children() == []


def test_a_fast_dev_run_writes_nothing(tmp_path):
    ours = run(modules.fast, tmp_path)
    assert ours.error is None
    assert ours.warnings == []
    assert ours.metrics["cam/entropy"] > 0
    assert ours.pictures == 0


def test_a_barebones_trainer_logs_nothing_and_ends(tmp_path):
    ours = run(modules.barebones, tmp_path)
    assert ours.error is None
    assert ours.warnings == []


def test_masks_of_class_indices_with_ignored_pixels(tmp_path):
    ours = run(data.masks_of_class_indices, tmp_path)
    assert ours.error is None
    assert ours.warnings == []
    assert "cam/enrichment" in ours.metrics


@pytest.mark.parametrize("reused", [True, False], ids=["one callback", "one per fold"])
def test_a_module_and_trainer_per_fold(tmp_path, reused):
    callbacks = itertools.repeat(CAMCallback(probe_size=4, num_pictures=1)) if reused else None
    found = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for fold in range(3):
            items = images_and_labels(12, seed=fold)
            ours = next(callbacks) if callbacks else CAMCallback(probe_size=4, num_pictures=1)
            trainer = make_trainer(tmp_path / str(fold), [ours], max_epochs=1)
            trainer.fit(Module(), loader(items[:8]), loader(items[8:]))
            assert trainer.callback_metrics["cam/entropy"].isfinite()
            assert png_files(tmp_path / str(fold))
            (probe,) = ours.probes.values()
            found.append(probe.images)
    assert [str(w.message) for w in caught if "lightning_cam" in str(w.message)] == []
    assert all(
        any(torch.equal(image, given) for given in Squares(12, fold).images[8:])
        for fold, images in enumerate(found)
        for image in images
    )
