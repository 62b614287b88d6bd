"""Help, version, exit codes of processes, and the commands `layers` and `report`."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import cli_nets
from helpers.nets import ConvNet

from lightning_cam import __version__

NETS = "helpers.cli_nets"
TESTS = Path(__file__).parents[2]


def process(*arguments, cwd, code=None):
    """Run the command line, or code, in another process that can import the helpers."""
    start = (
        [sys.executable, "-m", "lightning_cam"] if code is None else [sys.executable, "-c", code]
    )
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(  # noqa: S603 - our own code
        [*start, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
    )


@pytest.mark.parametrize(
    "command_name", ["", "explain", "replay", "report", "export", "label", "layers", "serve"]
)
def test_help_has_examples(command, command_name):
    code, out, _ = command(*[command_name] * bool(command_name), "--help")
    assert code == 0
    if command_name:
        assert "examples:\n  lightning-cam" in out
        words = ("Draw", "training", "HTML", "FiftyOne", "layers", "page")
        assert any(word in out for word in words)
    else:
        assert "Exit codes: 0 done" in " ".join(out.split())
        assert all(name in out for name in ("explain", "replay", "report", "export", "label"))


def test_help_imports_nothing_heavy(tmp_path):
    code = (
        "import sys\n"
        "from lightning_cam.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit:\n"
        "    print('loaded', *[m for m in ('torch', 'numpy', 'PIL', 'tqdm') if m in sys.modules])"
    )
    done = process("explain", "--help", cwd=tmp_path, code=code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded"


def test_the_version(command):
    assert command("--version")[:2] == (0, f"lightning-cam {__version__}\n")


@pytest.mark.slow
def test_a_process_imports_from_the_working_directory(photo, here):
    (here / "own.py").write_text("from helpers.nets import ConvNet as make\n")
    torch.save(ConvNet().state_dict(), "weights.pt")
    done = process(
        "explain", "own:make", photo, "--size", 16, "--checkpoint", "weights.pt", cwd=here
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("-> cams/cat.cam.png\n")
    assert (here / "cams" / "cat.cam.png").stat().st_size > 1000
    assert "%|" not in done.stderr  # no bar where there is no terminal


def test_wrong_input_ends_a_process_with_2_and_one_line(here):
    done = process("explain", f"{NETS}:net", "gone.png", cwd=here)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "lightning-cam: expected an image or a folder of images, got gone.png: no such file\n"
    )
    assert list(here.iterdir()) == []


@pytest.mark.slow
def test_a_bug_ends_a_process_with_its_traceback(photo, here):
    (here / "own.py").write_text("def broken(): raise RuntimeError('a bug in a user\\'s code')\n")
    done = process("explain", "own:broken", photo, cwd=here)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("RuntimeError: a bug in a user's code\n")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_ctrl_c_ends_with_130(photo, here):
    (here / "slow.py").write_text(
        "import pathlib, signal, time\n"
        "def make():\n"
        # Background jobs of a shell, and what they start, ignore SIGINT.
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    pathlib.Path('started').touch()\n"
        "    time.sleep(60)\n"
    )
    child = subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-m", "lightning_cam", "explain", "slow:make", photo],
        cwd=here,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (here / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=60)
    assert (child.returncode, stderr) == (130, "lightning-cam: interrupted\n")
    assert not (here / "cams").exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a shell of Unix")
def test_a_closed_pipe_is_no_error(here):
    command = f"{sys.executable} -m lightning_cam layers resnet18 --size 64 --all | head -1"
    done = subprocess.run(  # noqa: S602 - our own command
        command, check=False, shell=True, capture_output=True, text=True, timeout=120, cwd=here
    )
    assert "conv1" in done.stdout
    assert done.stderr == ""


def test_layers_of_a_model(command):
    code, out, _ = command("layers", f"{NETS}:net", "--size", "16x24")
    assert code == 0
    rows = {line.split()[-3]: line for line in out.splitlines()}
    assert rows["4"].startswith("auto -> ")
    assert rows["4"].split()[-1] == "12×8×12"
    assert not rows["2"].startswith("auto")


def test_layers_takes_the_size_and_the_channels_that_the_model_expects(command):
    assert "6×112×112" in command("layers", f"{NETS}:grey_net")[1]
    code, out, _ = command("layers", "timm:mobilenetv3_small_050")
    assert code == 0
    assert "×112×112" in out


def test_report_of_one_run_and_of_two(here, command):
    (here / "saved").mkdir()
    for number in range(2):
        torch.save(cli_nets.net().state_dict(), here / "saved" / f"{number}.pt")
    for out in ("one", "two"):
        code, _, err = command(
            "replay", f"{NETS}:net", "saved", "--probe", f"{NETS}:probe", "--out", out,
            "--no-report",
        )  # fmt: skip
        assert code == 0, err
    assert command("report", "one")[:2] == (0, f"{Path('one/report.html')}\n")
    assert command("report", "one", "two", "--out", "both.html")[:2] == (0, "both.html\n")
    page = Path("both.html").read_text(encoding="utf-8")
    assert "enrichment" in page
    assert len(page) > len(Path("one/report.html").read_text(encoding="utf-8"))
