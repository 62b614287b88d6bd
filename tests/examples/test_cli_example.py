"""LightningCLI makes the callback from YAML, in both packages of Lightning."""

import contextlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from lightning.pytorch.cli import LightningCLI

from lightning_cam import CAMCallback

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIG = EXAMPLES / "cli" / "config.yaml"
QUICK = [
    *("--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"),
    *("--trainer.max_epochs=4", "--trainer.enable_progress_bar=false"),
]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:CAMCallback. (cam/|CONFIRMED)"),  # the rule of the YAML
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("cli_example", EXAMPLES / "cli" / "main.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command_line(example, *arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # of Lightning's own calls
        patch.setenv("PL_GLOBAL_SEED", "0")  # without one LightningCLI warns
        patch.setattr(sys, "argv", ["main.py", *map(str, arguments)])
        return LightningCLI(example.DigitsModule, example.Digits)


def check_run(folder):
    """Compare the alerts and the saved configuration with the YAML."""
    alerts = [json.loads(line) for line in (folder / "alerts.jsonl").read_text().splitlines()]
    # The network is hardly trained: two values of enrichment in a row are below 0.8.
    assert {alert["metric"] for alert in alerts} == {"enrichment"}
    assert {alert["limit"] for alert in alerts} == {0.8}
    saved = (folder / "config.yaml").read_text()
    assert re.search(
        r"class_path: lightning_cam\.Threshold\s+init_args:\s+metric: enrichment", saved
    )


@pytest.mark.slow
def test_the_callback_is_made_from_yaml(tmp_path, monkeypatch, example):
    monkeypatch.chdir(tmp_path)
    cli = command_line(example, "fit", "--config", CONFIG, *QUICK, "--trainer.max_epochs=9")
    check_run(tmp_path / "runs" / "cli" / "version_0")
    metrics = cli.trainer.callback_metrics
    assert {"cam/val/enrichment", "cam/val/enrichment/layercam@net.layer3"} <= {*metrics}
    assert cli.trainer.current_epoch < 9  # `on_alert` says stop


@pytest.mark.sweep
@pytest.mark.slow
def test_the_callback_is_made_from_yaml_for_pytorch_lightning(tmp_path):
    for name in ("digits.py", "cli/main.py", "cli/config.yaml"):
        text = (EXAMPLES / name).read_text(encoding="utf-8")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.replace("lightning.pytorch", "pytorch_lightning"))
    done = subprocess.run(  # noqa: S603 - the example itself
        [sys.executable, "main.py", "fit", "--config=config.yaml", *QUICK],
        cwd=tmp_path / "cli",
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    check_run(tmp_path / "cli" / "runs" / "cli" / "version_0")


@pytest.mark.slow
def test_the_printed_configuration_can_be_run(tmp_path, monkeypatch, example):
    monkeypatch.chdir(tmp_path)
    short = ["--trainer.fast_dev_run=true", *QUICK]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        command_line(example, "fit", "--config", CONFIG, *short, "--print_config")
    (tmp_path / "saved.yaml").write_text(printed.getvalue())
    cli = command_line(example, "fit", "--config", tmp_path / "saved.yaml")
    assert "cam/train/enrichment" in cli.trainer.callback_metrics


@pytest.mark.slow
def test_probes_and_targets_are_made_from_yaml(tmp_path, monkeypatch, example):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(OBJECTS)
    cli = command_line(example, "fit", "--config", "config.yaml", "--trainer.fast_dev_run=true")
    (callback,) = [each for each in cli.trainer.callbacks if isinstance(each, CAMCallback)]
    assert len(callback.probes["easy"]) == 4
    assert "cam/easy/enrichment" in cli.trainer.callback_metrics


OBJECTS = """
trainer:
  callbacks:
    - class_path: lightning_cam.CAMCallback
      init_args:
        probe:
          easy: {class_path: digits.DigitsOnPhotos, init_args: {split: val, correlation: 0.0}}
          val: val
        probe_size: 4
        target: {class_path: lightning_cam.DifferenceTarget}
        strict: true
"""


def test_help_lists_the_arguments_of_the_callback(monkeypatch, example):
    monkeypatch.setenv("COLUMNS", "200")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        command_line(example, "fit", "--trainer.callbacks.help", "lightning_cam.CAMCallback")
    text = re.sub(r"\s+", " ", printed.getvalue())
    for name in ("probe", "method", "layers", "target", "alerts", "on_alert"):
        assert f"--trainer.callbacks.{name}" in text
    if sys.version_info >= (3, 11):  # before, jsonargparse does not list those of `X | None`
        assert "known subclasses: lightning_cam.Threshold, lightning_cam.ControlChart" in text
    for other in ("torch.nn.Linear", "torchvision.tv_tensors", "torchvision.datasets"):
        assert other not in text  # no list of all subclasses of modules, tensors and datasets


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{method: grad-cam}", "Did you mean 'gradcam'"),
        ("{num_pictures: -1}", "expected num_pictures"),
        (
            "{alerts: [{class_path: lightning_cam.Threshold, init_args: {metric: enrichment}}]}",
            "expected one of below and above",
        ),
    ],
    ids=["method", "num_pictures", "rule"],
)
def test_wrong_arguments_are_refused_before_the_training(
    tmp_path, monkeypatch, capsys, example, settings, message
):
    monkeypatch.chdir(tmp_path)
    callback = f"[{{class_path: lightning_cam.CAMCallback, init_args: {settings}}}]"
    try:
        command_line(example, "fit", f"--trainer.callbacks={callback}")
    except (SystemExit, ValueError) as error:
        assert message in f"{error} {capsys.readouterr().err}"  # noqa: PT017 - either of two
    else:
        pytest.fail("accepted")
    assert not any(tmp_path.iterdir())
