"""The Python code in README.md runs as it is written, on data without masks."""

import re
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from helpers.training import QUIET, Module, Squares, convnet, loader
from PIL import Image
from torch.nn import functional as F
from torchvision.transforms import ToTensor

import lightning_cam

pytestmark = [
    *QUIET,
    pytest.mark.filterwarnings("ignore:.max_epochs. was not set"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:CAMCallback. cam/"),  # alerts, of barely trained networks
]
README = Path(__file__).parents[2] / "README.md"


def snippets():
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


class TwoEpochs(Module):
    """Ends the training of a trainer without `max_epochs`."""

    def on_train_epoch_end(self):
        self.trainer.should_stop = self.current_epoch == 1


def items(count, seed):
    data = Squares(count, seed)
    return list(zip(data.images, data.targets, strict=True))


def names_that_the_snippets_assume():
    """Return the user's own objects: a classification of images, no masks."""
    data = Squares(8, seed=3)

    def train_one_epoch(model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        F.cross_entropy(model(data.images), torch.tensor(data.targets)).backward()
        optimizer.step()

    return {
        "module": TwoEpochs(),
        "train_loader": loader(items(16, 0)),
        "val_loader": loader(items(8, 1)),
        "images": data.images,
        "targets": data.targets,
        "masks": None,
        "names": ["up left", "up right", "down left", "down right"],
        "mean": [0.3, 0.3, 0.3],
        "std": 0.3,
        "epochs": 2,
        "model": convnet(),
        "weights": ToTensor(),
        "train_one_epoch": train_one_epoch,
    }


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Keep the callbacks that the snippets make, in a folder with the photograph that they read."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (24, 24), "gray").save("cat.jpg")
    monkeypatch.delenv("DISPLAY", raising=False)
    found = []

    class CAMCallback(lightning_cam.CAMCallback):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            found.append(self)

    monkeypatch.setattr(lightning_cam, "CAMCallback", CAMCallback)
    return found


@pytest.mark.usefixtures("made")
def test_the_snippets_run_one_after_another(tmp_path, capsys):
    namespace = names_that_the_snippets_assume()
    assert len(snippets()) >= 5
    for code in snippets():
        exec(compile(code, str(README), "exec"), namespace)  # noqa: S102 - our own code
    assert namespace["trainer"].callback_metrics["cam/entropy"].isfinite()
    assert (tmp_path / "runs/1/report.html").exists()
    assert "layercam" in capsys.readouterr().out


def test_every_callback_in_the_snippets_can_be_trained_with(made):
    namespace = names_that_the_snippets_assume()
    for code in snippets():
        exec(compile(code, str(README), "exec"), namespace)  # noqa: S102 - our own code
    others = [each for each in made if each not in namespace["trainer"].callbacks]
    assert len(others) >= 2
    for callback in others:
        trainer = pl.Trainer(callbacks=[callback], max_epochs=1, accelerator="cpu")
        trainer.fit(Module(), namespace["train_loader"], namespace["val_loader"])
        assert [name for name in trainer.callback_metrics if name.startswith("cam/")]
