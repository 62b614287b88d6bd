"""From results to documentation: what lies between a page's marks is written by a command."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def filled(page: str, sections: Mapping[str, str]) -> str:
    """Return a page with each section between its marks `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ValueError: a section that the page has no marks for.
    """
    for name, words in sections.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        page, count = pattern.subn(lambda found, w=words: f"{found[1]}\n{w}\n\n{found[2]}", page)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"expected one pair of marks <!-- {name} -->, got {count}")
    return page


def rewrite(path: str, sections: Mapping[str, str]) -> None:
    """Write the sections into a page: see `filled`."""
    page = Path(path)
    page.write_text(filled(page.read_text(encoding="utf-8"), sections), encoding="utf-8")
    print(f"wrote {path}")


def measured_by(command: str, known: Mapping[str, str]) -> str:
    """Return by what and on what a table was measured."""
    packages = ("torch", "torchvision", "lightning")
    versions = ", ".join(f"{key} {known[key]}" for key in packages if key in known)
    where = f"{known['device']}; Python {known['python']}, {versions}; {known['date']}"
    return f"Measured by `{command}` on {where}."
