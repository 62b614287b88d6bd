"""From results to documentation: the tables and the plot of docs/cost.md.

python -m benchmarks.speed.page [--json FILE]   # rewrites what lies between the page's marks
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.pages import measured_by, rewrite, table
from benchmarks.speed.plot import curves

RESULTS, PAGE, PLOT = "benchmarks/results/speed-cpu.json", "docs/cost.md", "docs/cost-growth.svg"


def spread(ratio: dict[str, Any]) -> str:
    """Return a median with its quartiles."""
    return f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def _finely(ratio: dict[str, Any]) -> str:
    return f"{ratio['median']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"


def maps(rows: Sequence[dict[str, Any]]) -> str:
    """Return the maps' table."""
    return table(
        (
            *("network", "images", "precision", "time", "forward in parts", "peak memory"),
            *("pairs", "forward, s"),
        ),
        [
            (
                row["model"],
                str(row["batch"]),
                row["dtype"],
                spread(row["time"]),
                f"{row['forward_in_parts']['median']:.2f}",
                f"{row['memory']:.2f}",
                str(row["time"]["pairs"]),
                f"{row['forward_s']:.3f}",
            )
            for row in rows
        ],
    )


def peers(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of packages, a row a network."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    names = list(dict.fromkeys(row["package"] for row in rows))
    found = {(row["model"], row["package"]): row for row in rows}

    def cell(row: dict[str, Any] | None) -> str:
        if row is None:
            return "none"
        if "time" not in row:
            return f"other maps ({row['difference']:.2f})"
        return f"{row['time']['median']:.2f}, {row['memory']:.2f}"

    return table(
        ("network", *names),
        [(model, *(cell(found.get((model, name))) for name in names)) for model in models],
    )


def stall(rows: Sequence[dict[str, Any]]) -> str:
    """Return what the training waits for."""
    return table(
        ("callback", "look", "stall, in forwards", "looks"),
        [
            (row["side"], row["look"] or "every", spread(row["stall"]), str(row["stall"]["pairs"]))
            for row in rows
        ],
    )


def training(rows: Sequence[dict[str, Any]]) -> str:
    """Return the wall time of trainings."""
    return table(
        ("network", "epochs × steps × images", "with / without", "pairs", "without, s"),
        [
            (
                f"{row['model']}, {row['side']}²",
                f"{row['epochs']} × {row['steps']} × {row['batch']}",
                _finely(row["time"]),
                str(row["time"]["pairs"]),
                f"{row['without_s']:.1f}",
            )
            for row in rows
        ],
    )


def growth(rows: Sequence[dict[str, Any]]) -> str:
    """Return the exponents, and what stays bounded."""
    lines = [
        (
            row["what"],
            f"{row['points'][0][0]} to {row['points'][-1][0]}",
            f"{row['points'][0][1] * 1000:.0f} to {row['points'][-1][1] * 1000:.0f}",
            f"{row['exponent']:.2f}, from {row['fitted_from']} on",
        )
        for row in rows
    ]
    found = [table(("of", "sizes", "a look, ms", "exponent"), lines)]
    for row in rows:
        if "state_bytes" in row:
            sizes = ", ".join(
                f"{count}: {size / 1000:.0f} kB" for count, size in row["state_bytes"]
            )
            held = ", ".join(f"{count}: {mib:.0f}" for count, mib in row["resident_mib"])
            found.append(f"State in a checkpoint after so many validations: {sizes}.")
            found.append(f"The process's memory after so many validations, MiB: {held}.")
    return "\n\n".join(found)


def small(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rest."""
    lines = []
    for row in rows:
        if "seconds" in row:
            value = f"{row['seconds'] * 1000:.0f} ms ({row['low'] * 1000:.0f} to "
            lines.append(
                (f"`{row['what']}` after {row['after']}", f"{value}{row['high'] * 1000:.0f})")
            )
        elif "time" in row:
            name = f"{row['what']}, {row['images']} images, {row['model']}"
            lines.append((name, f"{spread(row['time'])} forwards"))
        elif "milliseconds" in row:
            lines.append((row["what"], f"{row['milliseconds']:.1f} ms"))
        else:
            for key, size in row["bytes_a_validation"].items():
                if size >= 1 and not key.startswith("state"):
                    lines.append((f"{row['what']}: {key}, a validation", f"{size / 1000:.0f} kB"))
            for key in ("report", "state in a checkpoint"):
                if key in row["bytes"] and row["what"] == "TensorBoard":
                    name = f"{key}, after {row['validations']} validations"
                    lines.append((name, f"{row['bytes'][key] / 1000:.0f} kB"))
    return table(("what", "cost"), lines)


SECTIONS = {
    "maps": maps,
    "peers": peers,
    "stall": stall,
    "training": training,
    "growth": growth,
    "small": small,
}


def sections(results: dict[str, Any]) -> dict[str, str]:
    """Return each part's table, and by what it was measured."""
    return {
        name: f"{SECTIONS[name](part['rows'])}\n\n"
        + measured_by(part["command"], part["environment"])
        for name, part in results.items()
    }


def main() -> None:
    """Rewrite the page."""
    parser = argparse.ArgumentParser(prog="benchmarks.speed.page", description=__doc__)
    parser.add_argument("--json", metavar="FILE", default=RESULTS)
    args = parser.parse_args()
    results = json.loads(Path(args.json).read_text(encoding="utf-8"))
    rewrite(PAGE, sections(results))
    if "growth" in results:
        Path(PLOT).write_text(curves(results["growth"]["rows"]), encoding="utf-8")


if __name__ == "__main__":
    main()
