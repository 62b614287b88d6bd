"""`PANELS`: the images that are drawn of an evaluation. A new one is a function and a decorator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from lightning_cam.output.panels.scene import Scene
    from lightning_cam.output.picture import Picture

Draw: TypeAlias = "Callable[[Scene], list[Picture]]"


@dataclass(frozen=True)
class Panel:
    """A kind of image.

    Attributes:
        name: the word users write in `CAMCallback(panels=[...])`.
        draw: takes a `Scene`, returns its images; an empty list where there is nothing to show.
        default: whether it is drawn where the user names no panels.
        slow: whether it needs passes of its own, made every `slow_panels_every` evaluations.
    """

    name: str
    draw: Draw
    default: bool = False
    slow: bool = False


PANELS: dict[str, Panel] = {}


def register_panel(
    name: str, *, default: bool = False, slow: bool = False
) -> Callable[[Draw], Draw]:
    """Return a decorator that adds a function of a `Scene` to `PANELS`: see `Panel`."""

    def register(draw: Draw) -> Draw:
        PANELS[name] = Panel(name, draw, default, slow)
        return draw

    return register
