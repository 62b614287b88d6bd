"""Captions: they fit, can be read, and contain no letters that the font lacks."""

import numpy as np
import pytest
from helpers.texts import ODD_TEXTS, noise

from lightning_cam.render import captions, with_caption
from lightning_cam.render.captions import drawable, font, legible, shortened


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
@pytest.mark.parametrize("width", [1, 12, 90, 768])
def test_any_text_fits_below_the_image(text, width):
    plain = noise(width=width)
    captioned = with_caption(plain, [text, "second"])
    assert captioned.dtype == np.uint8
    assert captioned.shape[1:] == plain.shape[1:]
    assert np.array_equal(captioned[: len(plain)], plain)
    assert len(captioned) > len(plain)


def test_captions_can_be_read():
    strip = with_caption(noise(224, 224), ["cat, epoch 3"])[224:]
    dark = (strip < 100).all(axis=2)
    assert dark.sum() > 50
    assert (strip[:, :6] == 255).all()
    assert (strip[:, -6:] == 255).all()


def test_each_line_has_a_place_of_its_own():
    one = with_caption(noise(224, 224), ["Ágy"])[224:]
    two = with_caption(noise(224, 224), ["Ágy", "Ágy"])[224:]
    assert len(two) > 1.5 * len(one)
    inked = (two < 128).any(axis=(1, 2))
    assert np.diff(inked.astype(int)).tolist().count(1) >= 2


@pytest.mark.parametrize("text", [text for text in ODD_TEXTS if "\ud800" not in text], ids=ascii)
@pytest.mark.parametrize("width", [30, 100])
def test_shortened_text_fits(text, width):
    assert font(13).getlength(shortened(text, width, 13)) <= width


def test_text_that_fits_is_unchanged():
    assert shortened("cat, epoch 3", 500, 13) == "cat, epoch 3"


def test_the_width_of_a_very_long_name_is_measured_few_times(monkeypatch):
    """Measuring takes time in proportion to the length; names may be thousands of letters long."""
    measured, original = [], captions.font

    class Counting:
        def __init__(self, size):
            self.font = original(size)

        def getlength(self, text):
            measured.append(len(text))
            return self.font.getlength(text)

    monkeypatch.setattr(captions, "font", Counting)
    shortened("n" * 100_000, 200, 13)
    assert len(measured) <= 20
    assert max(measured) <= 4 * 200 + 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("犬", "?"),
        ("日本 kyōto", "? kyoto"),
        ("Ødegård ß – “x”", 'Odegard ss - "x"'),
        ("\ud800 lone", "? lone"),
        ("cat · 3/4", "cat · 3/4"),
        ("naïve", "naive"),
        ("Ünïcode", "Unicode"),
    ],
    ids=ascii,
)
def test_letters_that_the_font_lacks_are_replaced_and_accents_removed(text, shown):
    assert drawable(text) == shown
    assert legible(text) is (shown != "?")
