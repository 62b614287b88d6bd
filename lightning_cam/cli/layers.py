"""`layers`: list the layers that maps can be taken at, and the automatic choice."""

from __future__ import annotations

import argparse
from typing import Any

from lightning_cam.cli.console import say
from lightning_cam.cli.options import size

_EPILOG = """examples:
  lightning-cam layers resnet18
  lightning-cam layers vit_b_16 --all
  lightning-cam layers my_project.model:Classifier --size 96x128 --channels 1
"""


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "layers",
        help="list the layers of a model that maps can be taken at, and the automatic choice",
        description="Run a model on noise and list the layers with a spatial output in order of\n"
        "execution, with their shapes, and the one that is chosen automatically.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "model", help="a torchvision or timm name, or package.module:attribute (module or factory)"
    )
    parser.add_argument(
        "--size", type=size, metavar="HxW", help="of the images (default: what the model expects)"
    )
    parser.add_argument(
        "--channels", type=int, choices=(1, 3), help="of the images (default: the model's)"
    )
    parser.add_argument(
        "--all", action="store_true", help="also layers that are not suited for a map, and why"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Print the table."""
    import torch

    from lightning_cam.cli.model_loading import tried
    from lightning_cam.cli.models import build_model, expected_input
    from lightning_cam.explain.candidate_layers import candidate_layers, choose_layer
    from lightning_cam.explain.modules import channels_of, unwrap
    from lightning_cam.explain.targets import ClassTarget

    model = unwrap(build_model(args.model)).eval()
    height, width = args.size or expected_input(args.model, model).size
    images = torch.randn(1, args.channels or channels_of(model), height, width)
    tried(model, images)
    candidates = candidate_layers(model, images, ClassTarget())
    chosen = choose_layer(candidates)
    shown = candidates if args.all else [c for c in candidates if not c.drawback or c is chosen]
    longest = max(len(candidate.name) for candidate in shown)
    for candidate in shown:
        mark = "auto ->" if candidate is chosen else ""
        notes = f"({candidate.drawback})" if candidate.drawback else ""
        name = f"{candidate.name:<{longest}}"
        say(f"{mark:<8}{name}  {candidate.kind:<20}  {candidate.layout}  {notes}".rstrip())
