"""PASCAL VOC's XML files against masks made by hand."""

import numpy as np
import pytest
from helpers.annotations import mask_of, rectangle
from PIL import Image

from lightning_cam.probe.annotations import Box, read_annotations

BOX = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>6</xmax><ymax>4</ymax></bndbox>"  # from 1 on


def voc(folder, *objects, segmented=0, size="<width>8</width><height>6</height>"):
    file = folder / "Annotations" / "cat" / "1.xml"
    file.parent.mkdir(parents=True)
    parts = "".join(f"<object>{each}</object>" for each in objects)
    file.write_text(
        f"<annotation><filename>other.jpg</filename><size>{size}</size>"
        f"<segmented>{segmented}</segmented>{parts}</annotation>"
    )
    return file.parents[1]


def test_boxes_count_pixels_from_one(tmp_path):
    folder = voc(tmp_path, f"<name>cat</name>{BOX}")
    (found,) = read_annotations(folder)
    assert (found.name, found.regions[0].label) == ("cat/1", "cat")
    assert isinstance(found.regions[0].shape, Box)
    assert np.array_equal(mask_of(found), rectangle())
    (alone,) = read_annotations(folder / "cat" / "1.xml")
    assert alone.name == "1"


def test_polygons_as_cvat_and_roboflow_write_them(tmp_path):
    numbers = zip(range(1, 5), [(1, 2), (6, 2), (6, 4), (1, 4)], strict=True)
    corners = "".join(f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in numbers)
    (found,) = read_annotations(voc(tmp_path, f"<name>cat</name>{BOX}<polygon>{corners}</polygon>"))
    assert not isinstance(found.regions[0].shape, Box)
    assert np.array_equal(mask_of(found), rectangle())


def test_masks_of_objects_where_there_are_some(tmp_path):
    folder = voc(tmp_path, f"<name>dog</name>{BOX}", f"<name>cat</name>{BOX}", segmented=1)
    numbers = rectangle(0, 1).astype(np.uint8) + 2 * rectangle().astype(np.uint8)
    masks = folder / "SegmentationObject"
    masks.mkdir()
    Image.fromarray(numbers).save(masks / "1.png")
    (found,) = read_annotations(folder)
    dog, cat = found.regions
    assert (dog.label, cat.label) == ("dog", "cat")
    assert np.array_equal(dog.shape.mask(6, 8, found.extent), rectangle(0, 1))
    assert np.array_equal(cat.shape.mask(6, 8, found.extent), rectangle())


@pytest.mark.parametrize(
    ("thing", "size", "says"),
    [
        (f"<name></name>{BOX}", None, "expected <name> in <object>"),
        ("<name>cat</name>", None, "expected <bndbox/xmin>"),
        (f"<name>cat</name>{BOX.replace('2', 'inf')}", None, "coordinates in an image"),
        (f"<name>cat</name>{BOX}", "", "expected <size/height>"),
        (f"<name>cat</name>{BOX}", "<width>0</width><height>6</height>", "of an image"),
    ],
)
def test_damaged_files_are_one_error_that_names_the_file(tmp_path, thing, size, says):
    folder = voc(tmp_path, thing, **({} if size is None else {"size": size}))
    with pytest.raises(ValueError, match=rf"sound PASCAL VOC file, got .*1\.xml: .*{says}"):
        read_annotations(folder)


def test_a_document_type_is_refused(tmp_path):
    folder = voc(tmp_path, f"<name>cat</name>{BOX}")
    file = folder / "cat" / "1.xml"
    file.write_text('<!DOCTYPE a [<!ENTITY x SYSTEM "/etc/passwd">]>' + file.read_text())
    for path in (folder, file):
        with pytest.raises(ValueError, match=r"1\.xml: expected XML without a document type"):
            read_annotations(path)
