"""The figure of the README: when runs were alerted, against the accuracy that they lose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.alerts.evaluate import BAD

FILE = "docs/alerts.png"
_NEVER = 1.12  # where runs without an alert are drawn
_COLORS = ("#1b6ac9", "#c2410c", "#0f766e", "#9333ea", "#b45309", "#be185d", "#475569")


def draw(results: Mapping[str, Any], file: str | Path = FILE) -> None:
    """Draw each run on photographs as a dot: share of the training at the alert, accuracy lost."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    runs = [run for run in results["runs"] if run["classes"] and not run["steady"]]
    rng = np.random.default_rng(0)  # dots of equal epochs lie beside each other
    figure, axes = plt.subplots(figsize=(8.4, 3.9), dpi=110)
    axes.axvspan(1.05, 1.2, color="#f1f1ee", zorder=0)
    axes.axhline(100 * BAD, color="#999", linewidth=0.8, linestyle=":")
    unplanted = [run for run in runs if not run["cue"]]
    cues = list(dict.fromkeys(run["cue"] for run in runs if run["cue"]))
    groups = [("none planted", unplanted, "#9a9a94")]
    groups += [
        (cue, [run for run in runs if run["cue"] == cue], color)
        for cue, color in zip(cues, _COLORS, strict=False)
    ]
    for name, some, color in groups:
        at = np.array([_place(run) for run in some]) + rng.uniform(-0.022, 0.022, len(some))
        lost = [100 * run["lost"] + rng.uniform(-0.8, 0.8) for run in some]
        size = 14 if name == "none planted" else 26
        axes.scatter(at, lost, s=size, color=color, alpha=0.8, linewidths=0, label=name)
    axes.set_xlim(0, 1.2)
    axes.set_xticks([0, 1 / 3, 2 / 3, 1, _NEVER], ["0", "1/3", "2/3", "1", "no alert"])
    axes.set_xlabel("share of the training that had passed at the alert")
    axes.set_ylabel("accuracy lost without the cue, points")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, title="planted cue")
    figure.tight_layout()
    figure.savefig(file)
    plt.close(figure)
    print(f"wrote {file}")


def _place(run: Mapping[str, Any]) -> float:
    epoch = run["alerted_at"]["blind"]
    return _NEVER if epoch is None else (epoch + 1) / run["epochs"]
