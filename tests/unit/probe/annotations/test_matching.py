"""Which annotation is of which image, and which regions are of its class."""

import pytest

from lightning_cam.probe.annotations import ImageAnnotation, Region, regions_by_image
from lightning_cam.probe.annotations.regions import box

SHAPE = box(0, 0, 1, 1)


def annotation(name, *labels):
    return ImageAnnotation(name, tuple(Region(SHAPE, label) for label in labels))


def names(found):
    return [None if each is None else each.name for each in found]


@pytest.mark.parametrize(
    "name", ["cat/1.jpg", "data/images/cat/1.jpg", "/abs/cat/1", "cat\\1.png", "1.jpg", "1"]
)
def test_names_end_as_the_images_path_does(name):
    found = regions_by_image([annotation(name, "cat")], ["cat/1.jpg", "dog/2.jpg"], ["cat", "dog"])
    assert names(found) == [name, None]


def test_the_longest_common_end_counts():
    places, labels = ["a/cat/1.jpg", "b/cat/1.jpg"], ["cat", "cat"]
    both = [annotation("b/cat/1", "cat"), annotation("a/cat/1", "cat")]
    found = regions_by_image(both, places, labels)
    assert names(found) == ["a/cat/1", "b/cat/1"]


def test_a_name_that_fits_several_images_is_refused():
    with pytest.raises(ValueError, match=r"got '1\.jpg', which may be cat/1\.jpg and dog/1\.jpg"):
        regions_by_image([annotation("1.jpg", "cat")], ["cat/1.jpg", "dog/1.jpg"], ["cat", "dog"])


def test_two_annotations_of_one_image_are_refused():
    both = [annotation("train/1.jpg", "cat"), annotation("val/1.jpg", "cat")]
    with pytest.raises(ValueError, match=r"one annotation of cat/1\.jpg, got 'train/1"):
        regions_by_image(both, ["cat/1.jpg"], ["cat"])


def test_the_better_name_wins_whatever_the_order():
    for order in (1, -1):
        both = [annotation("x/1.jpg", "cat"), annotation("cat/1.jpg", "cat")][::order]
        assert names(regions_by_image(both, ["cat/1.jpg"], ["cat"])) == ["cat/1.jpg"]


def test_only_regions_of_the_images_class_are_kept():
    several = [annotation("1", "dog", "Cat ", None), annotation("2", "dog")]
    found = regions_by_image(several, ["cat/1.jpg", "cat/2.jpg"], ["cat", "cat"])
    assert [region.label for region in found[0].regions] == ["Cat ", None]
    assert found[1] is None


def test_a_single_label_that_is_no_class_is_the_object_of_each():
    found = regions_by_image([annotation("1", "lesion", None)], ["benign/1.jpg"], ["benign"])
    assert len(found[0].regions) == 2
    with pytest.raises(ValueError, match="of the classes 'benign', got 'lesion', 'ruler'"):
        regions_by_image([annotation("1", "lesion", "ruler")], ["benign/1.jpg"], ["benign"])


def test_annotations_of_none_of_the_images():
    with pytest.raises(ValueError, match=r"images such as 'cat/1\.jpg', got '9\.jpg' without"):
        regions_by_image([annotation("9.jpg", "cat")], ["cat/1.jpg"], ["cat"])
    with pytest.raises(ValueError, match="got none without"):
        regions_by_image([], ["cat/1.jpg"], ["cat"])
