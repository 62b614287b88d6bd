"""`Probe`: images, labels, masks and names that stay the same through the whole training."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_cam.probe.columns import is_integer
from lightning_cam.probe.drawn_masks import DrawnMasks, fingerprints_of, read_masks
from lightning_cam.probe.probe_checks import (
    checked_box_labels,
    checked_boxes,
    checked_ids,
    checked_masks,
    checked_targets,
    own,
)
from lightning_cam.runtime.checks import as_mean_and_std, check_images

PROBE_SIZE = 32  # images, by default


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Probe:
    """A fixed batch of images to evaluate, checked and copied when it is made.

    Args:
        images: (B, C, H, W) floating point, exactly as the model is fed (normalised, resized), or
            integers such as uint8 where the model takes those; kept as floating point.
        targets: (B,) integer labels, the classes that are explained by default, or (B, K) labels of
            0 and 1, each positive one of which is explained; None where unknown.
        masks: (B, H, W) or (B, 1, H, W) bool, true on the object; metrics that compare maps with
            the object need them. uint8 of 0 and 1 is accepted too, and the path of the `masks.json`
            of `lightning-cam label`: images that are not in it get an empty mask.
        boxes: one (n, 4) tensor of `x1, y1, x2, y2` in pixels per image, or (B, 4); where there are
            no masks the boxes' area takes their place.
        box_labels: the classes of the boxes, one (n,) tensor per image; by default the image's.
        ids: a unique name per image; numbers by default.
        class_names: the name of each class, by index.
        mean: mean per channel that was subtracted from the images, for drawing them.
        std: standard deviation per channel that they were divided by.
        masks_estimated: whether the masks are estimated; alerts then say so. Boxes in place of
            masks always count as estimated.

    Attributes:
        integer_dtype: dtype of the model's input where that is an integer one, else None.

    Raises:
        ValueError: shapes, dtypes, lengths or ranges that do not fit together, or NaN in images.
        TypeError: anything but tensors where tensors are expected.
    """

    images: Tensor
    targets: Tensor | None
    masks: Tensor | None
    boxes: tuple[Tensor, ...] | None
    box_labels: tuple[Tensor, ...] | None
    ids: tuple[str, ...]
    class_names: tuple[str, ...] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    masks_estimated: bool
    integer_dtype: torch.dtype | None

    def __init__(
        self,
        images: Tensor,
        targets: Tensor | Sequence[int] | None = None,
        *,
        masks: Tensor | str | Path | None = None,
        boxes: Tensor | Sequence[Tensor] | None = None,
        box_labels: Sequence[Tensor] | None = None,
        ids: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        masks_estimated: bool = False,
    ) -> None:
        integer_dtype = None
        if isinstance(images, Tensor) and is_integer(images):
            integer_dtype, images = images.dtype, images.float()
            if integer_dtype == torch.uint8 and mean is None and std is None:
                mean, std = 0.0, 1 / 255
        check_images(images)
        if not bool(torch.isfinite(images).all()):
            bad = [i for i, image in enumerate(images) if not bool(torch.isfinite(image).all())]
            raise ValueError(f"expected finite probe images, got NaN or infinity in images {bad}")
        if isinstance(masks, (str, Path)):
            masks = read_masks(masks).of_images(images)
        count, channels = len(images), images.shape[1]
        if isinstance(class_names, str):
            raise TypeError(f"expected class_names as a list of names, got {class_names!r}")
        names = None if class_names is None else tuple(str(name) for name in class_names)
        fields: dict[str, Any] = {
            "images": own(images),
            "targets": checked_targets(targets, count, names),
            "masks": checked_masks(masks, images),
            "boxes": checked_boxes(boxes, images),
            "integer_dtype": integer_dtype,
            "ids": checked_ids(ids, count),
            "class_names": names,
        }
        fields["mean"], fields["std"] = as_mean_and_std(mean, std, channels)
        fields["box_labels"] = checked_box_labels(box_labels, fields["boxes"])
        fields["masks_estimated"] = fields["boxes"] is not None
        if fields["masks"] is not None:
            fields["masks_estimated"] = bool(masks_estimated)
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        known = [n for n in ("targets", "masks", "boxes") if getattr(self, n) is not None]
        extras = f" with {', '.join(known)}" if known else ""
        return (
            f"Probe({len(self)} images {tuple(self.images.shape[1:])}{extras}, {self.fingerprint})"
        )

    @property
    def multi_label(self) -> bool:
        """Whether images may have several labels each."""
        return self.targets is not None and self.targets.ndim == 2  # noqa: PLR2004

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with any pixel, label or mask."""
        digest = hashlib.sha256()
        for tensor in (self.images, self.targets, self.foreground):
            if tensor is None:
                digest.update(b"none")
            else:
                digest.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
                digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()[:12]

    @cached_property
    def image_fingerprints(self) -> tuple[str, ...]:
        """Sixteen hexadecimal digits per image that change with any of its pixels.

        An image has the same ones in any probe. They say which mask of a `masks.json` is whose.
        """
        return fingerprints_of(self.images)

    @cached_property
    def foreground(self) -> Tensor | None:
        """(B, H, W) bool, true on the objects: the masks, else the area of the boxes, else None."""
        if self.masks is not None or self.boxes is None:
            return self.masks
        height, width = self.images.shape[2:]
        y, x = torch.arange(height).view(1, -1, 1) + 0.5, torch.arange(width).view(1, 1, -1) + 0.5
        filled = []
        for boxes in self.boxes:
            x1, y1, x2, y2 = (side.view(-1, 1, 1) for side in boxes.float().cpu().unbind(1))
            filled.append(((x >= x1) & (x < x2) & (y >= y1) & (y < y2)).any(dim=0))
        return torch.stack(filled)

    def with_estimated_masks(self, seed: int = 0) -> Probe:
        """Return the same probe with masks by GrabCut, marked as estimated.

        Initialised with the boxes where there are any, else with all but the images' edges.
        Rother, Kolmogorov and Blake 2004. A probe that has masks is returned as it is.

        Args:
            seed: of the initialisation of the colour models.
        """
        from lightning_cam.probe.estimated_masks import grabcut_masks
        from lightning_cam.render import displayable

        if self.masks is not None:
            return self
        displayed = displayable(self.images.cpu(), self.mean, self.std)
        masks = grabcut_masks(displayed, self.boxes, seed)
        return self.replaced(masks=masks, masks_estimated=True)

    def with_drawn_masks(self, drawn: DrawnMasks) -> Probe:
        """Return the same probe with the masks that were drawn of its images.

        They replace its own masks. Images of which none was drawn keep theirs, or the area of their
        boxes, or get an empty mask. The masks count as estimated only where some of those that were
        kept do.

        Args:
            drawn: of a `masks.json`, of this probe's images and of others.
        """
        found = drawn.find(self.images)
        if not any(mask is not None for mask in found):
            return self
        kept = self.foreground
        empty = torch.zeros(self.images.shape[2:], dtype=torch.bool)
        others = [empty] * len(found) if kept is None else [each.cpu() for each in kept]
        masks = [other if mask is None else mask for mask, other in zip(found, others, strict=True)]
        estimated = self.masks_estimated and any(mask is None for mask in found)
        return self.replaced(masks=torch.stack(masks), masks_estimated=estimated)

    def replaced(self, **changes: Any) -> Probe:
        """Return the same probe with some of its arguments changed."""
        names = {each.name for each in dataclasses.fields(self)} - {"integer_dtype"}
        fields = {name: getattr(self, name) for name in names} | changes
        if "masks" not in changes and self.masks is None:
            fields.pop("masks_estimated")  # boxes say it by themselves
        if self.integer_dtype is not None and "images" not in changes:
            fields["images"] = self.images.to(self.integer_dtype)
        return Probe(**fields)

    def name_of(self, label: int) -> str:
        """Return a class's name, its index where it has none, and `?` for -1."""
        if self.class_names is not None and 0 <= label < len(self.class_names):
            return self.class_names[label]
        return str(label) if label >= 0 else "?"

    @classmethod
    def from_dataset(
        cls, dataset: Any, size: int = PROBE_SIZE, *, seed: int = 0, **known: Any
    ) -> Probe:
        """Sample a dataset, with as equal a number of samples per class as possible.

        The choice depends on `seed` alone, and the global random streams stay as they were. Labels,
        masks, boxes, class names, mean and std are taken from the dataset where it has them.

        Args:
            dataset: map-style or iterable; items hold an image and, if known, labels, a mask (a
                `tv_tensors.Mask` or the key `mask`) and boxes: see docs/your-data.md.
            size: largest number of images.
            seed: of the choice.
            **known: arguments of `Probe` in place of what the dataset holds.

        Raises:
            ValueError: the dataset is empty, or its items hold no images.
        """
        from lightning_cam.probe.build import ProbeContext
        from lightning_cam.probe.sampling import sample_dataset

        return cls(**sample_dataset(dataset, size, seed, ProbeContext(known=known)).values)

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        size: int = PROBE_SIZE,
        *,
        transform: Callable[[Any], Any] | None = None,
        annotations: str | Path | None = None,
        format: str | None = None,  # noqa: A002
        seed: int = 0,
        **known: Any,
    ) -> Probe:
        """Sample a folder of images, `<class>/<name>.jpg`, with masks or boxes of any tool.

        The choice is that of `from_dataset`. Images are turned upright by their EXIF orientation.
        Where annotations are given, only images with a region of their own class are taken.
        Polygons and masks become masks, boxes become boxes, and both together masks that count as
        estimated. docs/masks.md lists the formats.

        Args:
            folder: with a subfolder per class, as for torchvision's `ImageFolder`.
            size: largest number of images.
            transform: from PIL images to what the model is fed; masks and boxes follow it. By
                default images become floats in 0 to 1 of their own size.
            annotations: the file or folder that a tool exported, or a folder of masks,
                `<class>/<name>.png`.
            format: `coco`, `label_studio`, `cvat`, `voc`, `yolo` or `masks`; by default the one
                that fits.
            seed: of the choice.
            **known: arguments of `Probe` in place of what is found.

        Raises:
            ValueError: no folder with a subfolder of images per class, annotations that are damaged
                or of none of the images, or a transform that cannot be applied to masks.
            OSError: a file cannot be read.
        """
        from lightning_cam.probe.folder import sample_folder

        made = sample_folder(
            folder,
            size,
            seed,
            transform=transform,
            annotations=annotations,
            format=format,
            known=known,
        )
        return cls(**made.values)

    @classmethod
    def from_dataloader(
        cls, loader: Any, size: int = PROBE_SIZE, *, seed: int = 0, **known: Any
    ) -> Probe:
        """Sample a dataloader's dataset: see `from_dataset`.

        The loader's sampler and `collate_fn` are used, its iterator and workers are not. The hooks
        of a module or datamodule are applied by `CAMCallback` and `lightning-cam replay` only.
        """
        from lightning_cam.probe.build import ProbeContext
        from lightning_cam.probe.sampling import sample_loader

        return cls(**sample_loader(loader, size, seed, ProbeContext(known=known)).values)

    @classmethod
    def from_datamodule(
        cls,
        datamodule: Any,
        size: int = PROBE_SIZE,
        *,
        split: str = "val",
        seed: int = 0,
        **known: Any,
    ) -> Probe:
        """Sample a datamodule's `train`, `val`, `test` or `predict` dataloader.

        The datamodule must have been set up. Of several dataloaders the first is used.
        """
        from lightning_cam.probe.sampling import loader_of

        return cls.from_dataloader(loader_of(datamodule, split), size, seed=seed, **known)
