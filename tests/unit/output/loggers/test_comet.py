"""Comet, read back from the archive of an offline experiment."""

import io
import json
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from helpers import pictures
from helpers.pictures import UNUSUAL_NAMES, picture
from helpers.processes import run_python
from helpers.training import decoded
from lightning.pytorch.loggers import CometLogger
from PIL import Image

from lightning_cam.runtime.files import safe_tag

# The prefix as Lightning's own scalars have it.
MINE = f"mine{getattr(CometLogger, 'LOGGER_JOIN_CHAR', '_')}"

pytestmark = [
    pytest.mark.slow,  # trains in a process of its own
    pytest.mark.skipif(not find_spec("comet_ml"), reason="needs comet_ml"),
]


class Archive:
    """What offline experiments hold: `images` and `texts` with their data, and `others`."""

    def __init__(self, paths):
        self.images, self.texts, self.others, self.metrics = [], [], {}, []
        for path in paths:
            self.read(path)

    def read(self, path):
        with zipfile.ZipFile(path) as archive:
            for line in archive.read("messages.json").decode().splitlines():
                message = json.loads(line)
                kind, payload = message["type"], message["payload"]
                if kind == "file_upload":
                    entry = payload["additional_params"] | {"metadata": payload["metadata"]}
                    entry["data"] = archive.read(payload["file_path"])
                    is_image = payload["upload_type"] == "visualization"
                    (self.images if is_image else self.texts).append(entry)
                elif kind == "log_other":
                    self.others[payload["key"]] = payload["value"]
                elif kind == "metric_msg":
                    self.metrics.append(payload["metric"])

    def named(self, start):
        return [entry for entry in self.images if entry["figName"].startswith(start)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    script = Path(pictures.__file__).with_name("comet_run.py")
    run_python(script, folder, timeout=180)
    # Lightning 2.4 ends the experiment with the training, and then begins a second one.
    return Archive((folder / "comet").glob("*.zip"))


def test_images_of_a_training_are_at_the_steps_of_the_scalars(archive):
    steps = [m["step"] for m in archive.metrics if m["metricName"] == f"{MINE}cam/entropy"]
    assert len(steps) == 2
    assert [entry["step"] for entry in archive.named(f"{MINE}cam/timeline")] == steps
    overlays = archive.named(f"{MINE}cam/overlay/")
    assert len(overlays) == 4
    assert {entry["metadata"]["epoch"] for entry in overlays} == {0, 1}
    assert all("label" in entry["metadata"]["caption"] for entry in overlays)
    assert all(decoded(entry["data"]).ndim == 3 for entry in overlays)


def test_the_alert_is_a_text_and_one_of_the_experiments_values(archive):
    alert = archive.others[f"{MINE}cam/alerts"]
    assert "cam/entropy is" in alert
    (text,) = (entry for entry in archive.texts if entry["metadata"]["tag"] == f"{MINE}cam/alerts")
    assert text["data"].decode() == f"{MINE}cam/alerts: {alert}"


def test_an_image_keeps_its_colours(archive):
    (entry,) = archive.named(f"{MINE}alone/still")
    assert entry["step"] == 77
    difference = decoded(entry["data"]).astype(int) - picture().pixels
    assert np.abs(difference).mean() < 12  # noise in, JPEG out


def test_an_animation_is_a_gif_that_replaces_the_previous_one(archive):
    (entry,) = archive.named(f"{MINE}alone/moving")
    assert entry["overwrite"] is True
    assert Image.open(io.BytesIO(entry["data"])).n_frames == 3


def test_unusual_names_can_be_logged(archive):
    names = list(UNUSUAL_NAMES.values())
    found = archive.named(f"{MINE}unusual/")
    assert [entry["metadata"]["caption"] for entry in found] == names
    assert [entry["figName"] for entry in found] == [
        f"{MINE}unusual/{safe_tag(name)}" for name in names
    ]
    texts = [
        entry for entry in archive.texts if entry["metadata"]["tag"] == f"{MINE}unusual/alerts"
    ]
    assert [entry["data"].decode() for entry in texts] == [
        f"{MINE}unusual/alerts: {name}" for name in names
    ]


def test_a_text_that_is_a_path_does_not_upload_the_file(archive):
    (text,) = (entry for entry in archive.texts if entry["metadata"]["tag"] == f"{MINE}path/alerts")
    assert text["data"].decode().endswith("comet_run.py")
