"""From image files, arrays and PIL images of any kind to upright images of 8 bits or of floats."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from lightning_cam.runtime.messages import describe

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm",
)  # fmt: skip
MAX_8_BIT = 255.0
_MAX_16_BIT = 65535.0
_FLAT_NDIM, _COLOR_NDIM = 2, 3


def read_image(file: str | Path, *, whole: bool = True) -> Picture:
    """Return an image, rotated by its EXIF orientation; only its header unless `whole`.

    Raises:
        ValueError: the file is no image, or cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as picture:
            return upright(picture, str(file)) if whole else picture
    except UnidentifiedImageError as error:
        raise ValueError(f"expected an image, got {file}, which is not one") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot read the image {file}: {error}") from error


def upright(picture: Picture, name: str) -> Picture:
    """Return a PIL image as a copy, rotated by its EXIF orientation.

    Raises:
        ValueError: its file cannot be read; names it.
    """
    from PIL import Image, ImageOps

    try:
        turned = ImageOps.exif_transpose(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot read the image {name}: {error}") from error
    return turned


def check_image(image: object, name: str) -> None:
    """Raise unless something is a path, a PIL image or an array that `picture_of` takes.

    Args:
        image: whatever the user gave.
        name: of the image in messages.

    Raises:
        ValueError: an array of another shape or dtype.
        TypeError: anything else.
    """
    import numpy as np

    if is_path(image) or is_pil(image):
        return
    if not hasattr(image, "__array_interface__"):
        raise TypeError(
            f"expected a PIL image, a path or an array (H, W, 3) as {name}, got {describe(image)}"
        )
    pixels = _without_axis(np.asarray(image))
    flat = pixels.ndim == _FLAT_NDIM and pixels.dtype.kind in "uif"
    colored = pixels.ndim == _COLOR_NDIM and pixels.shape[2] in (3, 4) and pixels.dtype == np.uint8
    if not pixels.size or not (flat or colored):
        raise ValueError(
            f"expected an array (H, W, 3) uint8, or (H, W), as {name}, got {describe(image)}. "
            "Floats from 0 to 1: (array * 255).round().astype('uint8'); channels first: "
            "array.transpose(1, 2, 0); images as the model is fed them: one tensor (B, C, H, W)."
        )


def picture_of(image: Any, name: str) -> Picture:
    """Return a PIL image, a file or an array as an upright PIL image of whatever mode.

    Args:
        image: what `check_image` passes: a PIL image, the path of a file, or an array, (H, W), or
            (H, W, 3) or (H, W, 4) uint8 in the order red, green, blue.
        name: of the image in messages.

    Raises:
        ValueError: a path without a file, or a file that is no image.
    """
    if is_path(image):
        path = Path(image)
        if path.is_dir():
            raise ValueError(
                f"expected image files, got the folder {path}: give its files, such as "
                f"sorted(Path({str(path)!r}).glob('*.jpg'))"
            )
        if not path.is_file():
            raise ValueError(f"expected an image file, got {path}: no such file")
        return read_image(path)
    return upright(image, name) if is_pil(image) else _of_array(image)


def is_pil(image: object) -> TypeGuard[Picture]:
    """Return whether something is a PIL image."""
    from PIL import Image

    return isinstance(image, Image.Image)


def is_path(image: object) -> TypeGuard[str | os.PathLike[str]]:
    """Return whether something is the path of a file."""
    return isinstance(image, (str, os.PathLike))


def _of_array(array: Any) -> Picture:
    import numpy as np
    from PIL import Image

    pixels = _without_axis(np.asarray(array))
    if pixels.dtype != np.uint8:
        pixels = pixels.astype(np.float32 if pixels.dtype.kind == "f" else np.int32)
    return Image.fromarray(np.ascontiguousarray(pixels))


def _without_axis(pixels: Any) -> Any:
    """Return (H, W) for (H, W, 1)."""
    single = pixels.ndim == _COLOR_NDIM and pixels.shape[2] == 1
    return pixels[:, :, 0] if single else pixels


def as_8_bit(picture: Picture, channels: int, name: str) -> Picture:
    """Return a PIL image in grey (mode L) or in colour (RGB), 8 bits per channel.

    Palettes are resolved, an alpha channel is dropped as torchvision's data sets do it, and deep
    images are scaled as `white_of` says.

    Args:
        picture: of any mode.
        channels: 1 for grey, else 3.
        name: of the image in messages.
    """
    import numpy as np
    from PIL import Image

    kind = "L" if channels == 1 else "RGB"
    if is_deep(picture):
        white = white_of(picture, name)
        scaled = np.asarray(picture, dtype=np.float64) * (MAX_8_BIT / white)
        picture = Image.fromarray(scaled.round().clip(0, MAX_8_BIT).astype(np.uint8))
    return converted(picture, kind)


def converted(picture: Picture, kind: str) -> Picture:
    """Return a PIL image in another mode."""
    if "transparency" in picture.info:  # in a palette; Pillow warns where it is dropped at once
        picture = picture.convert("RGBA")
    return picture.convert(kind)


def is_deep(picture: Picture) -> bool:
    """Return whether pixels are whole numbers of 16 or 32 bits, or floats."""
    return bool(picture.mode[0] in "IF")


def white_of(picture: Picture, name: str | Path) -> float:
    """Return the value of white in a deep image, see `is_deep`.

    Whole numbers are of 16 bits. Floats are in 0 to 1, or whole numbers of 8 or 16 bits that were
    saved as floats; of another range nothing says which value is white.

    Raises:
        ValueError: pixels that are not finite, or of another range.
    """
    import numpy as np

    pixels = np.asarray(picture)
    check_finite(pixels, name)
    low, high = float(pixels.min()), float(pixels.max())
    floats = picture.mode == "F"
    whole = not floats or bool((pixels == pixels.round()).all())
    if floats and low >= 0 and high <= 1:
        return 1.0
    if low < 0 or high > _MAX_16_BIT or not whole:
        raise ValueError(
            f"expected floats from 0 to 1, or whole numbers of 8 or 16 bits, got pixels from "
            f"{low:g} to {high:g} in {name}. Scale them, or save them as 8 or 16 bits."
        )
    return MAX_8_BIT if floats and high <= MAX_8_BIT else _MAX_16_BIT


def check_finite(pixels: Any, name: str | Path) -> None:
    """Raise ValueError where pixels are NaN or infinite."""
    import numpy as np

    wrong = pixels.size - int(np.isfinite(pixels).sum())
    if wrong:
        raise ValueError(
            f"expected finite pixels, got {wrong} of {pixels.size} that are NaN or infinite in "
            f"{name}"
        )
