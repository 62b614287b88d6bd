"""The command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

WRONG_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, or 2 with one line on standard error where the input is wrong."""
    args = _parser().parse_args(arguments)
    try:
        args.run(args)
    except (ValueError, TypeError, OSError) as error:
        print(f"lightning-cam: {error}", file=sys.stderr)  # noqa: T201
        return WRONG_INPUT
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lightning-cam", description="Where does the network look?"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    layers = commands.add_parser(
        "layers",
        help="list the layers of a model that maps can be taken at, and the automatic choice",
        description="Run a model on noise and list the layers with a spatial output in order of "
        "execution, with their shapes, and which one layers='auto' takes.",
    )
    layers.add_argument(
        "model", help="torchvision name, timm:NAME, or package.module:attribute (module or factory)"
    )
    layers.add_argument(
        "--size",
        type=int,
        nargs="+",
        default=[224],
        metavar="PIXELS",
        help="height and width of the images (default 224)",
    )
    layers.add_argument("--channels", type=int, default=3, help="of the images (default 3)")
    layers.add_argument(
        "--all", action="store_true", help="also what is no good for a map, and why"
    )
    layers.set_defaults(run=_layers)
    return parser


def _layers(args: argparse.Namespace) -> None:
    import torch

    from lightning_cam.explain.modules import unwrap
    from lightning_cam.explain.survey import choose, survey
    from lightning_cam.explain.targets import ClassTarget
    from lightning_cam.models import build_model

    model = unwrap(build_model(args.model))
    images = torch.randn(1, args.channels, args.size[0], args.size[-1])
    candidates = survey(model, images, ClassTarget())
    chosen = choose(candidates)
    shown = candidates if args.all else [c for c in candidates if not c.drawback or c is chosen]
    width = max(len(candidate.name) for candidate in shown)
    for candidate in shown:
        mark = "auto ->" if candidate is chosen else ""
        notes = f"({candidate.drawback})" if candidate.drawback else ""
        line = (
            f"{mark:<8}{candidate.name:<{width}}  {candidate.kind:<20}  {candidate.layout}  {notes}"
        )
        print(line.rstrip())  # noqa: T201
