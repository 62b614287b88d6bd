"""The configuration that `LightningCLI` saves beside a run can be run again."""

import sys

import pytest
import yaml
from helpers.training import QUIET, Module, loader
from lightning.pytorch.cli import LightningCLI

from lightning_cam import CAMCallback, ControlChart, Threshold

pytestmark = [
    *QUIET,
    pytest.mark.filterwarnings("ignore:CAMCallback. cam"),  # the alerts
    pytest.mark.filterwarnings("ignore:lightning_cam starts its history afresh"),
]

DEFAULTS = {}
MANY = {
    "probe": {
        "easy": {"class_path": "helpers.training.Squares", "init_args": {"count": 4}},
        "val": "val",
    },
    "method": ["gradcam", "layercam"],
    "layers": ["net.1", -1],
    "target": {"class_path": "lightning_cam.DifferenceTarget"},
    "probe_size": 4,
    "num_pictures": 2,
    "alerts": [
        {"class_path": "lightning_cam.Threshold", "init_args": {"metric": "entropy", "above": 0.0}},
        {
            "class_path": "lightning_cam.ControlChart",
            "init_args": {"metric": "entropy", "baseline": 5},
        },
    ],
    "on_alert": ["warn", "checkpoint"],
    "panels": ["overlay", "timeline"],
    "feature_channels": [0, 1],
    "activation_maximization": [0, "net.1:2"],
    "monitor": "val_loss",
    "max_overhead": 0.5,
    "progress_bar": "val/enrichment",
}


class WithData(Module):
    """Brings its own data, as a command line needs."""

    def train_dataloader(self):
        return loader()

    def val_dataloader(self):
        return loader()


class WithCallback(LightningCLI):
    """Makes the callback an argument of its own, `--cam.method`."""

    def add_arguments_to_parser(self, parser):
        parser.add_lightning_class_args(CAMCallback, "cam")


def run(folder, *arguments, cli_class=LightningCLI):
    """Run the command line; return the callback, the saved configuration's path, the trainer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # of Lightning's own calls
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["main.py", "fit", *arguments])
        cli = cli_class(WithData, seed_everything_default=0)
    (callback,) = [each for each in cli.trainer.callbacks if isinstance(each, CAMCallback)]
    return callback, next(folder.rglob("config.yaml")), cli.trainer


def configuration():
    return {
        "max_epochs": 2,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
        "logger": {
            "class_path": "lightning.pytorch.loggers.CSVLogger",
            "init_args": {"save_dir": "."},
        },
    }


@pytest.mark.parametrize("settings", [DEFAULTS, MANY], ids=["defaults", "many"])
@pytest.mark.parametrize("cli_class", [LightningCLI, WithCallback])
def test_a_saved_configuration_can_be_run_again(tmp_path, settings, cli_class):
    config = {"trainer": configuration()}
    if cli_class is WithCallback:
        config["cam"] = settings
    else:
        callback = {"class_path": "lightning_cam.CAMCallback", "init_args": settings}
        config["trainer"]["callbacks"] = [callback]
    (tmp_path / "first.yaml").write_text(yaml.safe_dump(config))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    path = str(tmp_path / "first.yaml")
    first, saved, _ = run(tmp_path / "one", "--config", path, cli_class=cli_class)
    second, again, done = run(tmp_path / "two", "--config", str(saved), cli_class=cli_class)
    assert done.current_epoch == 2
    assert second.config.settings(()) == first.config.settings(())
    assert again.read_text() == saved.read_text()
    kinds = [type(rule) for rule in second.config.alerts or ()]
    assert kinds == ([Threshold, ControlChart] if settings else [])
    names = {name for name in done.callback_metrics if name.startswith("cam/")}
    assert ("cam/val/enrichment" if settings else "cam/enrichment") in names
