"""Wrong input gives one line, exit code 2 and no file; a bug gives its traceback."""

import argparse
import os
import shutil
from pathlib import Path

import pytest
import torch
from helpers import cli_nets
from PIL import Image


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with the files that the commands below name."""
    here = tmp_path_factory.mktemp("inputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        _make(here)
    return here


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """Copy that folder and make it the working directory."""
    shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def inputs(here):
    """Return the files of the working directory, before the command."""
    return listing(here)


def _make(here):
    Image.new("RGB", (20, 20), "red").save("photo.png")
    (here / "note.txt").write_text("no image")
    (here / "fake.png").write_text("no image either")
    (here / "empty").mkdir()
    (here / "bad").mkdir()
    (here / "bad" / "fake.png").write_text("no image either")
    (here / "names.txt").write_text("ant\nbee\ncat\nbee\n")
    (here / "a.txt").write_text("a\nb\nc\n")
    (here / "three.txt").write_text("ant\nbee\ncat\n")
    (here / "latin.txt").write_bytes(b"\xe4\n")
    torch.save(cli_nets.net().state_dict(), "good.pt")
    torch.save(cli_nets.net(width=5).state_dict(), "wider.pt")
    torch.save({"other.weight": torch.ones(3)}, "other.pt")
    torch.save({"epoch": 3}, "nothing.pt")
    torch.save([1, 2], "list.pt")
    torch.save({"state_dict": cli_nets.net().state_dict(), "args": argparse.Namespace(a=1)}, "u.pt")
    torch.save({"images": torch.rand(2, 3, 16, 16), "target": [0, 1]}, "probe.pt")
    torch.save({"images": torch.rand(2, 3, 16, 16), "targets": [0, 9]}, "ninth.pt")
    torch.save({"targets": [0, 1]}, "blind.pt")
    for name, weights in (("runs", cli_nets.net()), ("wrong", cli_nets.net(width=5))):
        (here / name).mkdir()
        torch.save(weights.state_dict(), f"{name}/step=1.pt")
    torch.save(cli_nets.net().state_dict(), "wrong/step=0.pt")
    (here / "mixed" / "a").mkdir(parents=True)
    Image.new("RGB", (20, 20)).save("mixed/a/1.png")
    Image.new("RGB", (20, 20)).save("mixed/2.png")
    (here / "by class" / "a").mkdir(parents=True)
    Image.new("RGB", (20, 20)).save("by class/a/1.png")


def listing(folder):
    return sorted((str(p.relative_to(folder)), p.stat().st_mtime_ns) for p in folder.rglob("*"))


NETS = "helpers.cli_nets"
NET = ["explain", f"{NETS}:net"]
PHOTO = [*NET, "photo.png", "--size", "16"]
REPLAY = ["replay", f"{NETS}:net", "runs", "--probe", f"{NETS}:probe"]

CASES = {
    "no such image": ([*NET, "gone.png"], "got gone.png: no such file"),
    "a text as image": ([*NET, "note.txt"], "expected an image, got note.txt"),
    "a text called png": ([*NET, "photo.png", "fake.png"], "expected an image, got fake.png"),
    "a bad image in a folder": ([*NET, "bad"], "expected an image, got bad/fake.png"),
    "an empty folder": ([*NET, "empty"], "got a folder without any"),
    "no such checkpoint": ([*PHOTO, "--checkpoint", "gone.pt"], "got gone.pt: no such file"),
    "an image as checkpoint": ([*PHOTO, "--checkpoint", "photo.png"], "torch cannot read"),
    "a text as checkpoint": ([*PHOTO, "--checkpoint", "note.txt"], "torch cannot read"),
    "weights of another": ([*PHOTO, "--checkpoint", "other.pt"], "got other.weight"),
    "weights of another shape": (
        [*PHOTO, "--checkpoint", "wider.pt"],
        "other shapes (0.weight: (5, 3, 3, 3) in the checkpoint, (6, 3, 3, 3) in the model",
    ),
    "no weights": ([*PHOTO, "--checkpoint", "nothing.pt"], "got one without tensors"),
    "a list": ([*PHOTO, "--checkpoint", "list.pt"], "got list.pt, a list"),
    "objects": ([*PHOTO, "--checkpoint", "u.pt"], "(argparse.Namespace), which could run code"),
    "unknown method": ([*PHOTO, "--method", "gradcan"], "Did you mean 'gradcam'"),
    "unknown layer": ([*PHOTO, "--layer", "8.conv"], "unknown layer '8.conv'"),
    "layer too far back": ([*PHOTO, "--layer=-99"], "got -99"),
    "unknown colours": ([*PHOTO, "--colormap", "turbot"], "Did you mean 'turbo'"),
    "class out of range": ([*PHOTO, "--class", "4"], "class indices below 4"),
    "class without names": ([*PHOTO, "--class", "bee"], "no names are known"),
    "class by near miss": (
        [*PHOTO, "--classes", "names.txt", "--class", "catt"],
        "unknown class 'catt'. Did you mean 'cat'",
    ),
    "class of two": ([*PHOTO, "--classes", "names.txt", "--class", "bee"], "classes [1, 3]"),
    "names of three": ([*PHOTO, "--classes", "three.txt"], "expected 4 names"),
    "no names": ([*PHOTO, "--classes", "gone.txt"], "got gone.txt"),
    "names in latin-1": ([*PHOTO, "--classes", "latin.txt"], "UTF-8"),
    "out is a file": ([*PHOTO, "--out", "note.txt"], "note.txt is a file"),
    "out under a file": ([*PHOTO, "--out", "note.txt/sub"], "note.txt is a file"),
    "unknown device": ([*PHOTO, "--device", "tpux"], "expected a device such as cpu"),
    "wrong mean": ([*PHOTO, "--mean", "0.5,0.5"], "--mean with 1 or 3 numbers"),
    "a std of zero": ([*PHOTO, "--std", "0"], "--std above 0"),
    "images too small": (["explain", "squeezenet1_1", "photo.png", "--size", "8"], "does not run"),
    "channels": ([*PHOTO, "--channels", "1"], "does not run on images of shape (1, 16, 16)"),
    "unknown model": (["explain", "resnet81", "photo.png"], "Did you mean 'resnet18'"),
    "unknown timm model": (["explain", "timm:resnet81", "photo.png"], "unknown timm model"),
    "no module": (["explain", "cli_netz:net", "photo.png"], "No module named 'cli_netz'"),
    "no attribute": (["explain", f"{NETS}:nett", "photo.png"], "Did you mean 'net'"),
    "half a path": (
        ["explain", f"{NETS}:", "photo.png"],
        "expected package.module:attribute",
    ),
    "a factory with needs": (
        ["explain", f"{NETS}:Lit", "photo.png"],
        "needs arguments (width)",
    ),
    "no model": (["explain", f"{NETS}:not_a_model", "photo.png"], "got a str"),
    "pretrained of one's own": ([*PHOTO, "--pretrained"], "not for a model of one's own"),
    "no folder of checkpoints": (["replay", *REPLAY[1:2], "gone", *REPLAY[3:]], "got gone"),
    "no checkpoints": (["replay", *REPLAY[1:2], "empty", *REPLAY[3:]], "in empty, got none"),
    "a wrong one among them": (["replay", *REPLAY[1:2], "wrong", *REPLAY[3:]], "wrong/step=1.pt"),
    "out not empty": ([*REPLAY, "--out", "bad"], "bad, which is not empty"),
    "no probe": ([*REPLAY[:4], "gone"], "--probe as a folder, a .pt file or package"),
    "probe with a typo": ([*REPLAY[:4], "probe.pt"], "Did you mean 'targets'"),
    "probe without images": ([*REPLAY[:4], "blind.pt"], "expected a dict with 'images'"),
    "probe of another label": ([*REPLAY[:4], "ninth.pt"], "class indices below 4"),
    "probe of nothing": ([*REPLAY[:4], "empty"], "got a folder without any"),
    "probe of no kind": ([*REPLAY[:4], f"{NETS}:CLASSES"], "got a int"),
    "probe half in folders": ([*REPLAY[:4], "mixed"], "got 2.png beside a/"),
    "probe without its mask": (
        [*REPLAY[:4], "by class", "--masks", "empty", "--size", "16"],
        "expected a mask of a/1.png",
    ),
    "masks without a folder": ([*REPLAY, "--masks", "empty"], "a folder of images as --probe"),
    "probe of some classes": (
        [*REPLAY[:4], "by class", "--size", "16"],
        "expected 4 subfolders in by class, one for each of the model's classes, got 1",
    ),
    "probe of three names": (
        [*REPLAY[:4], "by class", "--size", "16", "--classes", "a.txt"],
        "expected 4 names in a.txt",
    ),
    "probe of another class": (
        [*REPLAY[:4], "by class", "--classes", "names.txt"],
        "unknown class in by class 'a'",
    ),
    "unknown target": ([*REPLAY, "--target", "labell"], "expected target 'label'"),
    "tag of nothing": ([*REPLAY, "--tag", "/"], "a tag with letters"),
    "unknown layer in replay": ([*REPLAY, "--layer", "layer9"], "unknown layer 'layer9'"),
    "no run": (["report", "gone"], "expected the folder of a run, got gone: no such folder"),
    "a run without a record": (["report", "empty"], "lightning_cam/*.jsonl"),
    "three runs, none with a record": (["report", "empty", "bad", "runs"], "lightning_cam/*.jsonl"),
    "unknown model's layers": (["layers", "resnet81"], "Did you mean 'resnet18'"),
    # argparse's own
    "a size of words": ([*NET, "photo.png", "--size", "big"], "pixels such as 224"),
    "alpha above 1": ([*PHOTO, "--alpha", "2"], "between 0 and 1"),
    "an unknown option": ([*PHOTO, "--metod", "gradcam"], "unrecognized arguments: --metod"),
    "an unknown command": (["explan"], "invalid choice: 'explan'"),
    "no command": ([], "COMMAND"),
    "no image": (NET, "IMAGE"),
}


@pytest.mark.parametrize("case", CASES)
def test_wrong_input_gives_one_line_and_writes_nothing(inputs, here, command, case):
    words, message = CASES[case]
    code, out, err = command(*words)
    assert code == 2, (out, err)
    *notes, last = err.strip().splitlines()
    assert message in last
    assert last.startswith("lightning-cam")
    assert all(line.startswith("lightning-cam: ") for line in notes)  # about steps that succeeded
    assert "Traceback" not in err
    assert out == ""
    assert listing(here) == inputs


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_that_cannot_be_written(inputs, here, command):
    (here / "empty").chmod(0o500)
    code, _, err = command(*PHOTO, "--out", "empty/cams")
    assert code == 2
    assert "where files can be written" in err


def test_unsafe_load_reads_python_objects(inputs, command):
    code, _, err = command(*PHOTO, "--checkpoint", "u.pt", "--unsafe-load")
    assert code == 0, err


def test_a_full_disk_gives_one_line_too(inputs, here, command, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    code, _, err = command(*PHOTO)
    assert code == 2
    assert "No space left on device: cams/.photo.cam.png." in err.splitlines()[-1]
    assert not list((here / "cams").iterdir())


@pytest.mark.parametrize(("maker", "error"), [("broken", RuntimeError), ("complains", ValueError)])
def test_errors_in_the_users_code_keep_their_traceback(inputs, command, maker, error):
    with pytest.raises(error, match="user's"):
        command("explain", f"{NETS}:{maker}", "photo.png")


def test_traceback_shows_where_wrong_input_was_found(inputs, command):
    with pytest.raises(ValueError, match="unknown method"):
        command(*PHOTO, "--method", "gradcan", "--traceback")


def test_an_interrupted_command_ends_with_130(inputs, here, command):
    code, _, err = command("explain", f"{NETS}:interrupted", "photo.png")
    assert (code, err) == (130, "lightning-cam: interrupted\n")
    assert listing(here) == inputs


def test_a_replay_that_is_interrupted_writes_nothing(inputs, here, command, monkeypatch):
    from lightning_cam.output.writer import OutputWriter

    calls = []

    def interrupted(self, *_, **__):
        calls.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(OutputWriter, "write", interrupted)
    assert command(*REPLAY)[0] == 130
    assert calls
    assert listing(here) == inputs
