"""Bad arguments raise before the first batch; later failures cost a warning, not the run."""

import math
import shutil
import warnings

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from torch import nn
from helpers.training import (
    QUIET,
    Ledger,
    Module,
    ModuleWithoutValidation,
    Squares,
    convnet,
    decoded,
    events_of,
    fit,
    image_steps,
    loader,
    make_trainer,
    png_files,
    scalar_steps,
    small,
    squares_probe,
)

from lightning_cam import CAMCallback, Probe

pytestmark = QUIET

# --- before the first batch ----------------------------------------------------------------------

_WRONG_ARGUMENTS = [
    ({"method": "grad-cam"}, ["grad-cam", "'gradcam'", "layercam"]),
    ({"method": []}, ["at least one method"]),
    ({"colormap": "turbos"}, ["turbos", "'turbo'"]),
    ({"alpha": 1.5}, ["alpha", "0", "1", "1.5"]),
    ({"alpha": -0.1}, ["alpha", "-0.1"]),
    ({"alpha": float("nan")}, ["alpha", "nan"]),
    ({"target": "labels"}, ["labels", "'label'"]),
    ({"every_n_validations": 0}, ["every_n_validations", "0"]),
    ({"num_pictures": -1}, ["num_pictures", "-1"]),
    ({"probe_size": 0}, ["probe_size", "0"]),
    ({"chunk_size": 0}, ["chunk_size", "0"]),
    ({"tag": "/"}, ["tag", "/"]),
    ({"probe": "validation"}, ["'val'", "'train'", "validation"]),
    ({"probe": {}}, ["at least one probe"]),
    ({"probe": 3}, ["Probe", "int"]),
    ({"probe": torch.rand(2, 3, 8, 8)}, ["Probe(images, targets)", "Tensor"]),
    ({"probe": {"own": Probe}}, ["own", "Probe"]),
]


def numbered(value):
    """Return a name without tensors and addresses: every worker must find the same one."""
    return "-".join(value) if isinstance(value, dict) else ""


@pytest.mark.parametrize(("arguments", "words"), _WRONG_ARGUMENTS, ids=numbered)
def test_wrong_arguments_are_refused_when_the_callback_is_made(arguments, words):
    with pytest.raises((ValueError, TypeError)) as caught:
        CAMCallback(**arguments)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    "arguments", [{"alpha": "0.5"}, {"every_n_validations": "2"}, {"num_pictures": None}], ids=str
)
def test_arguments_of_the_wrong_kind_are_named(arguments):
    with pytest.raises((ValueError, TypeError), match="expected " + next(iter(arguments))):
        CAMCallback(**arguments)


class WithIdleLayer(Module):
    def __init__(self):
        super().__init__()
        self.idle = nn.Conv2d(3, 3, 1)


class Judging(Module):
    """Returns its loss, not logits."""

    def forward(self, images):
        return {"loss": self.net(images).square().mean()}


class WithoutForward(Module):
    """Its steps call the network themselves."""

    forward = ModuleWithoutValidation.__mro__[-2].forward


class Pooled(Module):
    """Flattens the image at once: no layer keeps height and width."""

    def __init__(self):
        super().__init__(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4)))


