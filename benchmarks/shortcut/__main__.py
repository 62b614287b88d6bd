"""Train many small runs with a known truth; report how well the default alerts tell them apart.

    python -m benchmarks.shortcut --json benchmarks/results/shortcut.json
    python -m benchmarks.shortcut --data FOLDER [FOLDER ...]   # the same on your own data
    python -m benchmarks.shortcut --quick

A folder holds train/<class>/*, val/<class>/*, masks/val/<class>/*.png and shuffled/<class>/*: like
val, with backgrounds that tell nothing. A run's truth is the accuracy that it loses on those.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import environment, write_json
from benchmarks.shortcut import evaluate, judge, plans
from benchmarks.shortcut.runs import Plan, Run, as_json, from_json, run
from lightning_cam.monitor.config import Options

_SHORT = (
    ("alert_roc_area", "alert: area under the ROC curve"),
    ("alert_roc_area_any_time", "  where alerts that clear again count too"),
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
    parser.add_argument(
        "--epochs", type=int, help="of runs on folders; by default enough for 300 steps, 12 to 60"
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="trainings at a time; 0 for one, in this process"
    )
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
    """Return what was typed, without where finished runs were kept."""
    words = list(arguments or sys.argv[1:])
    if "--keep" in words:
        del words[words.index("--keep") : words.index("--keep") + 2]
    return " ".join(["python -m benchmarks.shortcut", *words])


def _finished(wanted: Sequence[Plan], workers: int, keep: Path | None) -> Iterator[Run]:
    """Yield the runs as they finish, those that are kept already at once."""
    known: dict[str, Run] = {}
    if keep is not None and keep.exists():
        runs = [from_json(json.loads(line)) for line in keep.read_text().splitlines()]
        known = {str(each.plan): each for each in runs}
    yield from (known[str(plan)] for plan in wanted if str(plan) in known)
    left = [plan for plan in wanted if str(plan) not in known]
    with _runner(workers) as finished:
        for n, each in enumerate(finished(run, left), 1):
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


@contextlib.contextmanager
def _runner(workers: int) -> Iterator[Callable[..., Iterable[Run]]]:
    """Yield a `map` over processes with one thread each, which do not slow each other down."""
    if not workers:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield pool.imap_unordered


def alerts_of(each: Run, mode: str) -> list[int]:
    """Return the validations at which the default rules alert.

    The same as the callback's own alerts, but runs that were kept are judged by today's rules.
    """
    every = each.plan.every or Options().interventions_every
    return [look for look, _ in judge.alerts_of(each.metrics[mode], evaluate.rules_of(mode), every)]


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
        "alerted_at": {mode: alerts_of(each, mode) for mode in evaluate.METRICS},
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
