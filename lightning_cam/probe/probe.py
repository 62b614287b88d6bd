"""`Probe`: images, labels, masks and names that stay the same through the whole training."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lightning_cam.probe.columns import is_integer, plain
from lightning_cam.probe.regions import xyxy
from lightning_cam.runtime.checks import (
    as_class_indices,
    as_mean_and_std,
    as_multi_label,
    check_images,
)
from lightning_cam.runtime.messages import describe

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
            the object need them. uint8 of 0 and 1 is accepted too.
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
        masks: Tensor | None = None,
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
        count, channels = len(images), images.shape[1]
        if isinstance(class_names, str):
            raise TypeError(f"expected class_names as a list of names, got {class_names!r}")
        names = None if class_names is None else tuple(str(name) for name in class_names)
        fields: dict[str, Any] = {
            "images": _own(images),
            "targets": _checked_targets(targets, count, names),
            "masks": _checked_masks(masks, images),
            "boxes": _checked_boxes(boxes, images),
            "integer_dtype": integer_dtype,
            "ids": _checked_ids(ids, count),
            "class_names": names,
        }
        fields["mean"], fields["std"] = as_mean_and_std(mean, std, channels)
        fields["box_labels"] = _checked_box_labels(box_labels, fields["boxes"])
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


def _own(tensor: Tensor) -> Tensor:
    """Return a detached copy that nothing else writes to."""
    with torch.inference_mode(mode=False):
        return plain(tensor).detach().clone(memory_format=torch.contiguous_format)


def _checked_targets(
    targets: Tensor | Sequence[int] | None, count: int, names: tuple[str, ...] | None
) -> Tensor | None:
    if targets is None:
        return None
    values = torch.as_tensor(targets)
    if values.ndim == 2:  # noqa: PLR2004
        return _own(as_multi_label(values, count))
    values = as_class_indices(values, count)
    if names is not None and int(values.max()) >= len(names):
        raise ValueError(
            f"expected targets below {len(names)}, the number of class names, got "
            f"{int(values.max())}"
        )
    return _own(values)


def _checked_masks(masks: Tensor | None, images: Tensor) -> Tensor | None:
    if masks is None:
        return None
    if not isinstance(masks, Tensor):
        raise TypeError(f"expected masks as a tensor (B, H, W), got {describe(masks)}")
    count, _, height, width = images.shape
    if masks.ndim == 4 and masks.shape[1] == 1:  # noqa: PLR2004
        masks = masks[:, 0]
    if masks.shape != (count, height, width):
        raise ValueError(
            f"expected masks of the images' size, shape {(count, height, width)}, got "
            f"{describe(masks)}"
        )
    if masks.dtype == torch.uint8 and int(masks.max()) <= 1:
        masks = masks.bool()
    if masks.dtype != torch.bool:
        raise ValueError(f"expected boolean masks, true on the object, got {describe(masks)}")
    return _own(masks)


def _checked_boxes(
    boxes: Tensor | Sequence[Tensor] | None, images: Tensor
) -> tuple[Tensor, ...] | None:
    if boxes is None:
        return None
    if isinstance(boxes, Tensor) and boxes.ndim == 2:  # noqa: PLR2004
        boxes = boxes[:, None]
    count = len(images)
    if len(boxes) != count:
        raise ValueError(f"expected boxes for each of {count} images, got {len(boxes)}")
    corners = [xyxy(each) if isinstance(each, Tensor) else each for each in boxes]
    for i, each in enumerate(corners):
        if not isinstance(each, Tensor) or each.ndim != 2 or each.shape[1] != 4:  # noqa: PLR2004
            raise ValueError(f"expected boxes of shape (n, 4), got {describe(each)} for image {i}")
        if bool((each[:, 2:] < each[:, :2]).any()):
            raise ValueError(
                "expected boxes as x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, got "
                f"{each.tolist()} for image {i}"
            )
        if not bool(each.isfinite().all()):
            raise ValueError(f"expected finite boxes, got {each.tolist()} for image {i}")
    return tuple(_own(each) for each in corners)


def _checked_box_labels(
    labels: Sequence[Tensor] | None, boxes: tuple[Tensor, ...] | None
) -> tuple[Tensor, ...] | None:
    if labels is None:
        return None
    counts = [len(each) for each in boxes or ()]
    if [len(each) for each in labels] != counts:
        raise ValueError(
            f"expected a label for each box, {counts} per image, got "
            f"{[len(each) for each in labels]}"
        )
    return tuple(_own(torch.as_tensor(each, dtype=torch.long)) for each in labels)


def numbered(count: int) -> tuple[str, ...]:
    """Return the names of images that have none: numbers of two digits or more."""
    digits = max(2, len(str(count - 1)))
    return tuple(f"{i:0{digits}d}" for i in range(count))


def _checked_ids(ids: Iterable[str] | None, count: int) -> tuple[str, ...]:
    if ids is None:
        return numbered(count)
    names = tuple(str(i) for i in ids)
    if len(names) != count or len(set(names)) != count:
        raise ValueError(
            f"expected {count} different ids, got {len(set(names))} different of {len(names)}"
        )
    return names
