"""Train many small networks whose truth is known, and measure how well default alerts find it.

    python -m benchmarks.alerts --photos FOLDER_OR_ZIP --json benchmarks/results/alerts-cpu.json
    python -m benchmarks.alerts --photos CIFAR10               # downloaded by torchvision
    python -m benchmarks.alerts --data FOLDER [FOLDER ...]     # on your own data with masks
    python -m benchmarks.alerts --quick

The truth of a run is the accuracy that it loses where its cue is uninformative. Photographs lie in
train/<class>/* and val/<class>/*; cues are planted into them. A folder with masks holds
train/<class>/*, val/<class>/*, masks/val/<class>/*.png and shuffled/<class>/*: like val, with
uninformative backgrounds; or it is that of Waterbirds, with CUB's segmentations.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.alerts import evaluate, plans, tables
from benchmarks.alerts.runs import Plan, Run, as_json, from_json, run
from benchmarks.measuring import environment
from benchmarks.pages import parser_of, write_json


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not there yet, and write the figures."""
    parser = parser_of("benchmarks.alerts", __doc__)
    parser.add_argument("--photos", help="photographs of ten classes: a folder, zip, or data set")
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="folders of your own")
    parser.add_argument("--tune", action="store_true", help="the runs that limits were chosen on")
    parser.add_argument("--long", type=int, default=0, help="clean runs of 100 epochs on --photos")
    parser.add_argument("--silhouettes", type=int, default=0, help="runs on even shapes alone")
    parser.add_argument("--seeds", type=int, default=3, help="runs per folder and network")
    parser.add_argument(
        "--epochs", type=int, help="of runs on folders; by default enough for 300 steps, 12 to 60"
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="trainings at a time; 0 for one, in this process"
    )
    parser.add_argument("--keep", type=Path, help="a file of finished runs, continued if it exists")
    parser.add_argument("--weights", type=Path, help="a folder of trained weights, used if there")
    args = parser.parse_args(arguments)
    if args.quick:
        wanted = plans.quick()
    elif args.silhouettes:
        wanted = plans.silhouettes(args.silhouettes)
    elif args.data:
        wanted = plans.of_folders(args.data, args.seeds, args.epochs)
    else:
        wanted = plans.pasted(tuning=args.tune)
        if args.photos:
            wanted = plans.natural(args.photos, tuning=args.tune) + wanted
            wanted += plans.long(args.photos, args.long)
    try:
        runs = list(_finished(wanted, args.workers, args.keep, args.weights))
    except (OSError, ValueError) as error:
        print(f"benchmarks.alerts: {error}", file=sys.stderr)
        return 2
    figures = figures_of(runs)
    print(*(f"\n{t(figures)}" for t in (tables.planted, tables.unplanted, tables.with_masks)))
    known = {"command": _command(arguments), "environment": environment()}
    write_json(args.json, {**known, **figures})
    return 0


def _command(arguments: Sequence[str] | None) -> str:
    """Return the command line without files that are kept, and without where photographs lie."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for option in ("--keep", "--weights"):
        if option in words:
            del words[words.index(option) : words.index(option) + 2]
    if "--photos" in words:
        place = words.index("--photos") + 1
        words[place] = Path(words[place]).name
    return " ".join(["python -m benchmarks.alerts", *words])


def _finished(
    wanted: Sequence[Plan], workers: int, keep: Path | None, weights: Path | None
) -> Iterator[Run]:
    """Yield the runs as they finish, first those of the file `keep`."""
    known: dict[str, Run] = {}
    if keep is not None and keep.exists():
        runs = [from_json(json.loads(line)) for line in keep.read_text().splitlines()]
        known = {str(each.plan): each for each in runs}
    yield from (known[str(plan)] for plan in wanted if str(plan) in known)
    left = [plan for plan in wanted if str(plan) not in known]
    with _runner(workers) as finished:
        for n, each in enumerate(finished(partial(run, weights=weights), left), 1):
            plan = each.plan
            found = {mode: (each.first_alert(mode), [a["attribute"] for a in alerts])
                     for mode, alerts in each.alerts.items()}  # fmt: skip
            print(
                f"{n:4}/{len(left)}  {Path(plan.data).name:18} {plan.classes!s:12.12} "
                f"{plan.cue:9} {plan.correlation:4.2f}  {plan.network:10} seed {plan.seed:<4} "
                f"accuracy {each.accuracy:4.0%}  lost {each.loss:4.0%}  alerts {found}",
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


def figures_of(runs: Sequence[Run]) -> dict[str, Any]:
    """Return all figures: of photographs, of long clean runs, and of pasted objects."""
    natural = [each for each in runs if each.plan.classes]
    short = [each for each in natural if not each.plan.steady]
    return {
        "planted": evaluate.planted(short),
        "unplanted": evaluate.unplanted(short),
        "long": evaluate.unplanted([each for each in natural if each.plan.steady]),
        "pasted": evaluate.with_masks([each for each in runs if not each.plan.classes]),
        "runs": [_line(each) for each in runs],
    }


def _line(each: Run) -> dict[str, Any]:
    return {
        **vars(each.plan),
        "data": Path(each.plan.data).name,
        "accuracy": each.accuracy,
        "lost": each.loss,
        "alerted_at": {mode: each.first_alert(mode) for mode in each.metrics},
        "leading": {mode: [a["attribute"] for a in each.alerts[mode]] for mode in each.alerts},
        "score": {mode: evaluate.final_value(each, mode) for mode in each.metrics},
    }


if __name__ == "__main__":
    raise SystemExit(main())
