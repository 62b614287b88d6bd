"""Everything that needs a GPU, in one command of at most nine minutes: tests, then measurements.

    python -m benchmarks.gpu [--minutes 9] [--out benchmarks/results] [--device cpu --quick]

Runs the tests marked `gpu`, the bit-for-bit comparison of trainings on the device, and the parts of
`benchmarks.speed`, the most important first; a part that does not fit into the time is named as
left out. Writes `gpu-<device>.json` and the tables beside it. `--device cpu --quick` tries the
command where there is no GPU; its numbers mean nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import environment
from benchmarks.pages import parser_of, read_json, write_json
from benchmarks.speed.tables import TABLES
from lightning_cam.runtime.files import safe_name

_ROOT = Path(__file__).parents[1]
# The most important first.
_PARTS = ("stall", "maps", "variants", "training", "peers", "growth", "small")
_LEAST = 20.0  # seconds that a part needs to be worth its start


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all of it; return 1 where a test failed or trainings differed."""
    parser = parser_of("benchmarks.gpu", __doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything together")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--part", nargs="+", choices=_PARTS, default=list(_PARTS))
    args = parser.parse_args(arguments)
    end = time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory() as folder:
        results = dict(_steps(Path(folder), args, end))
    known = environment(args.device)
    name = safe_name(f"gpu-{known['device']}")
    write_json(args.out / f"{name}.json", {"environment": known, **results})
    (args.out / f"{name}.md").write_text(_page(known["device"], results), encoding="utf-8")
    return int(any(each.get("failed") for each in results.values()))


def _steps(folder: Path, args: Any, end: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the result of each step."""
    quick = ["--quick"] * args.quick
    junit, compared = folder / "tests.xml", folder / "interference.json"
    report = ["-o", "junit_family=xunit1", f"--junitxml={junit}"]
    pytest = ["pytest", "-q", "-m", "gpu", "tests/robustness/test_accelerator.py", *report]
    yield "tests", _run(pytest, end) | _tests_in(junit)
    few = ["--small", "--only", "fp32"] if args.quick else []
    command = ["robustness.non_interference", "--device", args.device, *few]
    yield "interference", _run([*command, "--json", str(compared)], end) | _read(compared)
    for part in args.part:
        file = folder / f"{part}.json"
        options = ["--device", args.device, "--part", part, *quick, "--json", str(file)]
        yield part, _run(["benchmarks.speed", *options], end) | _read(file).get(part, {})


def _run(command: Sequence[str], end: float) -> dict[str, Any]:
    """Run a module as a command for as long as there is time; return how it went."""
    left = end - time.monotonic()
    if left < _LEAST:
        return {"left_out": "no time was left"}
    path = os.pathsep.join([str(_ROOT), str(_ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    known = {**os.environ, "PYTHONPATH": path, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    print(f"--- {' '.join(command)}", flush=True)
    try:
        done = subprocess.run(  # noqa: S603 - our own modules
            [sys.executable, "-m", *command], cwd=_ROOT, env=known, timeout=left, check=False
        )
    except subprocess.TimeoutExpired:
        return {"left_out": f"not finished within the {left:.0f} s that were left"}
    return {"failed": f"exit status {done.returncode}"} if done.returncode else {}


def _tests_in(file: Path) -> dict[str, Any]:
    """Return how many tests passed, and what they recorded."""
    if not file.exists():
        return {}
    suite = next(ET.parse(file).iter("testsuite"))  # noqa: S314 - written by our own tests
    counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    found = {
        each.get("name"): json.loads(each.get("value", "{}")) for each in suite.iter("property")
    }
    return {**counts, **found}


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(file) if file.exists() else {}
    return found


def _page(device: str, results: dict[str, dict[str, Any]]) -> str:
    parts = [f"# {device}"]
    for name, result in results.items():
        parts += [
            f"## {name}",
            *(f"{k}: {result[k]}" for k in ("failed", "left_out") if k in result),
        ]
        if name in TABLES and "rows" in result:
            parts.append(TABLES[name](result["rows"]))
        if name == "tests" and "tests" in result:
            parts.append(", ".join(f"{key}: {value}" for key, value in result.items()))
        for each in result.get("configurations", ()):
            verdict = each["skipped"] or each["problem"] or list(each["differing"]) or "identical"
            parts.append(f"- {each['name']}: {verdict}")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
