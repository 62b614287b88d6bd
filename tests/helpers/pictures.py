"""`Picture` objects for tests of sinks, and names that are hard to store or to show."""

import numpy as np

from lightning_cam.output.picture import Picture

UNUSUAL_NAMES = {
    "quotes": "a\"b'c`d",
    "script": "<script>alert(1)</script>",
    "slashes": "a/b\\c",
    "parents": "../../../etc/passwd",
    "emoji": "😀 cat",
    "long": "x" * 200,
    "markdown": "![x](http://example.invalid/x.png)",
    "newline": "two\nlines",
    "percent": "100%s{}",
}


def picture(tag="cam/overlay/00", shape=(8, 9, 3), *, caption="label cat · epoch 2 · 61%", **more):
    """Return a picture of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Picture(tag, pixels, caption, epoch=2, **more)


def moving(tag="cam/animation", count=3, shape=(8, 9, 3)):
    """Return an animation whose frames are of one colour each, so that they can be told apart."""
    frames = np.zeros((count, *shape), np.uint8)
    frames[:, :, :, 0] = np.linspace(0, 250, count)[:, None, None]
    return Picture(tag, frames[-1], "an animation", epoch=2, frames=frames)
