"""`Picture`: encodings are made once, only those that are asked for."""

import numpy as np
from helpers.pictures import moving, picture

from lightning_cam.render import decode


def test_each_encoding_is_made_once():
    still = picture()
    assert still.jpeg is still.jpeg
    assert still.png is still.png
    assert np.array_equal(decode(still.png), still.pixels)


def test_encode_makes_the_given_formats_only():
    still = picture()
    still.encode({"jpeg"})
    assert "jpeg" in vars(still)
    assert "png" not in vars(still)
    none = picture()
    none.encode(())
    assert not {"jpeg", "png", "gif"} & set(vars(none))


def test_an_animation_is_always_encoded_as_gif():
    film = moving()
    film.encode({"jpeg"})
    assert vars(film)["gif"].startswith(b"GIF89a")
    assert "jpeg" not in vars(film)
