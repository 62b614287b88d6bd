"""`DrawnMasks`: the masks that were drawn by hand, in `masks.json`, found by the images' pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_cam.probe.annotations.files import reading
from lightning_cam.probe.annotations.rasterize import check_runs, encode_runs, expand_runs
from lightning_cam.probe.annotations.regions import sized
from lightning_cam.runtime.files import write_atomic
from lightning_cam.runtime.messages import describe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT, VERSION = "lightning_cam masks", 1
_DIGITS = 16  # of a fingerprint


@dataclass(frozen=True)
class DrawnMask:
    """The mask of one image.

    Attributes:
        id: the image's name in the run in which it was drawn, for people.
        mask: (H, W) bool, true on the object, in the size in which it was drawn.
        shapes: what was drawn, for `lightning-cam label` to go on from.
    """

    id: str
    mask: NDArray[np.bool_]
    shapes: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class DrawnMasks:
    """Masks by the fingerprint of their image.

    Attributes:
        path: of their file.
        masks: by fingerprint.
    """

    path: Path
    masks: Mapping[str, DrawnMask] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.masks)

    def find(self, images: Tensor) -> list[Tensor | None]:
        """Return the mask of each image, None where none was drawn.

        Args:
            images: (B, C, H, W) as a probe holds them.

        Returns:
            (H, W) bool each, on the CPU.
        """
        height, width = images.shape[2:]
        drawn = [self.masks.get(fingerprint) for fingerprint in fingerprints_of(images)]
        return [
            None if each is None else torch.from_numpy(sized(each.mask, height, width).copy())
            for each in drawn
        ]

    def of_images(self, images: Tensor) -> Tensor:
        """Return the masks of images, (B, H, W) bool; empty ones where none was drawn.

        Raises:
            ValueError: none was drawn of any of them.
        """
        found = self.find(images)
        if all(mask is None for mask in found):
            raise ValueError(self.no_match(len(images)))
        empty = torch.zeros(images.shape[2:], dtype=torch.bool)
        return torch.stack([empty if mask is None else mask for mask in found])

    def no_match(self, count: int) -> str:
        """Return the message for masks of which none is of a probe's image.

        Args:
            count: number of the probe's images.
        """
        return (
            f"expected masks of the probe's {count} images, got {len(self)} of other ones in "
            f"{self.path}. Images are found by their pixels, as the model is fed them: data, seed, "
            "probe_size and transforms must be those of the run that was labelled. Label a run "
            "made with the present ones: lightning-cam label RUN"
        )


def fingerprints_of(images: Tensor) -> tuple[str, ...]:
    """Return sixteen hexadecimal digits per image, see `Probe.image_fingerprints`.

    Args:
        images: (B, C, H, W).
    """
    exact = images.detach().cpu().float().contiguous() + 0.0  # -0.0 and 0.0 are equal
    start = f"{tuple(exact.shape[1:])}".encode()
    return tuple(
        hashlib.sha256(start + image.numpy().tobytes()).hexdigest()[:_DIGITS] for image in exact
    )


def read_masks(path: str | Path) -> DrawnMasks:
    """Return the masks in a `masks.json` that `write_masks` wrote.

    Raises:
        ValueError: a damaged file, one of another kind, or of a newer version.
        OSError: there is no such file, or it cannot be read.
    """
    path = Path(path)
    data = path.read_bytes()
    with reading(path, "masks.json"):
        try:
            content = json.loads(data)
        except RecursionError as error:
            raise ValueError("expected JSON, got lists nested thousands deep") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(
                "expected the file that `lightning-cam label` writes, got another one. What other "
                "tools export is read by Probe.from_folder(folder, annotations=...)"
            )
        if content["version"] != VERSION:
            raise ValueError(
                f"expected version {VERSION}, got {content['version']!r:.20}, of a newer "
                "lightning_cam"
            )
        return DrawnMasks(path, dict(_mask_of(each) for each in content["masks"]))


def _mask_of(entry: Mapping[str, Any]) -> tuple[str, DrawnMask]:
    height, width = entry["size"]
    mask = expand_runs(check_runs(entry["counts"], height, width), height, width)
    shapes = entry["shapes"]
    if not isinstance(shapes, list) or not all(isinstance(each, dict) for each in shapes):
        raise ValueError(f"expected shapes as a list of objects, got {describe(shapes)}")
    return str(entry["image"]), DrawnMask(str(entry["id"]), mask, tuple(shapes))


def write_masks(drawn: DrawnMasks) -> None:
    """Write masks into their file, whole or not at all.

    `masks` in it has for each image: `image`, its fingerprint; `id`; `size`, height and width;
    `counts`, the mask as run lengths of background and object in turns, column by column, as in
    COCO; and `shapes`, what was drawn.

    Raises:
        OSError: the file cannot be written.
    """
    masks = [
        {
            "image": fingerprint,
            "id": each.id,
            "size": list(each.mask.shape),
            "counts": encode_runs(each.mask),
            "shapes": list(each.shapes),
        }
        for fingerprint, each in drawn.masks.items()
    ]
    content = {"format": FORMAT, "version": VERSION, "masks": masks}
    # A name from a file system may hold half a character, which ASCII keeps.
    write_atomic(drawn.path, json.dumps(content, separators=(",", ":")).encode("ascii"))
