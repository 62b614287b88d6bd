"""What documentation says between its marks is what the committed results say."""

import importlib
import json
from pathlib import Path

import pytest

from benchmarks.pages import filled, table

ROOT = Path(__file__).parents[2]
PAGES = ["benchmarks.speed.page", "benchmarks.shortcut.page"]


@pytest.mark.parametrize("name", PAGES)
def test_the_page_says_what_the_results_say(name):
    made = importlib.import_module(name)
    results = json.loads((ROOT / made.RESULTS).read_text(encoding="utf-8"))
    page = (ROOT / made.PAGE).read_text(encoding="utf-8")
    assert filled(page, made.sections(results)) == page
    assert "--quick" not in page


def test_what_lies_between_the_marks_is_replaced_and_nothing_else():
    page = "above\n<!-- one -->\nold\n<!-- /one -->\nbelow <!-- two -->"
    once = filled(page, {"one": table(["a", "b"], [["\\1", "2"]])})
    rows = "| a | b |\n| --- | --- |\n| \\1 | 2 |"
    assert once == f"above\n<!-- one -->\n\n{rows}\n\n<!-- /one -->\nbelow <!-- two -->"
    assert filled(once, {"one": "new"}) == filled(page, {"one": "new"})


def test_a_section_without_marks_is_an_error():
    with pytest.raises(ValueError, match="one pair of marks <!-- two -->, got 0"):
        filled("<!-- one --><!-- /one -->", {"two": ""})
