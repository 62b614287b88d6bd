"""`FileSink`: PNG files by tag, epoch and step, one GIF file per animation."""

import numpy as np
import pytest
from helpers.pictures import moving, picture
from PIL import Image, ImageSequence

from lightning_cam.output.loggers.files import FileSink
from lightning_cam.render import decode


def test_images_are_stored_by_tag_epoch_and_step(tmp_path):
    FileSink(tmp_path).write([picture(), picture("cam/timeline")], step=17)
    names = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*"))
    name = "epoch=0002-step=00000017.png"
    assert names == [f"cam/overlay/00/{name}", f"cam/timeline/{name}"]
    assert np.array_equal(decode((tmp_path / names[0]).read_bytes()), picture().pixels)


def test_an_image_that_cannot_be_encoded_leaves_no_file(tmp_path):
    with pytest.raises(Exception, match=r".+"):
        FileSink(tmp_path).write([picture(shape=(0, 9, 3))], step=1)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_animation_is_one_file_that_is_replaced(tmp_path):
    for step, count in enumerate([2, 3]):
        FileSink(tmp_path).write([moving(count=count), picture()], step)
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.gif")] == ["cam/animation.gif"]
    with Image.open(tmp_path / "cam" / "animation.gif") as film:
        assert film.n_frames == 3
        assert film.info["loop"] == 0
    assert len(list(tmp_path.rglob("*.png"))) == 2


def test_frames_keep_their_colours_and_order(tmp_path):
    FileSink(tmp_path).write([moving(count=4)], 0)
    with Image.open(tmp_path / "cam" / "animation.gif") as film:
        reds = [np.asarray(f.convert("RGB"))[0, 0, 0] for f in ImageSequence.Iterator(film)]
    assert np.abs(np.array(reds, int) - [0, 83, 166, 250]).max() < 4


def test_a_tag_cannot_leave_the_folder(tmp_path):
    folder = tmp_path / "inside"
    still = picture("../../out/<b>")
    FileSink(folder).write([still, moving("../out")], 0)
    assert list(tmp_path.iterdir()) == [folder]
    (path,) = folder.rglob("*.png")
    assert np.array_equal(decode(path.read_bytes()), still.pixels)


def test_an_alert_writes_no_file(tmp_path):
    FileSink(tmp_path).alert("cam/alerts", "text", 0)
    assert list(tmp_path.iterdir()) == []
