"""Drawing a `CAMResult`: overlays, text, files, and what a notebook shows."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.hostile import NAMES
from helpers.nets import ConvNet
from PIL import Image
from torchvision.transforms import Compose, Normalize, ToTensor

from lightning_cam import CAMResult, MultiLabelTarget, compute_cams, render

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
TRANSFORM = Compose([ToTensor(), Normalize(MEAN, STD)])
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), dtype=np.uint8)
CLASSES = ["ant", "bee", "owl"]


@pytest.fixture
def result():
    """Two methods of two images."""
    methods = ["gradcam", "hirescam"]
    return compute_cams(ConvNet(), PIXELS, transform=TRANSFORM, method=methods, class_names=CLASSES)


def pixels_of(path):
    return render.decode(path.read_bytes())


def restored(pixels):
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255


# --- overlays -------------------------------------------------------------------------------------


def test_an_overlay_is_the_map_over_the_photograph(result):
    drawn = result.overlay()
    assert (drawn.shape, drawn.dtype) == ((2, 16, 24, 3), np.uint8)
    expected = render.overlay(restored(PIXELS), result["gradcam"]).numpy()
    assert np.abs(drawn.astype(int) - expected).max() <= 1
    other = result.overlay("hirescam", "b", alpha=0.3, colormap="inferno")
    wanted = {"alpha": 0.3, "colormap": "inferno"}
    expected = render.overlay(restored(PIXELS), result["hirescam"], **wanted).numpy()
    assert np.abs(other.astype(int) - expected).max() <= 1


def test_without_colours_the_photograph_itself_is_left(result):
    assert np.abs(result.overlay(alpha=0).astype(int) - PIXELS).max() <= 1


def test_a_tensor_without_mean_and_std_is_drawn_from_its_smallest_to_its_largest_value():
    images = TRANSFORM(Image.fromarray(PIXELS[0]))[None]
    drawn = compute_cams(ConvNet(), images).overlay(alpha=0)
    scaled = (images - images.min()) / (images.max() - images.min())
    assert np.abs(drawn[0] - scaled[0].permute(1, 2, 0).numpy() * 255).max() <= 1
    known = compute_cams(ConvNet(), images, mean=MEAN, std=STD).overlay(alpha=0)
    assert np.abs(known[0].astype(int) - PIXELS[0]).max() <= 1


def test_a_tensor_of_values_to_255_keeps_its_colours():
    images = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float()
    assert np.array_equal(compute_cams(ConvNet(), images).overlay(alpha=0), PIXELS)


def test_wrong_choices_are_refused(result):
    with pytest.raises(KeyError, match="unknown method among these maps 'gradcamm'"):
        result.overlay("gradcamm")
    with pytest.raises(KeyError, match="unknown layer among these maps 'a'"):
        result.overlay("gradcam", "a")
    with pytest.raises(ValueError, match="alpha between 0 and 1, got 7"):
        result.overlay(alpha=7)
    with pytest.raises(ValueError, match="unknown colour map"):
        result.show(colormap="turbot")


def test_a_result_without_images_cannot_be_drawn(result):
    bare = result.without_images()
    with pytest.raises(ValueError, match="result with its images"):
        bare.overlay()
    assert bare._repr_html_() is None


# --- text -----------------------------------------------------------------------------------------


def test_the_text_names_the_predicted_and_the_explained_class():
    logits = torch.tensor([[0.0, 3.0, 0.0], [0.0, 0.0, 9.0]])
    rows, classes = torch.arange(2), torch.tensor([1, 0])
    known = {"class_names": ("ant", "bee", "owl")}
    found = CAMResult({}, logits, classes, rows, **known)
    assert found.lines(0) == ["predicted bee · 91%"]
    assert found.lines(1) == ["explained ant · 0%", "predicted owl · 100%"]
    assert CAMResult({}, logits, classes, rows).lines(0) == ["predicted class 1 · 91%"]


def test_several_labels_have_a_probability_each():
    model = ConvNet()
    labels = torch.tensor([[1, 0, 1], [0, 1, 0]])
    images = torch.rand(2, 3, 16, 16)
    found = compute_cams(model, images, MultiLabelTarget(labels > 0), class_names=CLASSES)
    chance = model.eval()(images).sigmoid()[0, 2]
    assert found.multi_label
    assert found.lines(1) == [f"owl · {float(chance.detach()):.0%}"]


def test_a_target_without_classes_has_no_text():
    found = compute_cams(ConvNet(), torch.rand(1, 3, 8, 8), lambda output: output[:, 0])
    found = CAMResult(found.maps, torch.empty(1, 0), found.classes, found.rows)
    assert found.lines(0) == []


# --- files ----------------------------------------------------------------------------------------


def test_one_file_per_image_and_map(result, tmp_path):
    paths = result.save(tmp_path / "new" / "cams")
    names = [f"{image}.{method}@b.png" for image in ("00", "01") for method in METHODS]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in (tmp_path / "new" / "cams").iterdir()) == sorted(names)
    captioned = pixels_of(paths[0])
    assert captioned.shape[0] > captioned.shape[1] * 16 // 24  # text below
    (plain, *_) = result.save(tmp_path, captions=False)
    size = render.picture_size(16, 24)
    expected = render.overlay(restored(PIXELS), result["gradcam"], size=size)[0].numpy()
    assert np.abs(pixels_of(plain).astype(int) - expected).max() <= 1


METHODS = ("gradcam", "hirescam")


def test_files_of_one_name_stay_apart(tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        Image.fromarray(PIXELS[0]).save(folder / "photo.jpg")
    Image.fromarray(PIXELS[0]).save(tmp_path / "PHOTO.png")
    images = [*(folder / "photo.jpg" for folder in folders), tmp_path / "PHOTO.png"]
    paths = compute_cams(ConvNet(), images, transform=TRANSFORM).save(tmp_path / "cams")
    names = [path.name.split(".gradcam")[0] for path in paths]
    assert names == ["photo", "photo-2", "PHOTO-3"]


def test_hostile_names_stay_in_the_folder(result, tmp_path):
    images, several = torch.rand(1, 3, 8, 8), torch.ones(1, len(NAMES), dtype=torch.bool)
    model = ConvNet(len(NAMES))
    found = compute_cams(model, images, MultiLabelTarget(several), class_names=NAMES)
    found = replace(found, ids=("../../escape.x",))
    paths = found.save(tmp_path / "cams")
    assert len(set(paths)) == len(NAMES)
    assert {path.parent for path in paths} == {tmp_path / "cams"}
    assert sorted(p.name for p in tmp_path.rglob("*.png")) == sorted(path.name for path in paths)


# --- what is shown --------------------------------------------------------------------------------


def test_html_escapes_what_users_named():
    model = ConvNet(len(NAMES))
    for label in range(len(NAMES)):
        html = compute_cams(model, torch.rand(1, 3, 8, 8), label, class_names=NAMES)._repr_html_()
        assert "<script" not in html
        assert "onerror=alert(1)>" not in html
        assert html.count("<img") == 2
    assert "49" not in html.split("figcaption")[1]


def test_html_shows_at_most_sixteen_images():
    found = compute_cams(ConvNet(), torch.rand(20, 3, 8, 8))
    html = found._repr_html_()
    assert html.count("<figure") == 16
    assert "and 4 more" in html
    assert len(html) < 600_000


def test_flat_maps_are_said_to_be_no_evidence():
    found = compute_cams(ConvNet(), torch.rand(1, 3, 8, 8))
    found.maps["gradcam", "b"].zero_()
    assert "no evidence" in found._repr_html_()


def test_show_writes_a_file_where_there_is_no_display(result, capsys, monkeypatch, tmp_path):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result.show()
    path = capsys.readouterr().out.strip()
    assert [str(each) for each in tmp_path.iterdir()] == [path]
    assert np.array_equal(pixels_of(Path(path)), result._sheet().picture())
