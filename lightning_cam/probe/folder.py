"""`sample_folder`: the arguments of a probe of a folder of images, with annotations of any tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from lightning_cam.probe.annotations import (
    Box,
    ImageAnnotation,
    read_annotations,
    regions_by_image,
)
from lightning_cam.probe.annotations.regions import MaskFile
from lightning_cam.probe.build import ProbeArguments, ProbeContext
from lightning_cam.probe.choice import choose_balanced, shuffled
from lightning_cam.probe.paired_transform import Transform, follows_tensors, transform_pair
from lightning_cam.probe.sampling import sample_dataset
from lightning_cam.runtime.messages import unknown_name

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT = 1
_MIN_TURNED = 5  # orientations from this one on exchange height and width


@dataclass(frozen=True)
class FolderImage:
    """An image of a folder.

    Attributes:
        path: of the file.
        place: path in the folder, with `/`.
        label: number of its class.
        annotation: what was drawn on it, None where nothing was.
    """

    path: Path
    place: str
    label: int
    annotation: ImageAnnotation | None = None


def sample_folder(
    folder: str | Path,
    size: int,
    seed: int,
    *,
    transform: Transform | None,
    annotations: str | Path | None,
    format: str | None,  # noqa: A002
    known: Mapping[str, Any],
) -> ProbeArguments:
    """Return the arguments of a probe; see `Probe.from_folder`.

    Raises:
        ValueError: no folder with a subfolder of images per class, annotations that are damaged or
            of none of the images, or a transform that cannot be applied to masks.
        OSError: a file cannot be read.
    """
    folder = Path(folder)
    kept = None if annotations is None else Path(annotations)
    images, names = list_images(folder, known.get("class_names"), but=kept)
    known = {**known, "class_names": names}
    if kept is not None:
        found = regions_by_image(
            read_annotations(kept, format),
            [each.place for each in images],
            [names[each.label] for each in images],
        )
        images = [
            replace(image, annotation=annotation)
            for image, annotation in zip(images, found, strict=True)
            if annotation is not None
        ]
    dataset = FolderDataset(images, names, transform)
    _check_mask_files(dataset, size, seed)
    if dataset.kind == "mask" and dataset.has_boxes:
        known.setdefault("masks_estimated", True)
    made = sample_dataset(dataset, size, seed, ProbeContext(known=known))
    if "ids" not in known:
        ids = [images[index].place for index in made.indices]
        made = replace(made, values={**made.values, "ids": ids})
    return made


def list_images(
    folder: Path, class_names: Sequence[str] | None, *, but: Path | None = None
) -> tuple[list[FolderImage], list[str]]:
    """Return the images in the subfolders of a folder, and the names of the classes.

    Args:
        folder: with a subfolder per class, as for torchvision's `ImageFolder`.
        class_names: by number; by default the subfolders' names, sorted.
        but: a subfolder that is none.

    Raises:
        ValueError: no folder, no subfolders with images, or one that is no class.
    """
    from torchvision.datasets import ImageFolder
    from torchvision.datasets.folder import IMG_EXTENSIONS

    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    left_out = None if but is None else but.resolve()
    subfolders = [
        each.name
        for each in inside
        if each.is_dir() and each.name[0] != "." and each.resolve() != left_out
    ]
    names = list(class_names or subfolders)
    for name in subfolders:
        if name not in names:
            raise ValueError(unknown_name(f"class in {folder}", name, names, list_all=False))
    found = []
    if subfolders:
        numbers = {name: names.index(name) for name in subfolders}
        pairs = ImageFolder.make_dataset(folder, numbers, IMG_EXTENSIONS, allow_empty=True)
        found = [
            FolderImage(Path(path), Path(path).relative_to(folder).as_posix(), label)
            for path, label in pairs
        ]
    if not found:
        got = "a folder without" if folder.is_dir() else "no folder"
        raise ValueError(
            f"expected a folder with a subfolder of images per class, got {got}: {folder}"
        )
    return found, names


class FolderDataset(Dataset[dict[str, Any]]):
    """Images with their label, and with masks or boxes where they are annotated.

    Images are upright by their EXIF orientation, and RGB. Items are a dict with `image` (what the
    transform returns), `label`, and `mask` (h, w) bool or `boxes` (n, 4) of the same size.

    Args:
        images: of a folder; all or none are annotated.
        classes: their names.
        transform: of PIL images; None for tensors in 0 to 1 of the images' own size.

    Attributes:
        kind: of objects: `mask`, `boxes` or an empty string.
        has_boxes: whether some of them are known by a box only.
        targets: labels, by which samples are chosen before they are read.
    """

    def __init__(
        self, images: Sequence[FolderImage], classes: Sequence[str], transform: Transform | None
    ) -> None:
        self.images = images
        self.classes = list(classes)
        self.targets = [each.label for each in images]
        self.transform = _to_tensor() if transform is None else transform
        shapes = [r.shape for each in images if each.annotation for r in each.annotation.regions]
        boxes = [isinstance(shape, Box) for shape in shapes]
        self.has_boxes = any(boxes)
        self.kind = "" if not shapes else "mask"
        if shapes and all(boxes) and follows_tensors(self.transform):
            self.kind = "boxes"

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = self.images[index]
        picture, orientation = open_upright(image.path)
        item: dict[str, Any] = {"label": image.label}
        if image.annotation is None:
            return item | {"image": self.transform(picture)}
        if self.kind == "boxes":
            boxes = _boxes(image.annotation, picture)
            labels = torch.full((len(boxes),), image.label)  # before `label`, which is the image's
            both = self.transform({"image": picture, "boxes": boxes})
            return {"labels": labels, **item, **both}
        mask = draw(image.annotation, picture.height, picture.width, orientation)
        made, mask_after = transform_pair(self.transform, picture, mask)
        return item | {"image": made, "mask": mask_after}


def open_upright(path: Path) -> tuple[Picture, int]:
    """Return an image as RGB, turned by its EXIF orientation, and that orientation."""
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        orientation = int(opened.getexif().get(_ORIENTATION, _UPRIGHT))
        return ImageOps.exif_transpose(opened).convert("RGB"), orientation


def draw(
    annotation: ImageAnnotation, height: int, width: int, orientation: int = _UPRIGHT
) -> NDArray[np.bool_]:
    """Return the union of an annotation's regions, (height, width) bool.

    Args:
        annotation: of an image.
        height: of the upright image.
        width: of the upright image.
        orientation: by EXIF, of the image's file. Some tools do not turn images: where the
            annotation says another size than the upright image has, it is turned with the image.
    """
    lying = orientation >= _MIN_TURNED and height != width and annotation.extent == (width, height)
    size = (width, height) if lying else (height, width)
    found = np.zeros(size, dtype=bool)
    for region in annotation.regions:
        found |= region.shape.mask(*size, annotation.extent)
    return _turned(found, orientation) if lying else found


def _turned(mask: NDArray[np.bool_], orientation: int) -> NDArray[np.bool_]:
    """Return a mask as EXIF's orientations 5 to 8 turn an image."""
    if orientation in (5, 6):
        mask = mask.T if orientation == 5 else np.rot90(mask, -1)  # noqa: PLR2004
    else:
        mask = mask[::-1, ::-1].T if orientation == 7 else np.rot90(mask)  # noqa: PLR2004
    return np.ascontiguousarray(mask)


def _boxes(annotation: ImageAnnotation, picture: Picture) -> Any:
    from torchvision import tv_tensors

    height, width = annotation.extent
    to_pixels = torch.tensor([picture.width / width, picture.height / height] * 2)
    corners = [region.shape.corners for region in annotation.regions]  # type: ignore[attr-defined]
    return tv_tensors.BoundingBoxes(
        torch.tensor(corners, dtype=torch.float32) * to_pixels,
        format="XYXY",
        canvas_size=(picture.height, picture.width),
    )


def _to_tensor() -> Transform:
    from torchvision.transforms import v2

    made: Transform = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    return made


def _check_mask_files(dataset: FolderDataset, size: int, seed: int) -> None:
    """Raise where the mask file of a sample that will be chosen is damaged.

    When samples are read, damaged ones are replaced by others, as is right for images.
    """
    order = shuffled(len(dataset), seed)
    for index in choose_balanced(order, [dataset.targets[i] for i in order], size):
        annotation = dataset.images[index].annotation
        for region in annotation.regions if annotation is not None else ():
            if isinstance(region.shape, MaskFile):
                region.shape.mask(1, 1, annotation.extent)  # type: ignore[union-attr]
