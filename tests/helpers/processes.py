"""Run Python in a process of its own."""

import os
import subprocess
import sys


def run_python(*arguments, timeout=120):
    """Run `python` with arguments and return the process that ended; fail where it failed."""
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done
