"""The tables of docs/cost.md: `python -m benchmarks.pages speed`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measuring import Ratio
from benchmarks.pages import measured_by, table

RESULTS, PAGE = "benchmarks/results/speed-cpu.json", "docs/cost.md"

Rows = Sequence[Mapping[str, Any]]


def maps(rows: Rows) -> str:
    """Return the table of maps."""
    return table(
        (
            *("network", "images", "precision", "time", "forward in chunks", "peak memory"),
            *("pairs", "forward, s"),
        ),
        [
            (
                *(row["model"], str(row["batch"]), row["dtype"], Ratio(**row["time"]).text()),
                *(f"{row['forward_in_chunks']['median']:.2f}", f"{row['memory']:.2f}"),
                *(str(row["time"]["pairs"]), f"{row['forward_s']:.3f}"),
            )
            for row in rows
        ],
    )


def peers(rows: Rows) -> str:
    """Return the table of packages, a row per network."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    packages = list(dict.fromkeys(row["package"] for row in rows))
    found = {(row["model"], row["package"]): row for row in rows}

    def cell(row: Mapping[str, Any] | None) -> str:
        if row is None:
            return "none"
        if "time" not in row:
            return f"other maps ({row['difference']:.2f})"
        return f"{row['time']['median']:.2f}, {row['memory']:.2f}"

    return table(
        ("network", *packages),
        [(model, *(cell(found.get((model, each))) for each in packages)) for model in models],
    )


def variants(rows: Rows) -> str:
    """Return the table of a network in other forms."""
    return table(
        ("network", "form", "precision", "maps, in its forwards", "forward, ms"),
        [
            (
                *(row["model"], row["form"], row["dtype"], Ratio(**row["time"]).text()),
                f"{row['forward_s'] * 1000:.2f}",
            )
            for row in rows
        ],
    )


def stall(rows: Rows) -> str:
    """Return the table of how long the training waits."""
    return table(
        ("callback", "evaluation", "stall, in forwards", "evaluations"),
        [
            (
                *(row["side"], row["evaluation"] or "every"),
                *(Ratio(**row["stall"]).text(), str(row["stall"]["pairs"])),
            )
            for row in rows
        ],
    )


def training(rows: Rows) -> str:
    """Return the table of whole trainings."""
    return table(
        ("network", "epochs × steps × images", "with / without", "pairs", "without, s"),
        [
            (
                f"{row['model']}, {row['side']}²",
                f"{row['epochs']} × {row['steps']} × {row['batch']}",
                Ratio(**row["time"]).text(3),
                str(row["time"]["pairs"]),
                f"{row['without_s']:.1f}",
            )
            for row in rows
        ],
    )


def ranks(rows: Rows) -> str:
    """Return the table of evaluations that two processes share."""
    return table(
        ("network", "images", "evaluation", "two processes / one", "one, s"),
        [
            (
                *(row["model"], f"{row['images']} × {row['side']}²", row["evaluation"]),
                *(Ratio(**row["two_over_one"]).text(), f"{row['one_s']:.2f}"),
            )
            for row in rows
        ],
    )


def growth(rows: Rows) -> str:
    """Return the table of exponents, and the sizes of state and memory."""
    lines = []
    for row in rows:
        (first, shortest), (last, longest) = row["points"][0], row["points"][-1]
        milliseconds = f"{shortest * 1000:.0f} to {longest * 1000:.0f}"
        fitted = f"{row['exponent']:.2f}, from {row['fitted_from']} on"
        lines.append((row["what"], f"{first} to {last}", milliseconds, fitted))
    parts = [table(("of", "sizes", "an evaluation, ms", "exponent"), lines)]
    for row in rows:
        if "state_bytes" in row:
            sizes = ", ".join(f"{n}: {size / 1000:.0f} kB" for n, size in row["state_bytes"])
            memory = ", ".join(f"{n}: {mib:.0f}" for n, mib in row["resident_mib"])
            parts.append(f"State in a checkpoint, by number of validations: {sizes}.")
            parts.append(f"Memory of the process in MiB, by number of validations: {memory}.")
    return "\n\n".join(parts)


def small(rows: Rows) -> str:
    """Return the table of what is left."""
    return table(("what", "cost"), [line for row in rows for line in _small_lines(row)])


def _small_lines(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "seconds" in row:
        median, low, high = (f"{row[key] * 1000:.0f}" for key in ("seconds", "low", "high"))
        return [(f"`{row['what']}` after {row['after']}", f"{median} ms ({low} to {high})")]
    if "time" in row:
        name = f"{row['what']}, {row['images']} images, {row['model']}"
        return [(name, f"{Ratio(**row['time']).text()} {row.get('unit', 'forwards')}")]
    if "milliseconds" in row:
        of_maps = f", {row['of_maps']:.1f} ms of it the maps" if "of_maps" in row else ""
        without = f", {row['without']:.0f} ms without it" if "without" in row else ""
        return [(row["what"], f"{row['milliseconds']:.1f} ms{of_maps}{without}")]
    lines = [
        (f"{row['what']}: {key}, per validation", f"{size / 1000:.0f} kB")
        for key, size in row["bytes_per_validation"].items()
        if size >= 1 and not key.startswith("state")
    ]
    once = ("report", "state in a checkpoint") if row["what"] == "TensorBoard" else ()
    return lines + [
        (f"{key}, after {row['validations']} validations", f"{row['bytes'][key] / 1000:.0f} kB")
        for key in once
        if key in row["bytes"]
    ]


TABLES = {
    "maps": maps,
    "peers": peers,
    "variants": variants,
    "stall": stall,
    "training": training,
    "growth": growth,
    "ranks": ranks,
    "small": small,
}


def sections(results: Mapping[str, Any]) -> dict[str, str]:
    """Return each part's table, and how it was measured."""
    return {
        name: f"{TABLES[name](part['rows'])}\n\n"
        + measured_by(part["command"], part["environment"])
        for name, part in results.items()
    }
