"""`find_class_names`: lists, dicts and features, on the data, its reader or the model."""

from types import SimpleNamespace

import pytest
from torch.utils.data import ConcatDataset, Subset

from lightning_cam.probe.class_names import find_class_names

NAMES = ["cat", "dog"]


class Data(list):
    """A data set with attributes."""

    def __init__(self, **attributes):
        super().__init__(range(4))
        self.__dict__.update(attributes)


@pytest.mark.parametrize(
    ("holder", "place"),
    [
        (Data(classes=NAMES), "Data.classes"),
        (Data(class_names=tuple(NAMES)), "Data.class_names"),
        (Data(class_to_idx={"dog": 1, "cat": 0}), "Data.class_to_idx"),
        (Data(id2label={"1": "dog", "0": "cat"}), "Data.id2label"),
        (Data(idx_to_class={0: "cat", 1: "dog"}), "Data.idx_to_class"),
        (Subset(Data(classes=NAMES), [1]), "Subset.dataset.classes"),
        (ConcatDataset([Data(classes=NAMES)] * 2), "ConcatDataset.datasets.classes"),
        (
            Data(reader=SimpleNamespace(class_to_idx={"cat": 0, "dog": 1})),
            "Data.reader.class_to_idx",
        ),
        (
            SimpleNamespace(config=SimpleNamespace(id2label={0: "cat", 1: "dog"})),
            "SimpleNamespace.config.id2label",
        ),
        (Data(features={"label": SimpleNamespace(names=NAMES)}), "Data.features"),
    ],
)
def test_names_are_found(holder, place):
    assert find_class_names(holder) == (NAMES, place)


@pytest.mark.parametrize(
    "holder",
    [
        None,
        Data(),
        Data(classes="cat"),
        Data(classes=3),
        Data(classes=[]),
        Data(class_to_idx={"cat": 0, "dog": 2}),
        Data(id2label={"first": "cat"}),
    ],
)
def test_what_does_not_name_every_class_is_passed_over(holder):
    assert find_class_names(holder) is None


def test_fewer_names_than_labels_are_passed_over():
    assert find_class_names(Data(classes=NAMES), highest=2) is None
    assert find_class_names(Data(classes=NAMES, class_names=["a", "b", "c"]), 2)[0] == [*"abc"]


def test_a_property_that_raises_is_passed_over():
    class Raising(Data):
        @property
        def classes(self):
            raise RuntimeError("not yet")

    assert find_class_names(Raising(id2label={0: "cat"}))[0] == ["cat"]
