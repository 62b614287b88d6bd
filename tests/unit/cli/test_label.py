"""`lightning-cam label`: starts, says where, ends at Ctrl-C; wrong input is one line."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from helpers.labelling import bounds, recorded


@pytest.mark.slow
def test_the_command_serves_until_it_is_interrupted(tmp_path):
    run = recorded(tmp_path / "run", 2)
    started = subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-m", "lightning_cam", "label", str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        address = started.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        shapes = {"shapes": [{"kind": "box", "points": [*bounds(0)]}]}
        request = urllib.request.Request(f"{address}images/0", json.dumps(shapes).encode())  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(address.replace(address.split("/")[3], "x"), timeout=30)  # noqa: S310
        started.send_signal(signal.SIGINT)
        _, said = started.communicate(timeout=30)
    finally:
        started.kill()
        started.communicate()
    assert started.returncode == 0
    assert said.splitlines()[0] == "lightning-cam: 0 of 2 images have a mask. Ctrl-C ends."
    assert (
        said.splitlines()[-1] == f"lightning-cam: {run / 'masks.json'}: 1 of 2 images have a mask"
    )
    assert len(json.loads((run / "masks.json").read_text())["masks"]) == 1


def test_wrong_input_is_one_line(command, tmp_path):
    run = recorded(tmp_path / "run", 2)
    for arguments, says in [
        ([tmp_path / "none"], "expected the folder of a run, got"),
        ([tmp_path], "expected the folder of a run with lightning_cam/*.jsonl"),
        ([run, "--port", "99999"], "expected --port from 0 to 65535, got 99999"),
        ([run, "--out", tmp_path], "expected --out as a file"),
    ]:
        code, out, said = command("label", *arguments)
        assert (code, out) == (2, "")
        assert len(said.splitlines()) == 1
        assert says in said
