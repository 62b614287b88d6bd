"""Options that several commands share, and their types. Imports nothing heavy."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def size(text: str) -> tuple[int, int]:
    """Return height and width from `224` or `224x320`."""
    try:
        sides = [int(side) for side in text.lower().split("x")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise argparse.ArgumentTypeError(f"expected pixels such as 224 or 224x320, got {text!r}")
    return sides[0], sides[-1]


def numbers(text: str) -> tuple[float, ...]:
    """Return numbers separated by commas."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected numbers such as 0.485,0.456,0.406, got {text!r}"
        ) from None


def names(text: str) -> list[str]:
    """Return names separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def count(text: str) -> int:
    """Return an integer of 1 or more."""
    return _at_least(1, text)


def count_or_none(text: str) -> int:
    """Return an integer of 0 or more."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"expected an integer of {least} or more, got {text!r}")
    return value


def share(text: str) -> float:
    """Return a number between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, got {text!r}")
    return value


def layer_names(given: Sequence[Sequence[str]] | None) -> str | list[str | int]:
    """Return the value of `--layer`: names, globs and negative positions, or `auto`."""
    flat = [each for some in given or () for each in some]
    if not flat:
        return "auto"
    return [int(each) if each.startswith("-") and each[1:].isdigit() else each for each in flat]


def method_names(given: Sequence[Sequence[str]] | None) -> list[str]:
    """Return the value of `--method`, by default `gradcam`."""
    return [each for some in given or () for each in some] or ["gradcam"]


def add_map_options(parser: argparse.ArgumentParser) -> None:
    """Add `--method`, `--layer` and how maps are drawn."""
    maps = parser.add_argument_group("maps")
    maps.add_argument(
        "--method",
        action="append",
        type=names,
        metavar="M",
        help="one of lightning_cam.METHODS, or several: M,M or --method twice (default gradcam)",
    )
    maps.add_argument(
        "--layer",
        action="append",
        type=names,
        metavar="L",
        help="a layer's name or the end of it, a glob such as 'layer*', a position from the end "
        "(--layer=-1), or several (default: chosen, see `lightning-cam layers`)",
    )
    maps.add_argument("--colormap", default="turbo", help="default turbo")
    maps.add_argument(
        "--alpha", type=share, default=0.7, help="weight of the colours, 0 to 1 (default 0.7)"
    )


def add_monitor_options(parser: argparse.ArgumentParser) -> None:
    """Add what `CAMCallback` takes beside the maps' own options."""
    group = parser.add_argument_group("evaluation, as in CAMCallback")
    group.add_argument(
        "--callback",
        metavar="MODULE:NAME",
        help="take all of these options, the rules and the panels of this CAMCallback, or of the "
        "one that this function makes",
    )
    group.add_argument("--target", default="label", help="label, prediction, ... (default label)")
    group.add_argument(
        "--alert",
        action="append",
        type=rule_text,
        metavar="RULE",
        help="such as 'enrichment<0.8' or 'gap/enrichment>0.2'; may be repeated (default: "
        "CAMCallback's rules)",
    )
    group.add_argument(
        "--interventions-every",
        type=count_or_none,
        default=None,
        metavar="N",
        help="test by altered images at every n-th evaluation (default: the first five, the 10th, "
        "20th, 40th, ...)",
    )
    group.add_argument(
        "--num-pictures", type=count_or_none, default=16, metavar="N", help="default 16"
    )
    group.add_argument(
        "--panels", type=names, metavar="P,P", help="of --pictures (default: CAMCallback's)"
    )
    group.add_argument("--tag", default="cam", help="start of the metrics' names (default cam)")
    group.add_argument(
        "--probe-size", type=count, metavar="N", help="images to sample (default: CAMCallback's)"
    )
    group.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    group.add_argument(
        "--split", choices=("train", "val", "test"), default="val", help="of a datamodule"
    )
    group.add_argument("--masks", type=Path, metavar="DIR", help="laid out like a PROBE folder")
    group.add_argument("--classes", type=Path, metavar="FILE", help="class names, one per line")
    group.add_argument(
        "--estimate-masks", action="store_true", help="estimate masks where the probe has none"
    )


def monitor_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `CAMMonitor` that the command line gives."""
    from lightning_cam.monitor.rules import Threshold

    methods = method_names(args.method)
    rules = args.alert and [Threshold(metric, **limit) for metric, limit in args.alert]
    return {
        "method": methods[0] if len(methods) == 1 else methods,
        "layers": layer_names(args.layer),
        "target": int(args.target) if args.target.isdecimal() else args.target,
        "alerts": rules,
        "num_pictures": args.num_pictures,
        "panels": args.panels,
        "colormap": args.colormap,
        "alpha": args.alpha,
        "interventions_every": args.interventions_every,
        "estimate_masks": args.estimate_masks,
        "seed": args.seed,
        "tag": args.tag,
    }


def rule_text(text: str) -> tuple[str, dict[str, float]]:
    """Return the metric and the limit of a rule such as `enrichment<0.8`."""
    found = re.fullmatch(r"\s*([\w/@.+-]+?)\s*([<>])\s*(\S+)\s*", text)
    try:
        limit = float(found[3]) if found else math.nan
    except ValueError:
        limit = math.nan
    if found is None or not math.isfinite(limit):
        raise argparse.ArgumentTypeError(f"expected a rule such as 'enrichment<0.8', got {text!r}")
    return found[1], {"below" if found[2] == "<" else "above": limit}


def named_sources(given: Sequence[str]) -> dict[str, str]:
    """Return what `--probe` gives by name: `NAME=SOURCE`, or a single `SOURCE`.

    Raises:
        ValueError: several without names, or a name twice.
    """
    if len(given) == 1 and "=" not in given[0]:
        return {"val": given[0]}
    named = [each.partition("=") for each in given]
    names = [name for name, sign, _ in named if sign and name]
    if len(set(names)) < len(given):
        raise ValueError(
            f"expected several --probe as NAME=PROBE with different names, got {', '.join(given)}"
        )
    return {name: source for name, _, source in named}


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Add how images are prepared for the model."""
    images = parser.add_argument_group("images")
    images.add_argument(
        "--size",
        type=size,
        metavar="HxW",
        help="size they are resized to (default: what a torchvision or timm model expects, "
        "else 224)",
    )
    images.add_argument(
        "--fit",
        choices=("crop", "squash"),
        default="crop",
        help="crop: the largest central part of that shape (default); squash: all of it, distorted",
    )
    images.add_argument(
        "--mean",
        type=numbers,
        metavar="R,G,B",
        help="subtracted from pixels in 0 to 1 (default: the model's published one, else "
        "ImageNet's 0.485,0.456,0.406)",
    )
    images.add_argument(
        "--std", type=numbers, metavar="R,G,B", help="divided by (default: likewise)"
    )
    images.add_argument(
        "--channels", type=int, choices=(1, 3), help="1 for grey (default: the model's)"
    )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add how a checkpoint is read and where the model runs."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--num-classes", type=count, metavar="N", help="of a torchvision or timm model"
    )
    group.add_argument(
        "--partial",
        action="store_true",
        help="go on though the checkpoint lacks weights of the model",
    )
    group.add_argument(
        "--unsafe-load",
        action="store_true",
        help="also read checkpoints that hold Python objects, which can run code of the author of "
        "the file (default: weights only)",
    )
    group.add_argument("--device", help="such as cpu or cuda:0 (default: a GPU if there is one)")
