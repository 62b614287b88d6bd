"""Write results as JSON, and the tables of the documentation from them.

    python -m benchmarks.pages [NAME ...]

Rewrites what is between the marks `<!-- name -->` and `<!-- /name -->` of the pages in docs/, from
the committed results. A benchmark with a page has `RESULTS`, `PAGE` and `sections(results)`; with a
figure also `draw(results)`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BENCHMARKS = {
    "speed": "benchmarks.speed.tables",
    "alerts": "benchmarks.alerts.tables",
    "randomization": "benchmarks.randomization",
    "methods_cost": "benchmarks.methods_cost",
}
_VERSIONS = ("torch", "torchvision", "lightning")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def measured_by(command: str, environment: Mapping[str, str]) -> str:
    """Return the sentence that says how a table was measured."""
    versions = ", ".join(f"{key} {environment[key]}" for key in _VERSIONS if key in environment)
    machine = f"{environment['device']}; Python {environment['python']}, {versions}"
    return f"Measured by `{command}` on {machine}; {environment['date']}."


def fill(page: str, sections: Mapping[str, str]) -> str:
    """Return a page with each section between its marks.

    Raises:
        ValueError: the page has no marks for a section, or several.
    """
    for name, text in sections.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        page, count = pattern.subn(lambda found, t=text: f"{found[1]}\n{t}\n\n{found[2]}", page)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"expected one pair of marks <!-- {name} -->, got {count}")
    return page


def rewrite(path: str | Path, sections: Mapping[str, str]) -> None:
    """Write sections into a page: see `fill`."""
    page = Path(path)
    page.write_text(fill(page.read_text(encoding="utf-8"), sections), encoding="utf-8")
    print(f"wrote {page}")


def write_json(path: str | Path | None, content: Mapping[str, Any]) -> None:
    """Write results where `--json` says, if it was given."""
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        print(f"wrote {path}")


def read_json(path: str | Path) -> Any:
    """Return results that `write_json` wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def parser_of(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", metavar="FILE", help="write the results there")
    parser.add_argument("--quick", action="store_true", help="try the command; measures nothing")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(BENCHMARKS)}; all by default")
    names = parser.parse_args(arguments).name or list(BENCHMARKS)
    for name in names:
        module = importlib.import_module(BENCHMARKS[name])
        results = read_json(module.RESULTS)
        rewrite(module.PAGE, module.sections(results))
        if hasattr(module, "draw"):
            module.draw(results)


if __name__ == "__main__":
    main()
