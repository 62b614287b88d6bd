"""The tables in docs/ are those of the committed results."""

import importlib
from pathlib import Path

import pytest

from benchmarks import pages
from benchmarks.pages import BENCHMARKS, fill, measured_by, read_json, rewrite, table, write_json

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_page_shows_the_committed_results(name):
    module = importlib.import_module(BENCHMARKS[name])
    page = (ROOT / module.PAGE).read_text(encoding="utf-8")
    assert fill(page, module.sections(read_json(ROOT / module.RESULTS))) == page
    assert "--quick" not in page


def test_all_pages_are_written_by_default(monkeypatch):
    written = []
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(pages, "rewrite", lambda path, sections: written.append((path, *sections)))
    pages.main([])
    assert [path for path, *_ in written] == [
        importlib.import_module(module).PAGE for module in BENCHMARKS.values()
    ]
    assert written[0] == (
        "docs/cost.md",
        "maps",
        "peers",
        "stall",
        "training",
        "growth",
        "ranks",
        "small",
    )


def test_only_what_is_between_the_marks_is_replaced(tmp_path):
    page = "above\n<!-- one -->\nold\n<!-- /one -->\nbelow <!-- two -->"
    once = fill(page, {"one": table(["a", "b"], [["\\1", "2"]])})
    rows = "| a | b |\n| --- | --- |\n| \\1 | 2 |"
    assert once == f"above\n<!-- one -->\n\n{rows}\n\n<!-- /one -->\nbelow <!-- two -->"
    assert fill(once, {"one": "new"}) == fill(page, {"one": "new"})
    path = tmp_path / "page.md"
    path.write_text(page)
    rewrite(path, {"one": "new"})
    assert path.read_text() == fill(page, {"one": "new"})


def test_a_section_without_marks_is_an_error():
    with pytest.raises(ValueError, match="one pair of marks <!-- two -->, got 0"):
        fill("<!-- one --><!-- /one -->", {"two": ""})


def test_a_table_says_how_it_was_measured():
    known = {"device": "CPU", "python": "3.11", "torch": "2.6", "date": "2026-01-01", "timm": "1"}
    assert measured_by("make bench", known) == (
        "Measured by `make bench` on CPU; Python 3.11, torch 2.6; 2026-01-01."
    )


def test_results_are_written_where_asked(tmp_path):
    path = tmp_path / "folder" / "results.json"
    write_json(None, {})
    write_json(path, {"a": [1, None]})
    assert read_json(path) == {"a": [1, None]}
