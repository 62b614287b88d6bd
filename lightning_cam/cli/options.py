"""What options may say, and those that several commands share. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def size(text: str) -> tuple[int, int]:
    """Return height and width from `224` or `224x320`."""
    try:
        sides = [int(side) for side in text.lower().split("x")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise argparse.ArgumentTypeError(f"expected pixels such as 224 or 224x320, came {text!r}")
    return sides[0], sides[-1]


def numbers(text: str) -> tuple[float, ...]:
    """Return numbers separated by commas."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected numbers such as 0.485,0.456,0.406, came {text!r}"
        ) from None


def words(text: str) -> list[str]:
    """Return words separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def count(text: str) -> int:
    """Return a whole number of 1 or more."""
    return _at_least(1, text)


def count_or_none(text: str) -> int:
    """Return a whole number of 0 or more."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(
            f"expected a whole number of {least} or more, came {text!r}"
        )
    return value


def share(text: str) -> float:
    """Return a number between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, came {text!r}")
    return value


def layer_names(given: Sequence[Sequence[str]] | None) -> str | list[str | int]:
    """Return what `--layer` says: names, globs and negative positions, or `auto`."""
    flat = [each for some in given or () for each in some]
    if not flat:
        return "auto"
    return [int(each) if each.startswith("-") and each[1:].isdigit() else each for each in flat]


def method_names(given: Sequence[Sequence[str]] | None) -> list[str]:
    """Return what `--method` says, `gradcam` by default."""
    return [each for some in given or () for each in some] or ["gradcam"]


def add_map_options(parser: argparse.ArgumentParser) -> None:
    """Add `--method`, `--layer` and the look of the heat."""
    maps = parser.add_argument_group("maps")
    maps.add_argument(
        "--method",
        action="append",
        type=words,
        metavar="M",
        help="one of lightning_cam.METHODS, or several: M,M or --method twice (default gradcam)",
    )
    maps.add_argument(
        "--layer",
        action="append",
        type=words,
        metavar="L",
        help="a layer's name or the end of it, a glob such as 'layer*', a position from the end "
        "(--layer=-1), or several (default: chosen, see `lightning-cam layers`)",
    )
    maps.add_argument("--colormap", default="turbo", help="default turbo")
    maps.add_argument(
        "--alpha", type=share, default=0.7, help="weight of the colours, 0 to 1 (default 0.7)"
    )


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Add what says how images are made ready for the model."""
    images = parser.add_argument_group("images")
    images.add_argument(
        "--size",
        type=size,
        metavar="HxW",
        help="what they are resized to (default: what a torchvision or timm model expects, else "
        "224)",
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
    """Add what says how a checkpoint is read and where the model runs."""
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
        help="read checkpoints that hold Python objects too, which can run code of whoever wrote "
        "the file (default: weights only)",
    )
    group.add_argument("--device", help="such as cpu or cuda:0 (default: a GPU if there is one)")
