"""`ProbeMasks`: the masks that options give probes: drawn by hand, else estimated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_cam.probe.drawn_masks import read_masks
from lightning_cam.probe.origin import ProbeOrigin

if TYPE_CHECKING:
    from lightning_cam.monitor.config import MonitorConfig
    from lightning_cam.probe import Probe


class ProbeMasks:
    """Gives probes the masks of `MonitorConfig.masks`, and estimates the others if wanted.

    Args:
        config: of the monitor.

    Attributes:
        required: whether one probe at least must have images of the file.
    """

    def __init__(self, config: MonitorConfig) -> None:
        self._drawn = None if config.masks is None else read_masks(config.masks)
        self._estimates, self._seed = config.estimate_masks, config.seed
        self._found: dict[str, tuple[int, int]] = {}  # by probe: masks in the file, images
        self.required = True

    def add_to(
        self, name: str, probe: Probe, origin: ProbeOrigin | None
    ) -> tuple[Probe, ProbeOrigin | None]:
        """Return a probe with masks, and what to say about them.

        Args:
            name: of the probe.
            probe: with or without masks.
            origin: how it was made.
        """
        count = 0
        if self._drawn is not None:
            count = sum(each in self._drawn.masks for each in probe.image_fingerprints)
            self._found[name] = count, len(probe)
        if self._estimates and count < len(probe):
            probe = probe.with_estimated_masks(self._seed)
        if self._drawn is None:
            return probe, origin
        origin = origin or ProbeOrigin()
        before = origin.facts.get("masks", "none")
        fact = f"{self._drawn.path}, {count} of {len(probe)} images"
        fact += "" if before == "none" else f"; else {before}"
        return probe.with_drawn_masks(self._drawn), origin.with_facts({"masks": fact})

    def problem(self) -> str:
        """Return why the file is of no use: it has no image of any probe; else an empty string."""
        if self._drawn is None or not self.required or not self._found:
            return ""
        counts, images = zip(*self._found.values(), strict=True)
        return "" if any(counts) else self._drawn.no_match(sum(images))
