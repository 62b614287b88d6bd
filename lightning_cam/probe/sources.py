"""Where a probe comes from: a `Probe`, a dataset, a dataloader or a split of the trainer's data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from torch import Tensor

from lightning_cam.probe.probe import Probe

# Any: a dataset or a dataloader.
ProbeSource: TypeAlias = "Probe | Literal['train', 'val'] | Any"
_SPLITS = ("train", "val")


def check_sources(probe: Any) -> dict[str, ProbeSource]:
    """Return the sources of probes by name, checked as far as possible without data.

    Args:
        probe: a source, a mapping of them by name, or None for the validation data.

    Raises:
        ValueError: an empty mapping, or an unknown split.
        TypeError: no source.
    """
    if isinstance(probe, Mapping):
        sources = dict(probe)
    else:
        sources = {"val": "val" if probe is None else probe}
    if not sources:
        raise ValueError("expected at least one probe, got an empty dict")
    for name, source in sources.items():
        if isinstance(source, str) and source not in _SPLITS:
            raise ValueError(f"expected probe 'train' or 'val', got {source!r}")
        known = isinstance(source, (str, Probe)) or hasattr(source, "__getitem__")
        if isinstance(source, Tensor) or not (known or hasattr(source, "__iter__")):
            raise TypeError(
                f"expected probe {name!r} as a Probe, a dataset, a dataloader, 'train' or 'val', "
                f"got a {type(source).__name__}. Wrap tensors: Probe(images, targets)."
            )
    return sources
