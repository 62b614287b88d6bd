"""docs/your-data.md has a row for each test of this folder, and each row a test."""

import ast
import re
from pathlib import Path

_PAGE = Path(__file__).parents[3] / "docs" / "your-data.md"


def rows():
    lines = _PAGE.read_text("utf-8").splitlines()
    return [line.split(" | ") for line in lines if line.startswith("| ") and "`test_" in line]


def names_of_tests():
    here = Path(__file__)
    paths = [path for path in here.parent.glob("test_*.py") if path != here]
    bodies = [ast.parse(path.read_text("utf-8")).body for path in paths]
    functions = [each for body in bodies for each in body if isinstance(each, ast.FunctionDef)]
    return [each.name for each in functions if each.name.startswith("test_")]


def test_every_row_has_a_test_and_every_test_a_row():
    named = [re.findall(r"`(test_\w+)`", row[-1]) for row in rows()]
    assert all(len(row) == 3 for row in rows())
    assert sorted(name for names in named for name in names) == sorted(names_of_tests())
    assert len(named) >= 45
