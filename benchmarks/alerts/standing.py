"""Count alerts of trainings that stand still: the same weights, evaluated a hundred times.

    python -m benchmarks.alerts.standing PHOTOS --json benchmarks/results/alerts-standing.json

The courses are built from the trainings without a planted cue: each network is trained as there,
and then monitored with a probe of its own as if its training went on without changing it. What is
alerted here and not while it is trained is alerted by looking often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.alerts.plans import natural
from benchmarks.alerts.runs import Plan, monitors_of, trained
from benchmarks.measuring import environment
from benchmarks.pages import parser_of, write_json


def main(arguments: Sequence[str] | None = None) -> None:
    parser = parser_of("benchmarks.alerts.standing", __doc__)
    parser.add_argument("photos", help="photographs of ten classes: a folder, zip, or data set")
    parser.add_argument("--courses", type=int, default=100)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--weights", type=Path, help="a folder of trained weights, used if there")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    plans = [plan for plan in natural(args.photos) if not plan.cue and plan.network != "pretrained"]
    found = []
    for n in tqdm(range(2 if args.quick else args.courses)):
        turn, place = divmod(n, len(plans))
        found.append(course(plans[place], turn, args.evaluations, args.weights))
    alerted = [each for each in found if each["alerted"]]
    print(f"{len(alerted)} of {len(found)} alerted: {alerted}")
    write_json(
        args.json,
        {
            "command": f"python -m benchmarks.alerts.standing {Path(args.photos).name} "
            f"--courses {args.courses} --evaluations {args.evaluations}",
            "environment": environment(),
            "courses": len(found),
            "alerted": len(alerted),
            "evaluations": args.evaluations,
            "alerts": alerted,
        },
    )


def course(plan: Plan, turn: int, evaluations: int, weights: Path | None) -> dict[str, Any]:
    """Return what was alerted of a network that does not change any more.

    Args:
        plan: its training.
        turn: how often it was used before: each time another probe is drawn.
        evaluations: of the course.
        weights: see `runs.run`.
    """
    splits, module, of_epochs = trained(plan, weights)
    module.load_state_dict(of_epochs[-1])
    monitor = monitors_of(replace(plan, seed=plan.seed + 10_000 * (turn + 1)), splits)["blind"]
    for epoch in range(evaluations):
        monitor.evaluate(module, epoch=epoch)
    alerts = [each for each in monitor.alerts if each.verdict == "confirmed"]
    return {
        "classes": plan.classes,
        "network": plan.network,
        "seed": plan.seed,
        "alerted": [f"{each.attribute} at {each.epoch}" for each in alerts],
    }


if __name__ == "__main__":
    main()
