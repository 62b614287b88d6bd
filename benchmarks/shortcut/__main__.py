"""Train many small runs with a known truth; report how well the default alerts tell them apart.

    python -m benchmarks.shortcut --json benchmarks/results/shortcut.json
    python -m benchmarks.shortcut --data FOLDER [FOLDER ...]   # the same on your own data
    python -m benchmarks.shortcut --quick

A folder holds train/<class>/*, val/<class>/*, masks/val/<class>/*.png and shuffled/<class>/*: like
val, with backgrounds that tell nothing. A run's truth is the accuracy that it loses on those.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import environment, write_json
from benchmarks.shortcut import evaluate, plans
from benchmarks.shortcut.runs import Plan, Run, as_json, from_json, run

_SHORT = (
    ("alert_roc_area", "alert: area under the ROC curve"),
    ("true_alarm_rate", "bad runs alerted"),
    ("alerted_in_first_third", "bad runs alerted in the first third"),
    ("share_of_training_at_alert", "share of the training passed at the alert"),
    ("false_alarm_rate", "clean runs alerted"),
)
_LONG = (
    ("runs_with_an_alert", "long clean runs alerted"),
    ("alerts_per_100_epochs", "false alarms per 100 clean epochs"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.shortcut",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="folders of your own")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--quick", action="store_true", help="a few short runs")
    parser.add_argument("--tune", action="store_true", help="the runs that limits were chosen on")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each folder and network")
    parser.add_argument("--epochs", type=int, default=12, help="of runs on folders")
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time")
    parser.add_argument("--keep", type=Path, help="a file of finished runs, continued if it exists")
    args = parser.parse_args(arguments)
    if args.data:
        wanted = plans.of_folders(args.data, args.seeds, args.epochs)
    else:
        wanted = plans.quick() if args.quick else plans.tuning() if args.tune else plans.reported()
    try:
        runs = list(_finished(wanted, args.workers, args.keep))
    except (OSError, ValueError) as error:
        print(f"benchmarks.shortcut: {error}", file=sys.stderr)
        return 2
    figures = figures_of(runs)
    print(text(figures))
    if args.json:
        write_json(
            args.json,
            {"command": _command(arguments), "environment": environment("cpu"), **figures},
        )
    return 0


def _command(arguments: Sequence[str] | None) -> str:
    return " ".join(["python -m benchmarks.shortcut", *(arguments or sys.argv[1:])])


def _finished(wanted: Sequence[Plan], workers: int, keep: Path | None) -> Iterator[Run]:
    """Yield the runs as they finish, each in a process with one thread; they keep to themselves."""
    known: dict[str, Run] = {}
    if keep is not None and keep.exists():
        runs = [from_json(json.loads(line)) for line in keep.read_text().splitlines()]
        known = {str(each.plan): each for each in runs}
    yield from (known[str(plan)] for plan in wanted if str(plan) in known)
    left = [plan for plan in wanted if str(plan) not in known]
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for n, each in enumerate(pool.imap_unordered(run, left), 1):
            told = {mode: [a["epoch"] for a in alerts] for mode, alerts in each.alerts.items()}
            print(
                f"{n:4}/{len(left)}  {Path(each.plan.data).name:18} {each.plan.correlation:4.2f}  "
                f"{each.plan.network:9} seed {each.plan.seed:<4} accuracy {each.accuracy:4.0%}  "
                f"lost {each.loss:4.0%}  alerted at {told}",
                flush=True,
            )
            if keep is not None:
                with keep.open("a") as file:
                    file.write(json.dumps(as_json(each)) + "\n")
            yield each


def alerts_of(each: Run, mode: str) -> list[int]:
    """Return the validations at which the callback itself alerted."""
    return [alert["epoch"] for alert in each.alerts[mode]]


def figures_of(runs: Sequence[Run]) -> dict[str, Any]:
    """Return all figures: of runs with and without a shortcut, and of long clean ones."""
    short = [each for each in runs if not each.plan.steady]
    long = [each for each in runs if each.plan.steady]
    return {
        "shortcut": evaluate.summary(short, alerts_of),
        "endurance": evaluate.endurance(long, alerts_of),
        "by_data": {
            name: evaluate.summary([r for r in short if r.plan.data == name], alerts_of)
            for name in dict.fromkeys(each.plan.data for each in short)
        },
        "runs": [_line(each) for each in runs],
    }


def _line(each: Run) -> dict[str, Any]:
    return {
        **vars(each.plan),
        "accuracy": each.accuracy,
        "lost": each.loss,
        "alerts": {
            mode: [(a["metric"], a["epoch"], a["verdict"]) for a in alerts]
            for mode, alerts in each.alerts.items()
        },
        "score": {mode: evaluate.alert_score(each, mode) for mode in evaluate.METRICS},
    }


def text(results: dict[str, Any]) -> str:
    """Return the figures as a table for people."""
    short, long = results["shortcut"], results["endurance"]
    modes = list(evaluate.METRICS)
    known = (
        f"{short['runs']} runs: {short['bad']} lose more than {evaluate.BAD:.0%}, "
        f"{short['clean']} at most {evaluate.CLEAN:.0%}"
    )
    lines = ["", f"{known}; {long['runs']} long clean runs, {long['epochs']} epochs", ""]
    lines.append(f"{'':44}{'with masks':>12}{'without':>12}")
    for figures, titles in ((short, _SHORT), (long, _LONG)):
        lines += [_row(title, [figures[mode][key] for mode in modes]) for key, title in titles]
    for mode in modes:
        lines += ["", f"metric ({mode}): area under the ROC curve, rank correlation with the loss"]
        for name, each in short[mode]["metrics"].items():
            lines.append(f"  {name:24}{each['roc_area']:8.2f}{each['rank_correlation']:8.2f}")
    return "\n".join(lines)


def _row(title: str, values: Sequence[float]) -> str:
    return f"{title:44}" + "".join(f"{value:12.2f}" for value in values)


if __name__ == "__main__":
    raise SystemExit(main())
