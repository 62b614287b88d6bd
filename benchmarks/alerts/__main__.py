"""Train many small runs whose truth is known, and measure how well the default alerts find it.

    python -m benchmarks.shortcut --json benchmarks/results/shortcut-cpu.json
    python -m benchmarks.shortcut --data FOLDER [FOLDER ...]   # the same on your own data
    python -m benchmarks.shortcut --quick

A folder holds train/<class>/*, val/<class>/*, masks/val/<class>/*.png and shuffled/<class>/*: like
val, with uninformative backgrounds. The truth of a run is the accuracy that it loses on those.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import environment
from benchmarks.pages import parser_of, write_json
from benchmarks.shortcut import evaluate, plans, tables
from benchmarks.shortcut.replay_rules import replay_rules
from benchmarks.shortcut.runs import Plan, Run, as_json, from_json, run
from lightning_cam.monitor.config import MonitorConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not there yet, and write the figures."""
    parser = parser_of("benchmarks.shortcut", __doc__)
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="folders of your own")
    parser.add_argument("--tune", action="store_true", help="the runs that limits were chosen on")
    parser.add_argument("--seeds", type=int, default=3, help="runs per folder and network")
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
    print(f"\n{tables.alerts(figures)}\n\n{tables.by_metric(figures)}")
    known = {"command": _command(arguments), "environment": environment()}
    write_json(args.json, {**known, **figures})
    return 0


def _command(arguments: Sequence[str] | None) -> str:
    """Return the command line without `--keep`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--keep" in words:
        del words[words.index("--keep") : words.index("--keep") + 2]
    return " ".join(["python -m benchmarks.shortcut", *words])


def _finished(wanted: Sequence[Plan], workers: int, keep: Path | None) -> Iterator[Run]:
    """Yield the runs as they finish, first those of the file `keep`."""
    known: dict[str, Run] = {}
    if keep is not None and keep.exists():
        runs = [from_json(json.loads(line)) for line in keep.read_text().splitlines()]
        known = {str(each.plan): each for each in runs}
    yield from (known[str(plan)] for plan in wanted if str(plan) in known)
    left = [plan for plan in wanted if str(plan) not in known]
    with _runner(workers) as finished:
        for n, each in enumerate(finished(run, left), 1):
            epochs = {mode: [a["epoch"] for a in alerts] for mode, alerts in each.alerts.items()}
            print(
                f"{n:4}/{len(left)}  {Path(each.plan.data).name:18} {each.plan.correlation:4.2f}  "
                f"{each.plan.network:9} seed {each.plan.seed:<4} accuracy {each.accuracy:4.0%}  "
                f"lost {each.loss:4.0%}  alerts at {epochs}",
                flush=True,
            )
            if keep is not None:
                with keep.open("a") as file:
                    file.write(json.dumps(as_json(each)) + "\n")
            yield each


@contextlib.contextmanager
def _runner(workers: int) -> Iterator[Callable[..., Iterable[Run]]]:
    """Yield a `map` over processes of one thread each, which do not slow each other down."""
    if not workers:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield pool.imap_unordered


def alerts_of(each: Run, mode: str) -> list[int]:
    """Return the evaluations at which today's default rules raise alerts."""
    every = each.plan.every or MonitorConfig().interventions_every
    return [n for n, _ in replay_rules(each.metrics[mode], evaluate.rules_of(mode), every)]


def figures_of(runs: Sequence[Run]) -> dict[str, Any]:
    """Return all figures: of runs with and without a shortcut, and of long clean ones."""
    return {
        "shortcut": evaluate.summary([each for each in runs if not each.plan.steady], alerts_of),
        "long_runs": evaluate.long_runs([each for each in runs if each.plan.steady], alerts_of),
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


if __name__ == "__main__":
    raise SystemExit(main())
