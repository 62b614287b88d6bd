"""`write_report`: records in, one HTML file out; `render_page`: the page itself."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lightning_cam import __version__
from lightning_cam.metrics.registry import title_of
from lightning_cam.output.record import ProbeRecord, read_run
from lightning_cam.output.report.payload import payload
from lightning_cam.output.report.summary import RunSummary, when
from lightning_cam.output.report.wording import VERDICTS, number
from lightning_cam.runtime.files import safe_name, write_atomic

_SCRIPTS = (
    "core.js",
    "heat.js",
    "charts.js",
    "curves.js",
    "samples.js",
    "filters.js",
    "large.js",
    "tables.js",
    "links.js",
    "page.js",
)
_LIVE = ("live.js",)  # not in a file, which asks no server
PARTS = ("head", "alerts", "numbers", "about")  # of a run, macros of run.html.j2
REPORT = "report.html"
_MOST_NAMED = 3


def write_report(folders: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write what one run recorded, or several side by side, as one page; return where it lies.

    The file needs nothing beside it and asks nothing of any network. It is written whole or not at
    all.

    Args:
        folders: run folders, see `lightning_cam.output.record.read_run`.
        out: the file, or an existing folder for it. By default `report.html` in the run's folder;
            of several `report-with-<second>.html` in the first one's, and so on, so each keeps its
            own.

    Raises:
        ValueError: no folder, no record in one of them, or one of another version.
    """
    if isinstance(folders, (str, Path)):
        folders = [folders]
    if not folders:
        raise ValueError("expected the folder of at least one run, got none")
    paths = [Path(folder) for folder in folders]
    records = [read_run(path) for path in paths]
    names = run_names(paths)
    file = _file_name(names)
    place = paths[0] / file if out is None else Path(out)
    if out is not None and place.is_dir():
        place = place / file
    write_page(place, list(zip(names, records, strict=True)))
    return place


def write_page(file: Path, runs: Sequence[tuple[str, Sequence[ProbeRecord]]]) -> None:
    """Write the page of runs, each a name and its records, to a file.

    Raises:
        ValueError: what a record encodes is damaged; the message says which.
        OSError: the file cannot be written.
    """
    summaries = [RunSummary.of(str(i), i, *run) for i, run in enumerate(runs)]
    html, _ = render_page(summaries, payload(runs))
    # A name from a file system may hold half a character, which no file can.
    write_atomic(file, html.encode("utf-8", "replace"))


def _file_name(names: Sequence[str]) -> str:
    if len(names) == 1:
        return REPORT
    more = f"-and-{len(names) - 2}-more" if len(names) > 2 else ""  # noqa: PLR2004
    return f"report-with-{safe_name(names[1])}{more}.html"


def run_names(paths: Sequence[Path]) -> list[str]:
    """Return what to call the runs: the end of each path, as much of it as tells them apart."""
    parts = [path.resolve().parts for path in paths]
    different = list(dict.fromkeys(parts))  # a run may be shown twice
    if len(different) == 1 and len(parts) > 1:
        return [parts[0][-1] for _ in parts]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = {each: "/".join(each[-depth:]) for each in different}
        numbered = any(p[-depth].startswith("version_") for p in different if len(p) >= depth)
        if len(set(names.values())) == len(names) and not (numbered and depth == 1):
            return [names[each] for each in parts]
    return ["/".join(each) for each in parts]


def render_page(
    runs: Sequence[RunSummary], data: Mapping[str, Any], *, live: bool = False
) -> tuple[str, str]:
    """Return the page and its content security policy.

    Args:
        runs: what it says of each.
        data: what its script draws, see `payload`.
        live: whether a server answers the page's requests for more.
    """
    names = (*_SCRIPTS, *(_LIVE if live else ()))
    script = f'(() => {{\n"use strict";\n{"".join(map(_asset, names))}begin();\n}})();\n'
    style = _asset("page.css")
    policy = _policy(script, style, live=live)
    html = (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=page_title([run.name for run in runs]),
            runs=runs,
            live=live,
            data=data,
            script=Markup(script),  # noqa: S704 - ours, no word of a user's in it
            style=Markup(style),  # noqa: S704
            policy=policy,
            version=__version__,
        )
    )
    return html, policy


def render_parts(run: RunSummary) -> dict[str, str]:
    """Return the parts of the page that are about one run, as HTML by name."""
    module = _environment().get_template("run.html.j2").module
    return {name: str(getattr(module, name)(run)) for name in PARTS}


def page_title(names: Sequence[str]) -> str:
    """Return what the page is called: the runs' names, of many the first."""
    if len(names) <= _MOST_NAMED:
        return " and ".join(names)
    return f"{', '.join(names[:_MOST_NAMED])} and {len(names) - _MOST_NAMED} more runs"


@functools.lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("lightning_cam.output.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters |= {"number": number, "title": title_of, "when": when}
    environment.globals["verdicts"] = VERDICTS
    return environment


def _asset(name: str) -> str:
    file = resources.files("lightning_cam.output.report") / "assets" / name
    return file.read_text(encoding="utf-8")


def _policy(script: str, style: str, *, live: bool) -> str:
    """Return the policy that lets the browser run this script, and load nothing of elsewhere."""
    from_server = "img-src 'self' data:; connect-src 'self'" if live else "img-src data:"
    return (
        f"default-src 'none'; script-src 'sha256-{_hash(script)}'; "
        f"style-src 'sha256-{_hash(style)}'; {from_server}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    """Return the hash that lets the browser run this script and no other."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
