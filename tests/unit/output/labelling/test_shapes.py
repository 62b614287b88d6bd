"""Boxes and outlines as the page sends them, and the masks that they make."""

import numpy as np
import pytest

from lightning_cam.output.labelling.shapes import Shape, mask_of, parse_shapes

BOX = {"kind": "box", "points": [[0.75, 0.5], [0.25, 0.0]], "refine": False, "erase": False}


def as_drawn(_shape, area):
    return area


def mask(*shapes, refine=as_drawn, height=4, width=8):
    return mask_of(parse_shapes(list(shapes)), height, width, refine)


def test_a_box_between_any_two_corners():
    found, note = mask(BOX)
    wanted = np.zeros((4, 8), dtype=bool)
    wanted[0:2, 2:6] = True
    assert np.array_equal(found, wanted)
    assert note == ""


def test_an_outline_closes_itself():
    points = [[0, 0], [1, 0], [1, 1], [0, 1]]
    assert mask({"kind": "outline", "points": points})[0].all()


def test_shapes_are_united_and_erased_in_order():
    whole = {"kind": "box", "points": [[0, 0], [1, 1]]}
    erased = {**BOX, "erase": True, "refine": True}
    assert mask(BOX, whole)[0].all()
    assert mask(whole, erased)[0].sum() == 32 - 8
    assert mask(erased, whole)[0].all()


def test_only_refined_shapes_are_refined():
    asked = []

    def refine(shape, area):
        asked.append(shape.kind)
        return area & (np.indices(area.shape).sum(axis=0) % 2 == 0)

    found, note = mask({**BOX, "refine": True}, BOX, {**BOX, "erase": True}, refine=refine)
    assert (asked, note) == (["box"], "")
    assert not found.any()
    assert mask({**BOX, "refine": True}, refine=refine)[0].sum() == 4


def test_where_no_object_is_found_the_area_is_taken_and_that_is_said():
    found, note = mask({**BOX, "refine": True}, refine=lambda _, area: area & False)
    assert found.sum() == 8
    assert note.startswith("no object was found inside")
    tiny = {"kind": "box", "points": [[0.5, 0.5], [0.5001, 0.5001]]}
    assert mask(tiny)[1].startswith("too small")


def test_points_outside_are_moved_to_the_edge():
    (shape,) = parse_shapes([{"kind": "box", "points": [[-3, 0], [7, 1]]}])
    assert shape == Shape("box", ((0.0, 0.0), (1.0, 1.0)))
    assert parse_shapes([shape.as_dict()]) == (shape,)


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        "box",
        [7],
        [{"kind": "circle", "points": [[0, 0], [1, 1]]}],
        [{"kind": "box", "points": [[0, 0]]}],
        [{"kind": "outline", "points": [[0, 0], [1, 1]]}],
        [{"kind": "outline", "points": [[0, 0]] * 5000}],
        [{"kind": "box", "points": [[0, 0], [1, float("nan")]]}],
        [{"kind": "box", "points": [[0, 0], [1, 10**400]]}],
        [{"kind": "box", "points": [[0, 0], [1, "1"]]}],
        [{"kind": "box", "points": [[0, 0], [True, 1]]}],
        [{"kind": "box", "points": [[0, 0], [1, 1, 1]]}],
        [{**BOX, "refine": 1}],
        [BOX] * 65,
    ],
)
def test_anything_else_is_refused(content):
    with pytest.raises(ValueError, match=r"^expected"):
        parse_shapes(content)
