"""The recipes of docs/loops.md run, and give the metrics of a Lightning training."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import hf_training, loops
from helpers.loops import EPOCHS, metrics_in, recipes, run
from helpers.training import QUIET, fit

import lightning_cam
from lightning_cam import CAMCallback

pytestmark = [
    *QUIET,
    pytest.mark.filterwarnings("ignore:.*cam/"),  # alerts, of barely trained networks
]
ROOT = Path(lightning_cam.__file__).parents[1]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Return the metrics of each evaluation of a Lightning training."""
    folder = tmp_path_factory.mktemp("lightning")
    callback = CAMCallback(loops.probe(), on_alert=(), report=False)
    fit(folder, callback, max_epochs=EPOCHS)
    return metrics_in(folder)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def assert_equal(found, expected):
    assert len(found) == len(expected) == EPOCHS
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        assert "enrichment" in ours
        for name, value in theirs.items():
            assert ours[name] == pytest.approx(value, abs=1e-5), name


@pytest.mark.parametrize("title", [title for title in recipes() if title])
def test_a_recipe_is_short(title):
    for code in recipes()[title]:
        assert len(code.splitlines()) < 20


def test_plain_pytorch(expected):
    run("Plain PyTorch")
    assert_equal(metrics_in("runs/plain"), expected)
    assert Path("runs/plain/report.html").exists()


def test_fabric(expected):
    names = run("Lightning Fabric")
    assert_equal(metrics_in("runs/fabric"), expected)
    assert [layer for _, layer in names["monitor"].history.previous.maps] == ["3"]
    assert Path("runs/fabric/report.html").exists()


@pytest.mark.slow
@pytest.mark.ddp
def test_fabric_on_two_processes(expected):
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-m", "helpers.fabric_run"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    assert_equal(metrics_in("runs/fabric"), expected)
    ranks = [json.loads(Path(f"rank{rank}.json").read_text()) for rank in range(2)]
    assert ranks[0] == ranks[1]
    assert ranks[0]["wrapper"] == "DistributedDataParallel"
    assert ranks[0]["layers"] == ["3"]


def test_hugging_face_trainer(expected, monkeypatch):
    transformers = pytest.importorskip("transformers")

    class Trainer(hf_training.InOrder):
        """Makes the steps of the Lightning training."""

        def create_optimizer(self, *_):
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
            return self.optimizer

    monkeypatch.setattr(transformers, "Trainer", Trainer)
    args = hf_training.arguments("runs/hf", num_train_epochs=EPOCHS, lr_scheduler_type="constant")
    names = {"args": args, "train_data": hf_training.Samples(), "val_data": hf_training.Samples()}
    run("Hugging Face Trainer", model=hf_training.Classifier(), **names)
    assert_equal(metrics_in("runs/hf"), expected)
    assert Path("runs/hf/report.html").exists()


def test_ignite(expected):
    pytest.importorskip("ignite")
    run("PyTorch Ignite")
    assert_equal(metrics_in("runs/ignite"), expected)
