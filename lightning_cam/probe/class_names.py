"""`find_class_names`: the names of the classes, wherever data sets and models keep them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import Dataset

_LISTS = ("classes", "class_names", "categories", "label_names", "labels_names", "CLASSES")
_NUMBERS_OF_NAMES = ("class_to_idx", "label2id", "label_to_idx", "cat_to_idx")
_NAMES_OF_NUMBERS = ("id2label", "idx_to_class", "idx_to_label", "label_map")
_INNER = ("dataset", "datasets", "reader", "parser", "config", "hparams")  # timm's, Hugging Face's
_MAX_DEPTH = 4
IMAGENET_CLASSES = 1000


def find_class_names(holder: Any, highest: int = -1) -> tuple[list[str], str] | None:
    """Return the names of the classes, by index, and where they are, or None.

    Takes lists of text (`classes`, `class_names`, ...), `class_to_idx` and `id2label` of the object
    itself, then of the data set, reader or configuration that it holds, and the `ClassLabel` of a
    Hugging Face data set's features.

    Args:
        holder: a data set, a datamodule or a model.
        highest: the highest label; fewer names are passed over.
    """
    return _search(holder, highest, type(holder).__name__, 0)


def _search(holder: Any, highest: int, place: str, depth: int) -> tuple[list[str], str] | None:
    if holder is None or depth > _MAX_DEPTH:
        return None
    for names, attribute in _names_on(holder):
        if names and len(names) > highest:
            return names, f"{place}.{attribute}"
    for attribute in _INNER:
        inner = _get(holder, attribute)
        if attribute == "datasets" and isinstance(inner, (list, tuple)):
            inner = inner[0] if inner else None
        found = _search(inner, highest, f"{place}.{attribute}", depth + 1)
        if found is not None:
            return found
    for attribute, inner in wrapped_datasets(holder).items():
        found = _search(inner, highest, f"{place}.{attribute}", depth + 1)
        if found is not None:
            return found
    return None


def wrapped_datasets(holder: Any) -> dict[str, Any]:
    """Return the data sets that a data set wraps, by whatever name it calls them."""
    if not isinstance(holder, Dataset):
        return {}
    return {name: each for name, each in vars(holder).items() if isinstance(each, Dataset)}


def _names_on(holder: Any) -> list[tuple[list[str], str]]:
    found: list[tuple[list[str], str]] = []
    for attribute in _LISTS:
        values = _get(holder, attribute)
        if isinstance(values, Sequence) and not isinstance(values, str) and _are_names(values):
            found.append(([str(name) for name in values], attribute))
    for attribute in _NUMBERS_OF_NAMES:
        numbers = _get(holder, attribute)
        if isinstance(numbers, Mapping):
            found.append((_by_number({v: k for k, v in numbers.items()}), attribute))
    for attribute in _NAMES_OF_NUMBERS:
        names = _get(holder, attribute)
        if isinstance(names, Mapping):
            found.append((_by_number(names), attribute))
    features = _get(holder, "features")
    if isinstance(features, Mapping):
        listed = [getattr(each, "names", None) for each in features.values()]
        found += [(list(map(str, each)), "features") for each in listed if each]
    return found


def _are_names(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(value, (str, int)) for value in values)


def _by_number(names: Mapping[Any, Any]) -> list[str]:
    """Return names in the order of their numbers; an empty list where these are not 0, 1, 2, ..."""
    try:
        numbered = {int(number): str(name) for number, name in names.items()}
    except (TypeError, ValueError):
        return []
    complete = sorted(numbered) == list(range(len(numbered)))
    return [numbered[number] for number in range(len(numbered))] if complete else []


def _get(holder: Any, attribute: str) -> Any:
    if isinstance(holder, Mapping):
        return holder.get(attribute)
    try:
        return getattr(holder, attribute, None)
    except Exception:  # noqa: BLE001 - a property of the user's may raise anything
        return None


def imagenet_names() -> tuple[str, ...]:
    """Return the names of the 1000 classes of ImageNet, as torchvision's weights have them."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])


def class_names_of_model(model: Any) -> tuple[str, ...] | None:
    """Return the names of a model's classes, by index, or None.

    Those that it or its configuration holds, see `find_class_names`; of a timm model with the 1000
    classes of its published weights those of ImageNet.
    """
    found = find_class_names(model)
    if found is not None:
        return tuple(found[0])
    published = _get(model, "pretrained_cfg")
    counts = {_get(model, "num_classes"), _get(published, "num_classes")} if published else set()
    return imagenet_names() if counts == {IMAGENET_CLASSES} else None
