"""What users find in their logs: pictures and curves, read back from the files themselves."""

import re

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from helpers.training import (
    QUIET,
    Module,
    Squares,
    cam_scalars,
    csv_rows,
    decoded,
    events_of,
    fit,
    fit_with_tensorboard,
    image_steps,
    image_tags,
    loader,
    make_trainer,
    png_files,
    scalar_steps,
    small,
    squares_probe,
)

from lightning_cam import CAMCallback, Probe

pytestmark = QUIET


def documented_metrics():
    """Return the names in the docstring's section on logged metrics."""
    section = CAMCallback.__doc__.split("Logged metrics")[1].split("Example:")[0]
    movement = {"jsd", "correlation", "rank_correlation", "top_overlap", "center_shift"}
    names = set(re.findall(r"`([a-z_]+)`", section))
    assert names >= movement
    names -= {*movement, "overhead", "max_overhead"}
    located = {"relevance_mass", "enrichment", "relevance_rank", "pointing_game", "iou"}
    names |= {f"{m}{e}" for m in located for e in re.findall(r"`<metric>(_[a-z]+)`", section)}
    moved = {f"{m}{e}" for m in movement for e in re.findall(r"`<movement>(_[a-z]+)`", section)}
    assert "`unflipped/`" in section
    assert "`enrichment_of/<class>`" in section
    names |= moved | {f"unflipped/{name}" for name in moved}
    return names | {f"enrichment_of/{label}" for label in range(4)}


WITHOUT_MASKS = {"top_drop", "random_drop", "faithfulness"}
WITHOUT_MASKS |= {f"rim_{name}" for name in ("reliance", "gap_confidence", "confidence", "skill")}


@pytest.fixture(scope="module")
def default_run(tmp_path_factory):
    """Three validations of a run with nothing configured."""
    folder = tmp_path_factory.mktemp("default")
    data = Squares(24)
    return fit_with_tensorboard(folder, CAMCallback(), val=loader(data), max_epochs=3)


def test_every_overlay_and_the_timeline_has_a_picture_per_validation(default_run):
    _, events = default_run
    tags = image_tags(events)
    overlays = [tag for tag in tags if tag.startswith("cam/overlay/")]
    assert len(overlays) == 16
    panels = ["cam/classes", "cam/comparison", "cam/timeline", "cam/worst"]
    assert tags == sorted([*overlays, *panels])
    counts = {tag: len(events.Images(tag)) for tag in tags}
    assert counts == {**dict.fromkeys(tags, 3), "cam/comparison": counts["cam/comparison"]}


def test_pictures_stand_at_the_steps_of_the_scalars(default_run):
    _, events = default_run
    steps = scalar_steps(events, "val_loss")
    assert len(steps) == 3
    assert scalar_steps(events, "cam/enrichment") == steps
    for tag in image_tags(events):
        assert image_steps(events, tag) == steps[-len(events.Images(tag)) :]


def test_pictures_decode_to_the_size_they_claim(default_run):
    _, events = default_run
    for tag in image_tags(events):
        for event in events.Images(tag):
            assert decoded(event.encoded_image_string).shape == (event.height, event.width, 3)


def test_the_timeline_grows_with_the_validations(default_run):
    _, events = default_run
    widths = [event.width for event in events.Images("cam/timeline")]
    assert widths[0] < widths[1] < widths[2]
    assert widths[2] - widths[1] == widths[1] - widths[0]


def test_the_docstring_lists_exactly_the_metrics_that_are_logged(default_run):
    _, events = default_run
    documented = documented_metrics()
    assert len(documented) >= 15
    logged = {tag.removeprefix("cam/") for tag in cam_scalars(events)}
    assert logged == documented - WITHOUT_MASKS


def test_without_masks_the_rest_of_the_docstrings_list_is_logged(tmp_path):
    data = Squares(16)
    probe = Probe(data.images, data.targets)
    _, events = fit_with_tensorboard(tmp_path, small(probe=probe))
    logged = {tag.removeprefix("cam/") for tag in cam_scalars(events)}
    assert logged <= documented_metrics()
    assert logged >= WITHOUT_MASKS
    assert not [name for name in logged if "background" in name or "enrichment" in name]


