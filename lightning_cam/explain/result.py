"""`CAMResult`: raw maps and logits of one batch, and what is needed to draw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lightning_cam.explain.drawable import DrawableMaps
from lightning_cam.runtime.messages import unknown_name

_MAX_LISTED = 4  # maps in the short form


@dataclass(frozen=True, repr=False)
class CAMResult(DrawableMaps):
    """What `compute_cams` returns for B images.

    Attributes:
        maps: by `(method, layer)`, float32 (N, h, w) at the layer's own resolution, on the images'
            device, not normalised. N is B, unless the target explains several scores per image.
        logits: (B, K) float32, the model's logits; (B, 0) where its output holds none and the
            target is a function.
        classes: (N,) int64, the class that each map explains, -1 where the target names none.
        rows: (N,) int64, the image that each map belongs to.
        first: the number of the first image, where these are a part of a batch, in which `rows`
            count.
        images: (B, C, H, W) as the model was fed them, not copied; None where they are not kept,
            and the maps cannot be drawn.
        ids: a name per image, of its file where it came from one; empty for numbers.
        class_names: by index; None where unknown.
        mean: per channel, that was subtracted from pixels in 0 to 1; None where unknown.
        std: per channel, that they were divided by; None where unknown. Then images with values
            outside of 0 to 1 are drawn from their smallest to their largest value.
        multi_label: whether an image may have several labels: a probability for each.
    """

    maps: dict[tuple[str, str], Tensor]
    logits: Tensor
    classes: Tensor
    rows: Tensor
    first: int = 0
    images: Tensor | None = None
    ids: tuple[str, ...] = field(default=(), kw_only=True)
    class_names: tuple[str, ...] | None = field(default=None, kw_only=True)
    mean: tuple[float, ...] | None = field(default=None, kw_only=True)
    std: tuple[float, ...] | None = field(default=None, kw_only=True)
    multi_label: bool = field(default=False, kw_only=True)

    def __getitem__(self, key: str | tuple[str, str]) -> Tensor:
        """Return the maps (N, h, w) of a method and layer, or of a method that has one layer.

        Raises:
            KeyError: there are none, or those of several layers.
        """
        if key in self.maps:
            return self.maps[key]
        if not isinstance(key, str) and not (isinstance(key, tuple) and len(key) == 2):  # noqa: PLR2004
            raise _UnknownMapError(f"expected a method, or a method and a layer, got {key!r}")
        found = self.keys_of(key) if isinstance(key, str) else self.keys_of(*key)
        if len(found) > 1:
            layers = ", ".join(repr(layer) for _, layer in found)
            raise _UnknownMapError(
                f"expected a method and a layer, as {key!r} has maps at {len(found)} layers: "
                f"({key!r}, layer) with one of {layers}"
            )
        return self.maps[found[0]]

    def __repr__(self) -> str:
        sizes = [f"{m}@{at} {'×'.join(map(str, v.shape[1:]))}" for (m, at), v in self.maps.items()]
        more = len(sizes) - _MAX_LISTED
        listed = ", ".join(sizes[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
        images, maps = len(self.logits), len(self.rows)
        count = f"{images} image{'s' * (images != 1)}"
        several = "" if images == maps else f" with {maps} maps"
        return f"CAMResult({count}{several}: {listed})"

    def keys_of(self, method: object = None, layer: object = None) -> list[tuple[str, str]]:
        """Return the keys of `maps` of a method, a layer or both.

        Raises:
            KeyError: there are none; the message names near misses.
        """
        methods = dict.fromkeys(name for name, _ in self.maps)
        if method is not None and method not in methods:
            raise _UnknownMapError(unknown_name("method among these maps", method, methods))
        keys = [key for key in self.maps if method in (None, key[0])]
        layers = dict.fromkeys(name for _, name in keys)
        if layer is not None and layer not in layers:
            raise _UnknownMapError(unknown_name("layer among these maps", layer, layers))
        return [key for key in keys if layer in (None, key[1])]

    # --- parts ------------------------------------------------------------------------------------

    def cpu(self) -> CAMResult:
        """Return the same on the CPU, by one transfer: each would wait for the device."""
        kept = [] if self.images is None else [self.images]
        parts = [*self.maps.values(), self.logits, self.classes, self.rows, *kept]
        there = [part for part in parts if part.device.type != "cpu"]
        copies = iter(copied_at_once(there) if there else ())
        done = [part if part.device.type == "cpu" else next(copies) for part in parts]
        maps = dict(zip(self.maps, done, strict=False))
        logits, classes, rows, *images = done[len(maps) :]
        moved = images[0] if images else None
        return replace(self, maps=maps, logits=logits, classes=classes, rows=rows, images=moved)

    def drop_first(self, images: int) -> CAMResult:
        """Return the result without its first images; the others keep their numbers."""
        kept = self.rows >= self.first + images
        return replace(
            self,
            maps={key: maps[kept] for key, maps in self.maps.items()},
            logits=self.logits[images:],
            classes=self.classes[kept],
            rows=self.rows[kept],
            first=self.first + images,
            images=None if self.images is None else self.images[images:],
            ids=self.ids[images:],
        )

    def without_images(self) -> CAMResult:
        """Return the result without the images, as it is sent between processes."""
        return replace(self, images=None, ids=())


class _UnknownMapError(KeyError):
    """A `KeyError` whose message is printed as it is, without quotes around it."""

    def __str__(self) -> str:
        return str(self.args[0])


def concatenate(results: Sequence[CAMResult]) -> CAMResult:
    """Return the results of consecutive parts of a batch as one."""
    if len(results) == 1:
        return results[0]
    images = [each.images for each in results if each.images is not None]
    return replace(
        results[0],
        maps={key: torch.cat([each.maps[key] for each in results]) for key in results[0].maps},
        logits=torch.cat([each.logits for each in results]),
        classes=torch.cat([each.classes for each in results]),
        rows=torch.cat([each.rows for each in results]),
        images=torch.cat(images) if len(images) == len(results) else None,
        ids=tuple(name for each in results for name in each.ids),
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
