"""Arguments and data that do not fit are refused before the first training batch."""

import pytest
import torch
from helpers.training import (
    QUIET,
    Module,
    ModuleWithoutValidation,
    Squares,
    convnet,
    fit,
    loader,
    make_trainer,
    png_files,
    squares_probe,
)
from torch import nn

from lightning_cam import CAMCallback, Probe

pytestmark = QUIET

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


def argument_names(value):
    """Return a test id without tensors and addresses: all workers must find the same one."""
    return "-".join(value) if isinstance(value, dict) else ""


@pytest.mark.parametrize(("arguments", "words"), _WRONG_ARGUMENTS, ids=argument_names)
def test_wrong_arguments_are_refused_by_the_constructor(arguments, words):
    with pytest.raises((ValueError, TypeError)) as caught:
        CAMCallback(**arguments)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"alpha": "0.5"},
        {"every_n_validations": "2"},
        {"num_pictures": None},
        {"metrics": None},
        {"metrics": 3},
        {"tag": 3},
        {"seed": "x"},
        {"monitor": 3},
        {"progress_bar": 3},
        {"report": "no"},
        {"strict": "no"},
        {"estimate_masks": "yes"},
    ],
    ids=str,
)
def test_arguments_of_the_wrong_type_are_named(arguments):
    with pytest.raises((ValueError, TypeError), match="expected " + next(iter(arguments))):
        CAMCallback(**arguments)


class WithIdleLayer(Module):
    def __init__(self):
        super().__init__()
        self.idle = nn.Conv2d(3, 3, 1)


class ReturningLoss(Module):
    """Its forward returns a loss instead of logits."""

    def forward(self, images):
        return {"loss": self.net(images).square().mean()}


class WithoutForward(Module):
    """Its steps do not call `forward`."""

    forward = ModuleWithoutValidation.__mro__[-2].forward


class Pooled(Module):
    """Flattens the image: no layer has height and width."""

    def __init__(self):
        super().__init__(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4)))


class ThreeClasses(Module):
    """Has fewer logits than the data has classes, and a loss that ignores labels."""

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
    ({}, ReturningLoss, ["logits", "[loss]"]),
    ({}, Pooled, ["spatial", "layers="]),
    ({"target": 7}, Module, ["below 4", "got 7"]),
    ({"target": lambda _: torch.zeros(())}, Module, ["one score per image"]),
]


@pytest.mark.parametrize("given", [True, False], ids=["given probe", "validation data"])
@pytest.mark.parametrize(
    ("arguments", "module_class", "words"), _WRONG_FOR_THE_MODEL, ids=argument_names
)
def test_arguments_that_do_not_fit_the_model_are_refused(
    tmp_path, arguments, module_class, words, given
):
    arguments = {"probe": squares_probe(), **arguments} if given else arguments
    assert_refused(tmp_path, CAMCallback(**arguments), module_class(), words)


_SCHEDULES = [
    {"num_sanity_val_steps": 2},
    {"num_sanity_val_steps": 0},
    {"num_sanity_val_steps": 0, "val_check_interval": 8, "check_val_every_n_epoch": None},
]


@pytest.mark.parametrize("schedule", _SCHEDULES, ids=str)
def test_labels_out_of_range_are_refused_with_any_schedule(tmp_path, schedule):
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


@pytest.mark.filterwarnings("ignore:Total length of `list`")
def test_an_empty_list_of_loaders_is_refused(tmp_path):
    module = Module()
    with pytest.raises(ValueError, match=r"validation data .* an empty list.*Probe\("):
        make_trainer(tmp_path, [CAMCallback()]).fit(module, loader(), [])
    assert module.trained == 0


def test_data_without_images_is_refused(tmp_path):
    class Rows(Squares):
        def __getitem__(self, index):
            return torch.rand(5), self.targets[index]

    callback = CAMCallback(Rows())
    assert_refused(
        tmp_path, callback, Module(), ["image", "(B, C, H, W)", "Probe(images, targets)"]
    )


def test_an_array_as_the_probe_works_or_says_what_to_do(tmp_path):
    images = Squares(4).images.numpy()
    try:
        trainer = fit(tmp_path, CAMCallback(images), module=Module())
    except (TypeError, ValueError) as error:
        assert "Probe" in str(error)  # noqa: PT017 - both outcomes are right
    else:
        assert "cam/mean_activation" in trainer.callback_metrics


def test_no_validation_batches_warns(tmp_path):
    with pytest.warns(UserWarning, match="limit_val_batches=0"):
        fit(tmp_path, CAMCallback(), limit_val_batches=0)
    assert png_files(tmp_path) == []


def test_a_refusal_leaves_the_model_unchanged(tmp_path):
    module = ThreeClasses()
    with pytest.raises(ValueError, match="below 3"):
        fit(tmp_path, CAMCallback(squares_probe()), module=module)
    assert all(part.training for part in module.modules())
    assert sum(len(part._forward_hooks) for part in module.modules()) == 0