def test_the_metrics_are_numbers_in_their_ranges(default_run):
    _, events = default_run
    values = {tag: [e.value for e in events.Scalars(tag)] for tag in cam_scalars(events)}
    undefined = {tag for tag, each in values.items() if not np.isfinite(each).all()}
    assert undefined <= {"cam/rfs", *(f"cam/enrichment_of/{n}" for n in range(4))}, values
    shares = ("zero_map_fraction", "entropy", "relevance_mass", "pointing_game", "jsd_first")
    for name in (*shares, "label_confidence", "prediction_flips", "center_x", "center_y"):
        assert 0 <= min(values[f"cam/{name}"]) <= max(values[f"cam/{name}"]) <= 1, name
    assert values["cam/jsd_previous"][0] == 0
    assert values["cam/jsd_previous"][2] > 0


def test_the_default_probe_is_balanced_and_carries_masks(default_run):
    trainer, _ = default_run
    (probe,) = next(c for c in trainer.callbacks if isinstance(c, CAMCallback)).probes.values()
    assert probe.targets.bincount().tolist() == [6, 6, 6, 6]  # all there are; at most 32
    assert probe.targets[:4].tolist() == [0, 1, 2, 3]
    data = Squares(24)
    for image, mask, name in zip(probe.images, probe.masks, probe.ids, strict=True):
        assert torch.equal(image, data.images[int(name.split("-")[-1])])
        assert torch.equal(mask, data.masks[int(name.split("-")[-1])])


# --- are the pixels right? -----------------------------------------------------------------------


def flag(side=224):
    """Return an image that differs from all its flips, turns and channel swaps."""
    image = torch.zeros(3, side, side)
    half = side // 2
    image[0, :half, :half] = 1.0  # red, top left
    image[1, :half, half:] = 0.8  # green, top right
    image[2, half:, :half] = 0.9  # blue, bottom left
    image[:, half:, half:] = torch.linspace(0, 1, half)  # a ramp of greys, dark to light
    return image


def flag_probe(**known):
    return Probe(torch.stack([flag(), flag().flip(2)]), [0, 1], **known)


def as_pixels(image):
    return image.mul(255).round().permute(1, 2, 0).numpy().astype(np.uint8)


def test_jpegs_are_upright_and_have_the_right_colours(tmp_path):
    callback = CAMCallback(flag_probe(), alpha=0.0)
    _, events = fit_with_tensorboard(tmp_path, callback)
    picture = decoded(events.Images("cam/overlay/00")[0].encoded_image_string)[:224]
    error = np.abs(picture.astype(int) - as_pixels(flag()))
    assert np.median(error) <= 2
    assert np.percentile(error, 98) <= 12
    for other in (flag().flip(1), flag().flip(2), flag().flip(0), flag().transpose(1, 2)):
        assert np.abs(picture.astype(int) - as_pixels(other)).mean() > 10 * error.mean()


def test_pngs_are_exact(tmp_path):
    fit(tmp_path, CAMCallback(flag_probe(ids=["flag", "mirrored"]), alpha=0.0))
    for name, image in (("flag", flag()), ("mirrored", flag().flip(2))):
        (path,) = (tmp_path / "cam" / "overlay" / name).glob("*.png")
        assert np.array_equal(decoded(path.read_bytes())[:224], as_pixels(image))


def test_normalised_images_are_shown_as_they_were(tmp_path):
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    scale = torch.tensor([mean, std]).view(2, 3, 1, 1)
    images = (torch.stack([flag()]) - scale[0]) / scale[1]
    fit(tmp_path, CAMCallback(Probe(images, [0], mean=mean, std=std), alpha=0.0))
    (path,) = (tmp_path / "cam" / "overlay" / "00").glob("*.png")
    assert np.array_equal(decoded(path.read_bytes())[:224], as_pixels(flag()))


