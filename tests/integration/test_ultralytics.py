"""The recipes of docs/loops.md for Ultralytics, where it is installed.

It is no test dependency: it installs another OpenCV in place of this package's. In an environment
of its own: `pip install --no-deps ultralytics ultralytics-thop ultralytics-platform polars`.
"""

import os

import cv2
import numpy as np
import pytest
import torch
from helpers.loops import metrics_in, run
from helpers.training import Squares

os.environ.setdefault("YOLO_OFFLINE", "true")  # read when it is imported
pytest.importorskip("ultralytics")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of the package, about itself and others
]
SIDE = 64


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def names():
    data = Squares(8, seed=5, side=SIDE)
    boxes = [torch.tensor([[4.0, 4, 28, 28]])] * 8
    return {"images": data.images, "targets": data.targets, "masks": data.masks, "boxes": boxes}


def folder_of_images(path):
    """Write a data set of images as Ultralytics reads it."""
    for split, seed in (("train", 0), ("val", 1)):
        data = Squares(8, seed, side=SIDE)
        for n, (image, label) in enumerate(zip(data.images, data.targets, strict=True)):
            pixels = image.mul(255).byte().permute(1, 2, 0).numpy()
            file = path / split / f"class{label}" / f"{n}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), np.ascontiguousarray(pixels[:, :, ::-1]))
    return str(path)


def test_a_classification_model_is_monitored_while_it_trains(tmp_path, monkeypatch):
    from ultralytics import YOLO

    train = YOLO.train
    quiet = {"device": "cpu", "workers": 0, "plots": False, "verbose": False, "batch": 4, "nbs": 4}
    quiet["project"] = str(tmp_path / "yolo")
    monkeypatch.setattr(YOLO, "train", lambda self, **options: train(self, **options, **quiet))
    run("Ultralytics", 0, folder=folder_of_images(tmp_path / "data"), epochs=2, **names())
    metrics = metrics_in("runs/yolo-cls")
    assert len(metrics) == 2
    assert metrics[0]["enrichment"] > 0
    assert metrics[0]["entropy"] != metrics[1]["entropy"]
    assert (tmp_path / "runs/yolo-cls/report.html").exists()


def test_a_detection_model_is_explained(tmp_path):
    found = run("Ultralytics", 1, **names())
    assert {layer for _, layer in found["maps"]} == {"model.15", "model.18", "model.21"}
    assert [tuple(maps.shape) for maps in found["maps"].values()] == [(8, s, s) for s in (8, 4, 2)]
    assert all(float(maps.amax()) > 0 for maps in found["maps"].values())
    assert found["evaluation"].metrics["enrichment"] > 0
