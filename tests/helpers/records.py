"""What a run wrote, as JSON: the lines of its records and alerts, and their comparison."""

import json
import math
from pathlib import Path


def alerts_in(folder):
    """Return the lines of `alerts.jsonl` in a folder."""
    path = Path(folder) / "alerts.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def record_lines(folder):
    """Return the lines of each probe's record by file name, without what a replay cannot know."""
    found = {}
    for path in sorted((Path(folder) / "lightning_cam").glob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.name] = [{k: v for k, v in line.items() if k != "time"} for line in lines]
    return found


def assert_close(found, expected, at="record"):
    """Assert that two JSON values are equal, numbers up to 1e-6."""
    assert type(found) is type(expected), (at, found, expected)
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), at
        for key, value in expected.items():
            assert_close(found[key], value, f"{at}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), at
        for n, value in enumerate(expected):
            assert_close(found[n], value, f"{at}[{n}]")
    elif isinstance(expected, float):
        assert math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-6), (at, found, expected)
    else:
        assert found == expected, at