class ThreeClasses(Module):
    """Has fewer logits than the data has labels, and a loss that does not mind."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(*convnet()[:6], nn.Linear(12, 3))

    def training_step(self, batch, batch_idx):
        self.trained += 1
        return self.net(batch[0]).square().mean()

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.net(batch[0]).square().mean())


_WRONG_FOR_THE_MODEL = [
    ({"layers": "net.33"}, Module, ["net.33", "'net.3'"]),
    ({"layers": "network"}, Module, ["network", "net.3", "spatial"]),
    ({"layers": -9}, Module, ["-9", "-1"]),
    ({"layers": ["net.3", "net.99"]}, Module, ["net.99"]),
    ({"layers": nn.Conv2d(1, 1, 1)}, Module, ["Conv2d", "not in it"]),
    ({"layers": "idle"}, WithIdleLayer, ["idle", "did not run"]),
    ({"layers": "net.6"}, Module, ["net.6", "spatial"]),
    ({}, ThreeClasses, ["below 3", "got 3"]),
    ({}, Judging, ["logits", "[loss]"]),
    ({}, Pooled, ["spatial", "layers="]),
    ({"target": 7}, Module, ["below 4", "got 7"]),
    ({"target": lambda _: torch.zeros(())}, Module, ["one score per image"]),
]


@pytest.mark.parametrize("given", [True, False], ids=["given probe", "validation data"])
@pytest.mark.parametrize(("arguments", "module_class", "words"), _WRONG_FOR_THE_MODEL, ids=numbered)
def test_what_does_not_fit_the_model_is_refused_before_training(
    tmp_path, arguments, module_class, words, given
):
    arguments = {"probe": squares_probe(), **arguments} if given else arguments
    assert_refused(tmp_path, CAMCallback(**arguments), module_class(), words)


_SCHEDULES = [
    {"num_sanity_val_steps": 2},
    {"num_sanity_val_steps": 0},
    {"num_sanity_val_steps": 0, "check_val_every_n_epoch": 2},
    {"num_sanity_val_steps": 0, "val_check_interval": 8, "check_val_every_n_epoch": None},
]


@pytest.mark.parametrize("schedule", _SCHEDULES, ids=str)
def test_labels_out_of_range_are_refused_however_validation_is_scheduled(tmp_path, schedule):
    assert_refused(tmp_path, CAMCallback(), ThreeClasses(), ["below 3", "got 3"], **schedule)


def assert_refused(folder, callback, module, words, **kwargs):
    with pytest.raises((ValueError, TypeError)) as caught:
        fit(folder, callback, module=module, max_epochs=2, **kwargs)
    assert module.trained == 0
    assert [word for word in words if word not in str(caught.value)] == []


def test_training_data_that_does_not_fit_is_refused_before_training(tmp_path):
    assert_refused(tmp_path, CAMCallback("train"), ThreeClasses(), ["below 3"])


def test_a_module_without_forward_is_refused_before_training(tmp_path):
    module = WithoutForward()
    with pytest.raises(Exception, match="forward"):
        fit(tmp_path, CAMCallback(), module=module)
    assert module.trained == 0


def test_no_validation_data_and_no_probe_is_refused(tmp_path):
    words = ["validation data", "probe='train'", "val_dataloader"]
    assert_refused(tmp_path, CAMCallback(), ModuleWithoutValidation(), words)


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no")  # so it is
def test_validation_without_data_is_refused(tmp_path):
    module = Module()
    with pytest.raises(ValueError, match="expected validation data"):
        make_trainer(tmp_path, [CAMCallback()]).fit(module, loader())
    assert module.trained == 0


def test_data_without_images_is_refused(tmp_path):
    class Rows(Squares):
        def __getitem__(self, index):
            return torch.rand(5), self.targets[index]

    callback = CAMCallback(Rows())
    assert_refused(tmp_path, callback, Module(), ["image", "(C, H, W)", "Probe(images, targets)"])


def test_images_of_several_sizes_are_refused(tmp_path):
    class Growing(Squares):
        def __getitem__(self, index):
            return torch.rand(3, 16 + index, 16), self.targets[index]

    assert_refused(tmp_path, CAMCallback(Growing()), Module(), ["one size", "Resize"])


def test_an_array_as_the_probe_works_or_says_what_to_do(tmp_path):
    images = Squares(4).images.numpy()
    try:
        trainer = fit(tmp_path, CAMCallback(images), module=Module())
    except (TypeError, ValueError) as error:
        assert "Probe" in str(error)  # noqa: PT017 - either way is right
    else:
        assert "cam/mean_activation" in trainer.callback_metrics


def test_no_validation_batches_warns(tmp_path):
    with pytest.warns(UserWarning, match="limit_val_batches=0"):
        fit(tmp_path, CAMCallback(), limit_val_batches=0)
    assert png_files(tmp_path) == []


def test_a_refusal_leaves_the_model_as_it_was(tmp_path):
    module = ThreeClasses()
    with pytest.raises(ValueError, match="below 3"):
        fit(tmp_path, CAMCallback(squares_probe()), module=module)
    assert all(part.training for part in module.modules())
    assert sum(len(part._forward_hooks) for part in module.modules()) == 0


# --- from then on --------------------------------------------------------------------------------


class Breaking(Module):
    """From the second validation until the third its forward fails; its own steps go on."""

    def __init__(self, fail, until=3):
        super().__init__()
        self.fail, self.until, self.validations = fail, until, 0

    def forward(self, images):
        output = self.net(images)
        return self.fail(output) if 2 <= self.validations < self.until else output

    def on_validation_epoch_start(self):
        if not self.trainer.sanity_checking:
            self.validations += 1


def raises(output):
    raise RuntimeError("the network is tired")


def becomes_nan(output):
    return output * float("nan")


def loses_its_shape(output):
    return output.sum()


@pytest.mark.parametrize("fail", [raises, loses_its_shape])
def test_a_model_that_fails_costs_a_warning_and_that_look(tmp_path, fail):
    module, ledger = Breaking(fail), Ledger()
    logger = TensorBoardLogger(tmp_path, name="tb")
    with pytest.warns(UserWarning, match="CAMCallback skipped.*training goes on"):
        trainer = fit(tmp_path, small(), ledger, module=module, max_epochs=4, logger=logger)
    events = events_of(trainer)
    steps = scalar_steps(events, "val_loss")
    assert len(steps) == 4
    assert image_steps(events, "cam/timeline") == [steps[0], steps[2], steps[3]]
    assert scalar_steps(events, "cam/entropy") == [steps[0], steps[2], steps[3]]
    assert all(part.training for part in module.modules())


def test_the_same_failure_warns_once(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(tmp_path, small(), module=Breaking(raises, until=99), max_epochs=5)
    ours = [w for w in caught if "CAMCallback skipped" in str(w.message)]
    assert len(ours) == 1
    assert "the network is tired" in str(ours[0].message)


def test_a_model_that_becomes_nan_is_told_by_the_metrics(tmp_path):
    ledger = Ledger()
    trainer = fit(tmp_path, small(alpha=1.0), ledger, module=Breaking(becomes_nan), max_epochs=3)
    assert trainer.current_epoch == 3
    assert ledger.of("cam/zero_map_fraction")[1] == 1
    assert np.isnan(ledger.of("cam/entropy")[1])
    assert np.isfinite(ledger.of("cam/entropy")[2])
    assert len(png_files(tmp_path)) == 9


def test_strict_raises(tmp_path):
    with pytest.raises(RuntimeError, match="tired"):
        fit(tmp_path, small(strict=True), module=Breaking(raises), max_epochs=3)


def test_a_failed_look_does_not_become_the_baseline(tmp_path):
    class BreaksFirst(Breaking):
        def forward(self, images):
            output = self.net(images)
            return self.fail(output) if self.validations == 1 else output

    ledger = Ledger()
    with pytest.warns(UserWarning, match="skipped"):
        fit(tmp_path, small(), ledger, module=BreaksFirst(raises), max_epochs=3)
    first, second, third = ledger.of("cam/jsd_first")
    assert math.isnan(first)  # there to be monitored, and no number
    assert second == 0
    assert third > 0


def test_a_look_that_failed_keeps_the_monitored_metric_of_the_last_one(tmp_path):
    stopper = EarlyStopping("cam/enrichment", mode="max", patience=99)
    with pytest.warns(UserWarning, match="skipped"):
        trainer = fit(tmp_path, small(), stopper, module=Breaking(raises), max_epochs=4)
    assert trainer.current_epoch == 4


def logger_that_is_down():
    """Return what is matched as a TensorBoard logger; nothing of its experiment can be used."""

    class Unreachable:
        def __getattr__(self, name):
            raise OSError("the server is down")

    class TensorBoardLogger(Logger):
        name, version = "down", 0
        log_dir = save_dir = None

        def log_metrics(self, metrics, step=None):
            pass

        def log_hyperparams(self, *args, **kwargs):
            pass

        @property
        def experiment(self):
            return Unreachable()

    return TensorBoardLogger()


def test_a_logger_that_is_down_costs_a_warning_and_no_metric(tmp_path):
    ledger = Ledger()
    with pytest.warns(UserWarning, match="the server is down"):
        fit(tmp_path, small(), ledger, logger=logger_that_is_down(), max_epochs=2)
    assert None not in ledger.of("cam/enrichment")


def test_strict_raises_for_a_logger_that_is_down(tmp_path):
    with pytest.raises(OSError, match="the server is down"):
        fit(tmp_path, small(strict=True), logger=logger_that_is_down())


def test_a_logger_that_is_down_does_not_cost_the_others_their_pictures(tmp_path):
    loggers = [logger_that_is_down(), CSVLogger(tmp_path, name="csv")]
    with pytest.warns(UserWarning, match="the server is down"):
        fit(tmp_path, small(), logger=loggers, max_epochs=1)
    assert len(png_files(tmp_path)) == 3


def test_a_logger_that_is_down_does_not_cost_the_other_probes_their_metrics(tmp_path):
    probes = {"one": squares_probe(seed=1), "two": squares_probe(seed=2)}
    with pytest.warns(UserWarning, match="the server is down"):
        trainer = fit(tmp_path, CAMCallback(probes), logger=logger_that_is_down())
    assert {"cam/one/enrichment", "cam/two/enrichment"} <= trainer.callback_metrics.keys()


def test_one_probe_that_fails_does_not_cost_the_others_theirs(tmp_path):
    class FailsOnThree(Module):
        def forward(self, images):
            if len(images) == 3:
                raise RuntimeError("three is too many")
            return self.net(images)

    probes = {"three": squares_probe(3), "four": squares_probe(4)}
    with pytest.warns(UserWarning, match="three is too many"):
        trainer = fit(tmp_path, CAMCallback(probes), module=FailsOnThree())
    assert "cam/four/enrichment" in trainer.callback_metrics


def test_a_folder_that_cannot_be_made_costs_a_warning(tmp_path):
    (tmp_path / "cam").write_text("in the way")
    with pytest.warns(UserWarning, match="CAMCallback skipped"):
        trainer = fit(tmp_path, small(), max_epochs=2)
    assert trainer.current_epoch == 2
    assert "cam/enrichment" in trainer.callback_metrics


def test_a_folder_that_was_removed_is_made_again(tmp_path):
    class Tidy(Module):
        def on_validation_epoch_start(self):
            shutil.rmtree(tmp_path / "cam", ignore_errors=True)

    fit(tmp_path, small(strict=True), module=Tidy(), max_epochs=2)  # strict: nothing on its way
    files = png_files(tmp_path)
    assert len(files) == 3
    assert all("epoch=0001" in name for name in files)


def test_a_keyboard_interrupt_is_not_swallowed(tmp_path):
    def interrupt(output):
        raise KeyboardInterrupt

    module = Breaking(interrupt)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(tmp_path, small(), module=module, max_epochs=4)
    assert module.validations == 2


@pytest.mark.parametrize(
    "names",
    [["two\nlines", "b", "c", "d"], ["x" * 300, "", "日本語", "😀"], ["\x00", "%s", "{}", "\t"]],
    ids=["newline", "long and foreign", "signs"],
)
def test_class_names_of_any_kind_do_not_cost_a_look(tmp_path, names):
    probe = squares_probe(class_names=names)
    fit(tmp_path, CAMCallback(probe, strict=True))
    assert all(decoded(p.read_bytes()).size for p in tmp_path.rglob("*.png"))
    assert len([name for name in png_files(tmp_path) if "overlay" in name]) == 4


def test_a_binary_classifier_with_one_logit_is_watched(tmp_path):
    class Binary(ThreeClasses):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(*convnet()[:6], nn.Linear(12, 1))

    data = Squares(8)
    data.targets = [label % 2 for label in data.targets]
    trainer = fit(tmp_path, small(strict=True), module=Binary(), val=loader(data))
    assert trainer.callback_metrics["cam/label_confidence"].isfinite()


def test_a_probe_of_one_image_is_watched(tmp_path):
    data = Squares(1)
    probe = Probe(data.images, data.targets, masks=data.masks)
    fit(tmp_path, CAMCallback(probe, strict=True))
    assert len([name for name in png_files(tmp_path) if "overlay" in name]) == 1
