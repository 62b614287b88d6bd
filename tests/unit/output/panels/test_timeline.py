"""Panel `timeline`: a column per kept evaluation, a row per sample."""

import torch
from helpers.scenes import KEY, draw, probe_of, spot, spots


def timeline(evaluations, count=4, **options):
    options = {"panels": ["timeline"], "last_only": True} | options
    return draw(probe_of(count), evaluations, **options)["timeline"]


def test_each_evaluation_adds_a_column():
    widths = [timeline(spots(range(n))).pixels.shape[1] for n in (2, 3, 4)]
    assert widths[1] - widths[0] == widths[2] - widths[1] == 96 + 6


def test_a_long_training_has_as_many_columns_as_the_history_keeps():
    width = timeline(spots(list(range(16)) * 3)).pixels.shape[1]
    assert width <= timeline(spots(range(12))).pixels.shape[1] + 96 + 6


def test_there_are_at_most_eight_rows():
    heights = [timeline([{KEY: spot(count, 3)}], count).pixels.shape[0] for count in (7, 8, 9, 16)]
    assert heights[0] < heights[1]
    assert heights[1] == heights[2] == heights[3]


def test_maps_of_another_shape_are_left_out():
    earlier = {KEY: torch.rand(4, 7, 7)}
    mixed = timeline([earlier, *spots([5, 6])])
    assert mixed.pixels.shape == timeline(spots([5, 6])).pixels.shape


def test_it_names_method_layer_and_epoch():
    picture = timeline(spots([0, 5]))
    assert picture.caption == "gradcam at layer4"
    assert picture.epoch == 1
