"""`check_probe_names`: names of probes become parts of metrics' names and of file names."""

from __future__ import annotations

from collections.abc import Iterable

from lightning_cam.metrics.registry import GAP

LIGHTNINGS_OWN = "dataloader_idx_"  # Lightning refuses to log names with a part that starts so


def check_probe_names(names: Iterable[object]) -> None:
    """Check the names of the probes of one monitor.

    Raises:
        TypeError: a name that is no text.
        ValueError: no name, one that cannot be a part of a metric's name, or two that cannot be
            told apart.
    """
    given = list(names)
    if not given:
        raise ValueError("expected at least one probe, got an empty dict")
    for name in given:
        if not isinstance(name, str):
            raise TypeError(f"expected names of probes as text, got {name!r}")
        _check_text(name)
    texts = [str(name) for name in given]
    if len(texts) == 1:
        return  # then metrics have the tag alone before them
    if GAP in texts:
        raise ValueError(f"expected another name for probe {GAP!r}: {GAP}/ is the gap of probes")
    folded = [text.casefold() for text in texts]
    for text, fold in zip(texts, folded, strict=True):
        if folded.count(fold) > 1:
            raise ValueError(f"expected names that differ in more than their case, got {texts}")
        if any(other.startswith(f"{fold}/") for other in folded):
            raise ValueError(f"expected no name inside another one, got {text!r} in {texts}")


def check_loggable(kind: str, name: str) -> None:
    """Raise ValueError where Lightning refuses names of metrics that hold `name`."""
    if any(part.startswith(LIGHTNINGS_OWN) for part in name.split("/")):
        raise ValueError(f"expected a {kind} without {LIGHTNINGS_OWN!r}, got {name!r}")


def _check_text(name: str) -> None:
    if not name.isprintable() or not all(part.strip() for part in name.split("/")):
        raise ValueError(
            f"expected a name of a probe with letters, also between slashes, got {name!r}"
        )
    check_loggable("name of a probe", name)
