"""Panel `comparison`: its columns in order of time, and the change since the previous map."""

import torch
from helpers.scenes import KEY, draw, probe_of, spots


def columns(evaluations, **options):
    pictures = draw(probe_of(), evaluations, panels=["comparison"], **options)
    return pictures["comparison"].caption.split(" · ")


def test_the_first_evaluation_has_the_columns_image_and_now():
    assert columns(spots([0])) == ["image", "first, now epoch 0"]
    assert columns(spots([0]), best=0) == ["image", "first, best, now epoch 0"]


def test_columns_are_in_order_of_time():
    assert columns(spots([0, 5, 9, 3]), best=1) == [
        "image",
        "first epoch 0",
        "best epoch 1",
        "previous epoch 2",
        "now epoch 3",
        "now - previous red more, blue less",
    ]


def test_an_evaluation_with_several_roles_has_one_column():
    assert columns(spots([0, 5]), best=0)[1:3] == ["first, best, previous epoch 0", "now epoch 1"]
    assert columns(spots([0, 5, 7]), best=2)[-2] == "best, now epoch 2"


def test_there_is_no_best_where_no_value_is_known():
    assert not any("best" in title for title in columns(spots([0, 5, 9])))


def test_evaluations_within_an_epoch_are_named_by_their_steps():
    assert columns(spots([0, 5, 9]), epochs=[0, 0, 0])[1] == "first step 0"


def test_maps_of_another_shape_are_left_out():
    earlier = {KEY: torch.rand(4, 7, 7)}
    assert columns([earlier, *spots([5])], best=0) == ["image", "now epoch 1"]


def test_the_change_is_red_where_a_map_rose_and_blue_where_it_fell():
    """From the cell at the top left to the one at the bottom right."""
    pictures = draw(probe_of(1), spots([0, 15], 1), panels=["comparison"])
    pixels = pictures["comparison"].pixels
    column = pixels[-6 - 128 : -6, -6 - 128 :].astype(int)
    left, right = column[:20, :20].mean(axis=(0, 1)), column[-26:-6, -26:-6].mean(axis=(0, 1))
    assert left[2] > 1.5 * left[0]
    assert right[0] > 1.5 * right[2]