def test_the_mask_is_outlined_in_white_around_the_object(tmp_path):
    mask = torch.zeros(1, 224, 224, dtype=torch.bool)
    mask[0, 20:60, 30:80] = True
    probe = Probe(flag()[None], [0], masks=mask)
    fit(tmp_path, CAMCallback(probe, alpha=0.0))
    (path,) = (tmp_path / "cam" / "overlay" / "00").glob("*.png")
    picture = decoded(path.read_bytes())
    white = (picture[:112, :112] == 255).all(axis=2)
    expected = np.zeros((112, 112), bool)
    expected[18:62, 28:82] = True
    expected[20:60, 30:80] = False
    assert np.array_equal(white, expected)


# --- other loggers and none ----------------------------------------------------------------------


def expected_files(names, steps):
    return sorted(f"cam/{name}/epoch={e:04d}-step={s:08d}.png" for name in names for e, s in steps)


_NAMES = ("overlay/00", "overlay/01", "overlay/02", "timeline")


def plain():
    return CAMCallback(squares_probe(3), panels=["overlay", "timeline"])


def test_csv_logger_gets_scalars_and_picture_files_beside_them(tmp_path):
    callback = plain()
    trainer = fit(tmp_path, callback, logger=CSVLogger(tmp_path, name="csv"), max_epochs=2)
    rows = [row for row in csv_rows(tmp_path) if row["cam/enrichment"]]
    steps = [(e, int(row["step"])) for e, row in enumerate(rows)]
    assert len(steps) == 2
    assert png_files(trainer.log_dir) == expected_files(_NAMES, steps)
    assert all(decoded(p.read_bytes()).ndim == 3 for p in tmp_path.rglob("*.png"))


def test_without_a_logger_pictures_lie_under_the_root(tmp_path):
    fit(tmp_path, plain(), max_epochs=2)
    assert png_files(tmp_path) == expected_files(_NAMES, [(0, 3), (1, 7)])
    others = {p.name for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".png"}
    assert others == {"cam.jsonl", "report.html"}


def test_several_loggers_are_all_served(tmp_path):
    loggers = [TensorBoardLogger(tmp_path, name="tb"), CSVLogger(tmp_path, name="csv")]
    trainer = fit(tmp_path, plain(), logger=loggers)
    events = events_of(trainer)
    assert image_tags(events) == [f"cam/{name}" for name in _NAMES]
    assert len(png_files(tmp_path)) == len(_NAMES)
    assert csv_rows(tmp_path)[0]["cam/enrichment"]


def test_two_tensorboard_loggers_get_the_same_pictures(tmp_path):
    loggers = [TensorBoardLogger(tmp_path, name=name) for name in ("a", "b")]
    trainer = fit(tmp_path, plain(), logger=loggers)
    ours = events_of(trainer)
    trainer.loggers.reverse()
    theirs = events_of(trainer)
    assert image_tags(ours) == image_tags(theirs) == [f"cam/{name}" for name in _NAMES]
    assert png_files(tmp_path) == []


def test_fast_dev_run_works_and_writes_nothing(tmp_path):
    callback = small()
    trainer = fit(tmp_path, callback, fast_dev_run=True, logger=True)
    assert trainer.callback_metrics["cam/enrichment"].isfinite()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_no_pictures_when_none_are_wanted(tmp_path):
    _, events = fit_with_tensorboard(tmp_path, CAMCallback(squares_probe(), num_pictures=0))
    assert image_tags(events) == []
    assert cam_scalars(events)


def test_names_from_the_data_cannot_leave_the_log_folder(tmp_path):
    root = tmp_path / "logs"
    names = ["../../escaped", "<script>", "a/b", "😀"]
    fit(root, CAMCallback(squares_probe(ids=names), panels=["overlay", "timeline"]))
    files = png_files(tmp_path)
    assert len(files) == 5
    assert all(name.startswith("logs/cam/") and name.count("/") <= 4 for name in files)
    assert not any(sign in "".join(files) for sign in "<>😀")


def test_datamodule_data_is_sampled_too(tmp_path):
    class Data(pl.LightningDataModule):
        def train_dataloader(self):
            return loader()

        def val_dataloader(self):
            return loader(Squares(8, seed=4))

    callback = small()
    make_trainer(tmp_path, [callback]).fit(Module(), datamodule=Data())
    assert len(callback.probes["val"]) == 4
