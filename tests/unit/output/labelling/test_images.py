"""The images of a run that can be labelled."""

import json

import numpy as np
import pytest
import torch
from helpers.labelling import discs, recorded
from helpers.recorded_run import Run, probe_of

from lightning_cam import Probe
from lightning_cam.output.labelling import images_of


def test_images_with_names_labels_and_fingerprints(tmp_path):
    found = images_of(recorded(tmp_path, 4, class_names=["cat", "dog"]))
    assert [each.label for each in found] == ["cat", "dog", "cat", "dog"]
    assert [each.id for each in found] == ["00", "01", "02", "03"]
    assert tuple(each.fingerprint for each in found) == Probe(discs(4)).image_fingerprints
    wanted = discs(4).permute(0, 2, 3, 1).numpy() * 255
    off = [np.abs(each.pixels - image).mean() for each, image in zip(found, wanted, strict=True)]
    assert max(off) < 12  # JPEG of noise


def test_several_labels_and_none(tmp_path):
    Run(tmp_path / "a", probe_of(2, multi_label=True, class_names=["a", "b", "c"])).evaluate(0)
    assert [each.label for each in images_of(tmp_path / "a")] == ["a", "a, b"]
    Run(tmp_path / "b", probe_of(2, labels=False)).evaluate(0)
    assert [each.label for each in images_of(tmp_path / "b")] == ["", ""]


def test_images_of_several_probes_are_shown_once(tmp_path):
    both = probe_of(4)
    Run(tmp_path, both, tag="cam/a").evaluate(0)
    few = Probe(torch.cat([both.images[2:], 1 - both.images[:1]]), [0, 1, 2])
    Run(tmp_path, few, tag="cam/b").evaluate(0)
    assert len(images_of(tmp_path)) == 5


def test_runs_that_cannot_be_labelled(tmp_path):
    with pytest.raises(ValueError, match="expected the folder of a run"):
        images_of(tmp_path)
    Run(tmp_path / "a", probe_of(2), pictures=0).evaluate(0)
    with pytest.raises(ValueError, match=r"expected recorded images .* num_pictures was 0"):
        images_of(tmp_path / "a")
    run = Run(tmp_path / "b", probe_of(2))
    header = json.loads(run.recorder.path.read_text())
    del header["image_fingerprints"]  # as before there were any
    run.recorder.path.write_text(json.dumps(header) + "\n")
    with pytest.raises(ValueError, match=r"got one of an older lightning_cam .* Train for one"):
        images_of(tmp_path / "b")


def test_a_damaged_image_is_an_error_that_names_the_record(tmp_path):
    run = Run(tmp_path, probe_of(2))
    header = json.loads(run.recorder.path.read_text())
    header["images"][1] = "AAAA"
    run.recorder.path.write_text(json.dumps(header) + "\n")
    with pytest.raises(ValueError, match=r"sound record .*cam\.jsonl: expected an encoded image"):
        images_of(tmp_path)
