"""TensorBoard, read back from the event files by its own reader."""

import io

import pytest
from helpers.pictures import UNUSUAL_NAMES, moving, picture
from helpers.training import QUIET, fit, fit_with_tensorboard, small, squares_probe
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.custom_scalar.metadata import CONFIG_SUMMARY_TAG
from tensorboard.util.tensor_util import make_ndarray

from lightning_cam import CAMCallback
from lightning_cam.output.loggers.tensorboard import TensorBoardSink

pytestmark = QUIET


def read(logger):
    logger.experiment.flush()
    return EventAccumulator(logger.log_dir, size_guidance={"images": 0, "tensors": 0}).Reload()


def layouts(events):
    """Return the layouts in a run as {group: {title: patterns}}; the last one is shown."""
    if CONFIG_SUMMARY_TAG not in events.Tags()["tensors"]:
        return []
    found = []
    for event in events.Tensors(CONFIG_SUMMARY_TAG):
        layout = Layout.FromString(make_ndarray(event.tensor_proto).item())
        found.append(
            {c.title: {x.title: list(x.multiline.tag) for x in c.chart} for c in layout.category}
        )
    return found


def test_the_scalars_of_a_training_are_grouped(tmp_path):
    probes = {"val": squares_probe(), "train": "train"}
    callback = small(probe=probes, method=["gradcam", "layercam"], strict=True)
    _, events = fit_with_tensorboard(tmp_path, callback, max_epochs=1)
    (shown,) = layouts(events)
    assert list(shown)[:2] == ["cam: Where does the model look?", "cam: Does its attention move?"]
    assert "Enrichment" in shown["cam: Where does the model look?"]
    assert "Enrichment" in shown["cam: Do training and validation differ?"]
    assert "cam: More" not in shown, shown.get("cam: More")  # no metric is unknown


def test_the_layout_is_written_only_when_it_changes(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    for names in [["cam/iou"], ["cam/iou"], ["cam/iou_random"], ["cam/iou", "cam/entropy"], []]:
        TensorBoardSink(logger).prepare("cam", names)
    first, second = layouts(read(logger))
    assert list(first["cam: Where does the model look?"]) == ["Overlap (IoU)"]
    assert list(second["cam: Where does the model look?"]) == ["Overlap (IoU)", "Entropy"]


def test_two_callbacks_share_one_layout(tmp_path):
    callbacks = [small(tag="one", strict=True), small(tag="two", strict=True)]
    _, events = fit_with_tensorboard(tmp_path, *callbacks, max_epochs=2)
    shown = layouts(events)[-1]
    assert {title.split(":")[0] for title in shown} == {"one", "two"}


def test_each_run_has_its_own_layout(tmp_path):
    for version in range(2):
        logger = TensorBoardLogger(tmp_path, version=version)
        TensorBoardSink(logger).prepare("cam", [f"cam/{'iou' if version else 'entropy'}"])
        (shown,) = layouts(read(logger))
        title = "Overlap (IoU)" if version else "Entropy"
        assert list(shown["cam: Where does the model look?"]) == [title]


def test_all_names_have_the_loggers_prefix(tmp_path):
    logger = TensorBoardLogger(tmp_path, name="tb", prefix="mine")
    fit(tmp_path, small(strict=True), logger=logger)
    events = read(logger)
    assert "mine-cam/entropy" in events.Tags()["scalars"]
    assert "mine-cam/timeline" in events.Tags()["images"]
    (pattern,) = layouts(events)[-1]["mine-cam: Where does the model look?"]["Entropy"]
    assert pattern.startswith("^mine")


def test_an_animation_is_logged_as_gif(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    TensorBoardSink(logger).write([moving()], 3)
    (event,) = read(logger).Images("cam/animation")
    with Image.open(io.BytesIO(event.encoded_image_string)) as film:
        assert (film.format, film.n_frames) == ("GIF", 3)
    assert (event.step, event.height, event.width) == (3, 8, 9)


def test_alerts_of_one_step_are_all_logged(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    for step in (3, 4):
        sink = TensorBoardSink(logger)
        for text in ("one", "two"):
            sink.alert("cam/alerts", text, step)
    events = read(logger)
    for tag, text in [("cam/alerts", b"one"), ("cam/alerts/2", b"two")]:
        found = events.Tensors(f"{tag}/text_summary")
        assert [event.step for event in found] == [3, 4]
        assert all(make_ndarray(event.tensor_proto).item() == text for event in found)


@pytest.mark.parametrize("name", UNUSUAL_NAMES.values(), ids=UNUSUAL_NAMES)
def test_unusual_names_can_be_logged(tmp_path, name):
    logger = TensorBoardLogger(tmp_path)
    sink = TensorBoardSink(logger)
    sink.write([picture(f"cam/{name}")], 0)
    sink.alert("cam/alerts", name, 0)
    sink.prepare(name, [f"{name}/entropy"])
    events = read(logger)
    assert events.Images(f"cam/{name}")
    text = make_ndarray(events.Tensors("cam/alerts/text_summary")[0].tensor_proto).item().decode()
    assert "<" not in text


# TensorBoard's own bundle of bleach
@pytest.mark.filterwarnings("ignore:html5lib's sanitizer is deprecated:DeprecationWarning")
def test_markdown_in_names_is_escaped(tmp_path):
    from tensorboard.plugin_util import markdowns_to_safe_html

    logger = TensorBoardLogger(tmp_path)
    message = (
        "worst: ![x](http://example.invalid/x.png), [y](http://example.invalid), <i>, `z`, *w*"
    )
    TensorBoardSink(logger).alert("cam/alerts", message, 0)
    (event,) = read(logger).Tensors("cam/alerts/text_summary")
    page = markdowns_to_safe_html([make_ndarray(event.tensor_proto).item()], "".join)
    assert page == f"<p>{message.replace('<i>', '&lt;i&gt;')}</p>"


def test_special_characters_in_the_tag_are_escaped_in_patterns(tmp_path):
    callback = CAMCallback(squares_probe(), tag="c.a+m", strict=True)
    _, events = fit_with_tensorboard(tmp_path, callback)
    (pattern,) = layouts(events)[-1]["c.a+m: Where does the model look?"]["Entropy"]
    assert pattern.startswith(r"^c\.a\+m/")
