"""Where a probe comes from: a `Probe`, a dataset, a dataloader or a split of the trainer's data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from torch import Tensor

from lightning_cam.probe.probe import Probe

# Any: a dataset or a dataloader.
ProbeSource: TypeAlias = "Probe | Literal['train', 'val', 'test'] | Any"
_SPLITS = ("train", "val", "test")


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
        if isinstance(source, tuple) and all(isinstance(each, Tensor) for each in source):
            raise TypeError(
                f"expected probe {name!r} as a Probe, got a tuple of tensors. Wrap them: "
                "Probe(images, targets)."
            )
        if isinstance(source, str) and source not in _SPLITS:
            raise ValueError(f"expected probe 'train', 'val' or 'test', got {source!r}")
        known = isinstance(source, (str, Probe)) or hasattr(source, "__getitem__")
        if isinstance(source, Tensor) or not (known or hasattr(source, "__iter__")):
            raise TypeError(
                f"expected probe {name!r} as a Probe, a dataset, a dataloader, 'train', 'val' or "
                f"'test', got a {type(source).__name__}. Wrap tensors: Probe(images, targets)."
            )
    return sources


def sources_in(stage: str, sources: Mapping[str, ProbeSource]) -> dict[str, ProbeSource]:
    """Return what is evaluated at a stage.

    Args:
        stage: `fit`: all sources but the trainer's test data, or this where there is nothing else;
            `test`: sources that are not its training and validation data, else the test data.
        sources: by name.
    """
    own = {name: source if isinstance(source, str) else "" for name, source in sources.items()}
    if stage == "fit":
        return {name: sources[name] for name in own if own[name] != "test"} or dict(sources)
    there = {name: sources[name] for name in own if own[name] in ("", "test")}
    return there or {"test": "test"}
