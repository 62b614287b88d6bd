"""The installed package: the cost of importing it, missing dependencies, the wheel, docstrings."""

import doctest
import importlib
import importlib.util
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers.processes import run_python

import lightning_cam

_HOME = Path(lightning_cam.__file__).parent
_HEAVY = ("torchvision", "cv2", "PIL", "wandb", "matplotlib", "tensorboard", "torch")


def run(code, *arguments):
    """Run code in another process and return the words that it printed."""
    done = run_python("-c", code, *arguments)
    return done.stdout.split()


# --- the cost of an import ------------------------------------------------------------------------


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, lightning_cam; print(*[m for m in sys.argv[1:] if m in sys.modules])"
    assert run(code, *_HEAVY, "lightning", "numpy") == []


@pytest.mark.slow
def test_importing_the_callback_adds_no_logger_and_no_plotting():
    code = (
        "import sys, lightning.pytorch\n"
        "before = set(sys.modules)\n"
        "from lightning_cam import CAMCallback, Probe, compute_cams\n"
        "print(*[m for m in sys.argv[1:] if m in sys.modules and m not in before])"
    )
    assert run(code, "torchvision", "wandb", "matplotlib", "tensorboard", "sklearn") == []


# --- without Lightning, or with one of its two packages -------------------------------------------

_WITHOUT = "import sys\nfor name in sys.argv[1].split(','): sys.modules[name] = None\n"


@pytest.mark.slow
def test_everything_but_the_callback_needs_no_lightning(tmp_path):
    code = _WITHOUT + (
        "import torch\n"
        "from lightning_cam import METHODS, CAMMonitor, Probe, compute_cams\n"
        "from lightning_cam import cli, explain, interventions, metrics, output, probe, render\n"
        "from lightning_cam import runtime\n"
        "net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1),\n"
        "    torch.nn.Flatten(), torch.nn.Linear(4, 2))\n"
        "own = Probe(torch.rand(2, 3, 16, 16), [0, 1])\n"
        "result = compute_cams(net, own.images, own.targets, method=['gradcam', 'layercam'])\n"
        "print(*result['layercam', '0'].shape, 'gradcam' in METHODS)\n"
        "monitor = CAMMonitor(own, log_dir=sys.argv[2])\n"
        "monitor.evaluate(net)\n"
        "print(monitor.close())"
    )
    printed = run(code, "lightning,pytorch_lightning,lightning_utilities", str(tmp_path))
    assert printed == ["2", "14", "14", "True", str(tmp_path / "report.html")]


@pytest.mark.slow
def test_the_callback_without_lightning_says_what_to_install():
    code = _WITHOUT + (
        "try:\n    from lightning_cam import CAMCallback\n"
        "except ImportError as error:\n    print(error)"
    )
    printed = run(code, "lightning,pytorch_lightning")
    assert " ".join(printed[-3:]) == "pip install lightning"


_FIT = """
import logging, tempfile, torch, warnings
warnings.simplefilter("ignore")
pl = __import__(sys.argv[2], fromlist=["x"])
from lightning_cam import CAMCallback, Probe

class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(), torch.nn.Linear(4, 2))
    def forward(self, images):
        return self.net(images)
    def training_step(self, batch, index):
        return self.net(batch).square().mean()
    def validation_step(self, batch, index):
        self.log("loss", self.net(batch).square().mean())
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

data = torch.utils.data.DataLoader(torch.rand(4, 3, 16, 16), 2)
with tempfile.TemporaryDirectory() as folder:
    trainer = pl.Trainer(callbacks=[CAMCallback(strict=True)], max_epochs=1, accelerator="cpu",
        logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder)
    trainer.fit(Module(), data, data)
print("cam/mean_activation" in trainer.callback_metrics)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "absent"),
    [("pytorch_lightning", "lightning"), ("lightning.pytorch", "pytorch_lightning")],
)
def test_one_of_the_two_lightnings_is_enough_and_the_choice_is_announced(package, absent):
    done = run_python("-c", _WITHOUT + _FIT, absent, package)
    assert done.stdout.split() == ["True"]
    assert "monitors 4 images" in done.stderr


# --- what users get -------------------------------------------------------------------------------


def modules():
    names = [found.name for found in pkgutil.walk_packages([str(_HOME)], "lightning_cam.")]
    return ["lightning_cam", *(name for name in names if not name.endswith("__main__"))]


@pytest.mark.parametrize("name", modules())
def test_the_examples_in_the_docstrings_run(name):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(importlib.import_module(name), optionflags=flags)
    assert result.failed == 0


def test_there_are_examples_in_the_docstrings():
    finder = doctest.DocTestFinder()
    for name in ("compute_cams", "CAMCallback"):
        tests = finder.find(getattr(lightning_cam, name), name)
        assert any(test.examples for test in tests), name


def test_every_public_name_is_there_and_documented():
    for name in lightning_cam.__all__:
        assert getattr(lightning_cam, name).__doc__, name
        assert name in dir(lightning_cam)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = lightning_cam.Nothing


@pytest.mark.slow
def test_the_wheel_ships_the_types_and_nothing_else_than_the_package(tmp_path):
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling, the build backend, is not installed")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(tmp_path)]
    subprocess.run(command, check=True, cwd=_HOME.parent, timeout=120)  # noqa: S603 - our own
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "lightning_cam/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"lightning_cam"}
    sources = {f"lightning_cam/{p.relative_to(_HOME).as_posix()}" for p in _HOME.rglob("*.py")}
    assert sources <= set(names)
