"""When to ask the model by altered images: they cost more than a look."""

from __future__ import annotations

EARLY = 5


def asks(count: int, every: int) -> bool:
    """Tell whether interventions are due at a look.

    At each of the first looks, since a shortcut is learnt with the first rise of the accuracy, and
    at every n-th after that.

    Args:
        count: looks that came before.
        every: n; 0 for never.
    """
    return every > 0 and (count < EARLY or count % every == 0)
