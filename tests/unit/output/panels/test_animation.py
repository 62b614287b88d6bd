"""Panel `animation`: a frame per kept evaluation."""

import numpy as np
from helpers.scenes import draw, probe_of, spots


def animation(evaluations, count=4):
    pictures = draw(probe_of(count), evaluations, panels=["animation"], last_only=True)
    return pictures["animation"]


def test_there_is_a_frame_per_column_of_the_timeline():
    pictures = draw(probe_of(), spots([0, 5, 9]), panels=["timeline", "animation"])
    film = pictures["animation"]
    assert film.frames.shape[0] == 3
    assert np.array_equal(film.frames[-1], film.pixels)
    assert film.caption == "epoch 0 to epoch 2"
    assert pictures["timeline"].frames is None
    assert not np.array_equal(film.frames[0], film.frames[1])


def test_the_animation_of_a_long_training_stays_small():
    film = animation(spots(list(range(16)) * 3, 20), 20)
    assert len(film.frames) <= 13
    assert film.frames.nbytes < 13 * 3 * 700 * 700


def test_frames_of_equal_maps_differ_in_their_heading_only():
    frames = animation(spots([5, 5], 1), 1).frames
    changed = (frames[0] != frames[1]).any(axis=(1, 2))
    assert changed.any()
    assert not changed[30:].any()
