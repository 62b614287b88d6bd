"""YOLO: a text file per image, a line per object, coordinates as shares of the image's sides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lightning_cam.probe.annotations.files import Source, read_text, reading
from lightning_cam.probe.annotations.regions import (
    ImageAnnotation,
    Region,
    Shape,
    box,
    coordinates,
    polygon,
)

TITLE = "YOLO"
_NAME_LISTS = ("classes.txt", "obj.names")
_BOX_NUMBERS = 4
_LEVELS_UP = 3  # from the labels to the folder with the names


def is_yolo(source: Source) -> bool:
    """Return whether it is a folder of text files, or a YAML file with the names of classes."""
    if source.path.is_file():
        return source.path.suffix.lower() in (".yaml", ".yml")
    return next(_label_files(source.path), None) is not None


def read_yolo(source: Source) -> list[ImageAnnotation]:
    """Return the annotations of each image: polygons, else boxes.

    Args:
        source: the folder of the labels or of the whole data set, with `data.yaml` or
            `classes.txt` in it or above it; or that YAML file.

    Raises:
        ValueError: no names of classes, or a line that is no object.
    """
    path = source.path
    folder, names = path, None
    if path.is_file():
        folder, names = path.parent, _names_of_yaml(path)
    labels = folder / "labels" if (folder / "labels").is_dir() else folder
    names = names or _find_names(labels)
    found = []
    for file in _label_files(labels):
        with reading(file, TITLE):
            lines = [line.split() for line in read_text(file).splitlines() if line.strip()]
            regions = tuple(_region(line, names) for line in lines)
        name = file.relative_to(labels).with_suffix("").as_posix()
        found.append(ImageAnnotation(name, regions))
    return found


def _label_files(folder: Path) -> Iterator[Path]:
    files = sorted(folder.rglob("*.txt")) if folder.is_dir() else []
    return (file for file in files if file.name not in _NAME_LISTS)


def _region(words: list[str], names: dict[int, str]) -> Region:
    number, *rest = words
    if int(number) not in names:
        raise ValueError(f"expected a class of {len(names)} names, got {number}")
    values = coordinates(rest)
    shape: Shape
    if len(values) == _BOX_NUMBERS:
        x, y, width, height = values
        shape = box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    else:
        shape = polygon(values)
    return Region(shape, names[int(number)])


def _find_names(labels: Path) -> dict[int, str]:
    folders = [labels, *labels.absolute().parents[:_LEVELS_UP]]
    for folder in folders:
        for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
            names = _names_of_yaml(file)
            if names:
                return names
        for name in _NAME_LISTS:
            if (folder / name).is_file():
                lines = read_text(folder / name).splitlines()
                return dict(enumerate(line.strip() for line in lines if line.strip()))
    raise ValueError(
        f"expected data.yaml with `names`, or classes.txt, in {labels} or above it, got none: YOLO "
        "numbers classes, and the names say which folder is which"
    )


def _names_of_yaml(path: Path) -> dict[int, str]:
    import yaml  # type: ignore[import-untyped]  # Lightning needs it too

    with reading(path, "YAML"):
        content = yaml.safe_load(read_text(path))
        names = content.get("names") if isinstance(content, dict) else None
        if isinstance(names, list):
            names = dict(enumerate(names))
        if not isinstance(names, dict):
            return {}
        return {int(number): str(name) for number, name in names.items()}
