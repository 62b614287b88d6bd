"""A folder of images with a bright rectangle on dark noise, and its masks."""

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 24, 36
CLASSES = ("cat", "dog")


def area(number):
    """Return (24, 36) bool: the rectangle of an image."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    top, left = 2 + number, 4 + 2 * number
    mask[top : top + 10, left : left + 12] = True
    return mask


def pixels(number, label):
    """Return (24, 36, 3) uint8: noise below 90, the rectangle above 180."""
    noise = np.random.default_rng(10 * label + number).integers(0, 60, (HEIGHT, WIDTH, 3))
    noise[area(number)] += 190
    return noise.astype(np.uint8)


def photo_folder(folder, count=4, orientation=1):
    """Write `<class>/<number>.png` and return the folder.

    Args:
        folder: for them.
        count: of images per class.
        orientation: by EXIF; the pixels are stored as a camera that was held so stores them.
    """
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            picture = Image.fromarray(pixels(number, label))
            exif = Image.Exif()
            exif[0x0112] = orientation
            stored = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}
            if stored[orientation] is not None:
                picture = picture.transpose(stored[orientation])
            picture.save(folder / name / f"{number}.png", exif=exif)
    return folder


def outline(number):
    """Return x, y of the rectangle's corners."""
    y, x = np.nonzero(area(number))
    x1, y1, x2, y2 = (int(v) for v in (x.min(), y.min(), x.max() + 1, y.max() + 1))
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def coco_of(count=4, *, boxes=False, size=(HEIGHT, WIDTH), shape=outline):
    """Return the content of a COCO file for the folder."""
    images, annotations = [], []
    for label, name in enumerate(CLASSES):
        for number in range(count):
            key = len(images)
            image = {"id": key, "file_name": f"{name}/{number}.png"}
            images.append(image | {"height": size[0], "width": size[1]})
            x1, y1, x2, _, _, y2, *_ = shape(number)
            known = {"image_id": key, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            annotations.append(known if boxes else known | {"segmentation": [shape(number)]})
    categories = [{"id": label, "name": name} for label, name in enumerate(CLASSES)]
    return {"images": images, "annotations": annotations, "categories": categories}
