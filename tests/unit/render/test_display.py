"""`show_picture`: inline in a kernel, else a window, else a file."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import ImageShow

from lightning_cam.render import decode, show_picture
from lightning_cam.render.display import in_notebook

PICTURE = np.full((20, 30, 3), 77, np.uint8)


class Viewer(ImageShow.Viewer):
    """A program that shows images, or cannot."""

    def __init__(self, works):
        self.works, self.shown = works, []

    def show(self, image, **options):
        self.shown += [image] if self.works else []
        return self.works


@pytest.fixture
def no_display(monkeypatch, tmp_path):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(ImageShow, "_viewers", [])
    return monkeypatch


def test_this_process_is_no_notebook():
    assert not in_notebook()


def test_without_a_display_a_file_is_written_and_named(no_display, capsys, tmp_path):
    viewer = Viewer(works=True)
    ImageShow._viewers.append(viewer)
    show_picture(PICTURE)
    (path,) = tmp_path.iterdir()
    assert capsys.readouterr().out == f"{path}\n"
    assert np.array_equal(decode(path.read_bytes()), PICTURE)
    assert viewer.shown == []


@pytest.mark.parametrize("works", [True, False])
def test_a_window_is_opened_where_there_is_a_program_for_it(no_display, capsys, tmp_path, works):
    no_display.setenv("DISPLAY", ":0")
    viewer = Viewer(works=works)
    ImageShow._viewers.append(viewer)
    show_picture(PICTURE)
    assert len(viewer.shown) == works
    assert len(list(tmp_path.iterdir())) == len(capsys.readouterr().out.splitlines()) == (not works)


def test_a_kernel_shows_the_image_inline(monkeypatch):
    shown = []
    pytest.importorskip("IPython")
    import IPython.display

    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setattr(IPython.display, "display", shown.append)
    assert in_notebook()
    show_picture(PICTURE, alt="a grey area")
    (image,) = shown
    assert np.array_equal(decode(image.data), PICTURE)
    assert (image._mimetype, image.alt) == ("image/jpeg", "a grey area")
