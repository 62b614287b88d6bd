"""`CAMResult`: raw maps and logits of one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CAMResult:
    """What `compute_cams` returns for B images.

    Attributes:
        maps: by `(method, layer)`, float32 (N, h, w) at the layer's own resolution, on the images'
            device, not normalised. N is B, unless the target explains several scores per image.
        logits: (B, K) float32, the model's logits; (B, 0) where its output holds none and the
            target is a function.
        classes: (N,) int64, the class that each map explains, -1 where the target names none.
        rows: (N,) int64, the image that each map belongs to.
    """

    maps: dict[tuple[str, str], Tensor]
    logits: Tensor
    classes: Tensor
    rows: Tensor

    def __getitem__(self, key: tuple[str, str]) -> Tensor:
        return self.maps[key]

    def cpu(self) -> CAMResult:
        """Return the same on the CPU, by one transfer: each would wait for the device."""
        parts = [*self.maps.values(), self.logits, self.classes, self.rows]
        there = [part for part in parts if part.device.type != "cpu"]
        copies = iter(copied_at_once(there) if there else ())
        *maps, logits, classes, rows = (
            part if part.device.type == "cpu" else next(copies) for part in parts
        )
        return CAMResult(dict(zip(self.maps, maps, strict=True)), logits, classes, rows)

    def drop_first(self, images: int, start: int = 0) -> CAMResult:
        """Return the result without its first images.

        Args:
            images: how many are left out.
            start: the number of the first image, since a part of a batch keeps the batch's numbers.
        """
        kept = self.rows >= start + images
        maps = {key: maps[kept] for key, maps in self.maps.items()}
        return CAMResult(maps, self.logits[images:], self.classes[kept], self.rows[kept])


def concatenate(results: Sequence[CAMResult]) -> CAMResult:
    """Return the results of consecutive parts of a batch as one."""
    if len(results) == 1:
        return results[0]
    return CAMResult(
        maps={key: torch.cat([each.maps[key] for each in results]) for key in results[0].maps},
        logits=torch.cat([each.logits for each in results]),
        classes=torch.cat([each.classes for each in results]),
        rows=torch.cat([each.rows for each in results]),
    )


def copied_at_once(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return copies on the CPU of tensors of one device, of any dtypes, by one transfer."""
    raw = [each.detach().contiguous().view(-1).view(torch.uint8) for each in tensors]
    copies = torch.split(torch.cat(raw).cpu(), [len(each) for each in raw])
    # Cloned, since within the whole a part need not begin where its dtype may.
    return [
        copy.clone().view(each.dtype).view(each.shape)
        for each, copy in zip(tensors, copies, strict=True)
    ]
