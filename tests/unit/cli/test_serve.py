"""`serve` as a command: the address that it prints, what it warns of, wrong input."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from helpers.recorded_run import Run, probe_of

from lightning_cam.cli import main


@pytest.mark.slow
def test_it_serves_until_it_is_interrupted(tmp_path):
    Run(tmp_path / "run", probe_of(2)).evaluate(0)
    command = [sys.executable, "-m", "lightning_cam", "serve", str(tmp_path), "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:  # noqa: S603
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/", address)
        with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310
            assert b"1 evaluation" in answer.read()
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert errors == "lightning-cam: 1 run; Ctrl+C ends\n"


def test_wrong_input_is_one_line(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, expected in (
            ([str(tmp_path / "none")], "no such folder"),
            ([str(tmp_path), "--port", port], f"got 127.0.0.1 and {port}"),
            ([str(tmp_path), "--port", "70000"], "expected --port from 0 to 65535, got 70000"),
        ):
            assert main(["serve", *arguments]) == 2
            assert expected in capsys.readouterr().err


def test_a_missing_server_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", str(tmp_path)]) == 2
    assert "pip install 'lightning-cam[serve]'" in capsys.readouterr().err
