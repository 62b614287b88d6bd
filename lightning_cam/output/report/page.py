"""`write_report`: records in, one HTML file out."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lightning_cam import __version__
from lightning_cam.metrics.registry import BASELINES, GAP, REFERENCES, grouped, title_of
from lightning_cam.output.record import ProbeRecord, read_run
from lightning_cam.output.report.payload import payload
from lightning_cam.output.report.wording import VERDICTS, number, verdict
from lightning_cam.runtime.files import safe_name, write_atomic

_SCRIPTS = ("core.js", "heat.js", "charts.js", "samples.js", "tables.js", "page.js")
_MOST_RUNS = 2


def write_report(folders: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write what one run recorded, or two side by side, as one page; return where it lies.

    The file needs nothing beside it and asks nothing of any network. It is written whole or not at
    all.

    Args:
        folders: one or two run folders, see `lightning_cam.output.record.read_run`.
        out: the file, or an existing folder for it. By default `report.html` in the run's folder;
            of two runs `report-with-<second>.html` in the first one's, so each keeps its own.

    Raises:
        ValueError: not one or two folders, no record in one of them, or one of another version.
    """
    if isinstance(folders, (str, Path)):
        folders = [folders]
    if not 1 <= len(folders) <= _MOST_RUNS:
        raise ValueError(f"expected one or two run folders, got {len(folders)}")
    paths = [Path(folder) for folder in folders]
    records = [read_run(path) for path in paths]
    names = run_names(paths)
    file = "report.html" if len(paths) == 1 else f"report-with-{safe_name(names[1])}.html"
    place = paths[0] / file if out is None else Path(out)
    if out is not None and place.is_dir():
        place = place / file
    html = _render(list(zip(names, records, strict=True)))
    # A name from a file system may hold half a character, which no file can.
    write_atomic(place, html.encode("utf-8", "replace"))
    return place


def run_names(paths: Sequence[Path]) -> list[str]:
    """Return what to call the runs: the end of each path, as much of it as tells them apart."""
    parts = [path.resolve().parts for path in paths]
    if len(paths) > 1 and parts[0] == parts[1]:
        return [parts[0][-1], parts[0][-1]]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-depth:]) for each in parts]
        numbered = any(each[-depth].startswith("version_") for each in parts if len(each) >= depth)
        if len(set(names)) == len(names) and not (numbered and depth == 1):
            return names
    return ["/".join(each) for each in parts]


def _render(runs: list[tuple[str, list[ProbeRecord]]]) -> str:
    environment = Environment(
        loader=PackageLoader("lightning_cam.output.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters |= {"number": number, "title": title_of, "when": _when}
    script = f'(() => {{\n"use strict";\n{"".join(map(_asset, _SCRIPTS))}}})();\n'
    style = _asset("page.css")
    return environment.get_template("page.html.j2").render(
        title=" and ".join(name for name, _ in runs),
        heads=[_head(name, records) for name, records in runs],
        data=payload(runs),
        script=Markup(script),  # noqa: S704 - ours, no word of a user's in it
        style=Markup(style),  # noqa: S704
        script_hash=_hash(script),
        style_hash=_hash(style),
        version=__version__,
        verdicts=VERDICTS,
    )


def _asset(name: str) -> str:
    file = resources.files("lightning_cam.output.report") / "assets" / name
    return file.read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the hash that lets the browser run this script and no other."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _head(name: str, records: Sequence[ProbeRecord]) -> dict[str, Any]:
    level, sentence = verdict(records)
    return {
        "name": name,
        "level": level,
        "sentence": sentence,
        "records": records,
        "facts": [_facts(record) for record in records],
        "alerts": [alert for r in records for each in r.evaluations for alert in each.alerts],
        "rows": [row for record in records for row in _rows(record, several=len(records) > 1)],
        "settings": [list(_flat(record.settings)) for record in records],
    }


def _facts(record: ProbeRecord) -> dict[str, Any]:
    evaluations = record.evaluations
    maps = list(dict.fromkeys((m.method, m.layer) for each in evaluations for m in each.maps))
    masks = "masks estimated" if record.masks_estimated else "with masks"
    return {
        "images": len(record.ids),
        "masks": masks if record.masks is not None else "without masks",
        "maps": [f"{method} at {layer}" for method, layer in maps],
        "evaluations": len(evaluations),
        "epochs": (evaluations[0].epoch, evaluations[-1].epoch) if evaluations else None,
        "times": (evaluations[0].time, evaluations[-1].time) if evaluations else None,
    }


def _rows(record: ProbeRecord, *, several: bool) -> Iterator[dict[str, Any]]:
    """Yield the plain table: each metric at the first and the last each where it is known."""
    names = dict.fromkeys(name for each in record.evaluations for name in each.metrics)
    order = [
        f"{metric.name}_{next(iter(REFERENCES))}" if metric.moves else metric.name
        for some in grouped().values()
        for metric in some
    ]
    for name in [*order, *(name for name in names if name.startswith(f"{GAP}/"))]:
        if name not in names:
            continue
        values = [each.metrics.get(name, float("nan")) for each in record.evaluations]
        known = [value for value in values if value == value]  # noqa: PLR0124 - NaN
        last = record.evaluations[-1].metrics
        yield {
            "title": title_of(name),
            "probe": record.tag if several else "",
            "first": known[0] if known else None,
            "last": known[-1] if known else None,
            "baselines": [last.get(f"{name}_{baseline}") for baseline in BASELINES],
        }


def _flat(settings: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{start}{name}.")
        elif isinstance(value, list):
            yield f"{start}{name}", ", ".join(map(str, value)) or "none"
        else:
            words = {None: "default", True: "yes", False: "no"}
            known = value is None or isinstance(value, bool)
            yield f"{start}{name}", words[value] if known else str(value)


def _when(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
