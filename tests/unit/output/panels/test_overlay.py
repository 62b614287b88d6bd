"""Each panel: what it shows, what it leaves out, and what it says."""

import numpy as np
import pytest
import torch

from lightning_cam.explain.features import FeatureMaps
from lightning_cam.explain.activation_maximization import MaximizedActivations
from lightning_cam.monitor import History, Snapshot
from lightning_cam.monitor.config import DEFAULT_PANELS, PANELS, Options
from lightning_cam.output.panels import Panels
from lightning_cam.probe import Probe

KEY, OTHER = ("gradcam", "layer4"), ("layercam", "layer3")


def probe(count=4, side=32, masks=True, **known):
    draw = torch.Generator().manual_seed(0)
    mask = torch.zeros(count, side, side, dtype=torch.bool)
    mask[:, 8:16, 8:24] = True
    known.setdefault("class_names", [f"name {i}" for i in range(8)])
    return Probe(
        torch.rand(count, 3, side, side, generator=draw),
        torch.arange(count) % 8,
        masks=mask if masks else None,
        **known,
    )


def spot(count, cell, value=1.0, grid=(4, 4)):
    """Return maps with heat in one cell, a little in all."""
    maps = torch.full((count, *grid), 0.01 * value)
    maps.flatten(1)[:, cell] = value
    return maps


def snapshot(own, validation, maps, epoch=None):
    rows = torch.arange(len(own))
    epoch = validation if epoch is None else epoch
    labels = own.targets
    chances = torch.full((len(own),), 0.75)
    return Snapshot(validation, epoch, 10 * validation, maps, rows, labels, labels, chances)


def drawn(own, looks, best=None, epochs=None, per_image=None, panels=PANELS, **options):
    """Draw every look in turn, as the callback does; return the last look's pictures by tag."""
    history = History()
    drawer = Panels("cam", own, Options(panels=panels, **options))
    for i, maps in enumerate(looks):
        seen = snapshot(own, i, maps, None if epochs is None else epochs[i])
        history.add(seen, float("nan") if best is None else float(i == best))
        pictures = drawer.draw(maps, seen, history, per_image=per_image)
    return {picture.tag.removeprefix("cam/"): picture for picture in pictures}


def looks(cells, count=4):
    return [{KEY: spot(count, cell)} for cell in cells]


def words_of(picture):
    return picture.caption


# --- which are drawn -----------------------------------------------------------------------------


def test_the_panels_asked_for_are_drawn_and_no_others():
    per_image = {"enrichment": torch.rand(4)}
    for name in ("timeline", "comparison", "classes", "animation", "worst"):
        assert list(drawn(probe(), looks([0, 5]), per_image=per_image, panels=[name])) == [name]
    assert drawn(probe(), looks([0]), panels=[]) == {}


def test_the_default_shows_what_needs_no_passes_of_its_own():
    pictures = drawn(probe(), looks([0, 5]), per_image={"enrichment": torch.rand(4)}, panels=None)
    overlays = [name for name in pictures if name.startswith("overlay/")]
    assert overlays == [f"overlay/{i:02d}" for i in range(4)]
    expected = {"timeline", "comparison", "worst", "classes"}  # one map: no methods to compare
    assert set(pictures) - set(overlays) == expected
    assert expected < set(DEFAULT_PANELS)


def test_no_picture_at_all_when_none_is_wanted():
    assert drawn(probe(), looks([0]), num_pictures=0) == {}


@pytest.mark.parametrize("count", [1, 2, 9, 64])
def test_any_number_of_samples(count):
    per_image = {"enrichment": torch.rand(count), "relevance_mass": torch.rand(count)}
    pictures = drawn(probe(count), looks([0, 5, 3], count), best=1, per_image=per_image)
    for picture in pictures.values():
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.shape[2] == 3
        assert max(picture.pixels.shape) < 1600


@pytest.mark.parametrize(
    ("size", "channels", "grid"),
    [((20, 90), 1, (2, 2)), ((90, 20), 3, (14, 3)), ((64, 64), 5, (1, 1)), ((8, 8), 2, (14, 14))],
    ids=str,
)
def test_any_shape_of_images_and_maps(size, channels, grid):
    mask = torch.zeros(3, *size, dtype=torch.bool)
    mask[:, 5:10, 5:10] = True
    own = Probe(torch.randn(3, channels, *size), [0, 1, 2], masks=mask)
    maps = [{KEY: torch.rand(3, *grid), OTHER: torch.rand(3, *grid)} for _ in range(3)]
    per_image = {"enrichment": torch.rand(3)}
    for picture in drawn(own, maps, best=0, per_image=per_image, scale="run").values():
        assert picture.pixels.size > 0


@pytest.mark.parametrize("name", ["x" * 300, "<script>", "犬", "", "a\nb"], ids=ascii)
def test_any_class_name(name):
    own = probe(class_names=[name] * 8)
    per_image = {"enrichment": torch.rand(4)}
    for tag, picture in drawn(own, looks([0, 5]), per_image=per_image).items():
        assert picture.pixels.shape[1] < 1600, tag


def test_a_name_that_the_font_lacks_is_told_by_its_index():
    own = probe(class_names=["犬", "猫", *"cdefgh"])
    captions = [p.caption for t, p in drawn(own, looks([0]), panels=["overlay"]).items()]
    assert "label class 0 犬" in captions[0]
    assert "label class 1 猫" in captions[1]


# --- overlays ------------------------------------------------------------------------------------


def test_the_mask_of_an_overlay_is_of_its_picture_with_nothing_on_the_caption():
    picture = drawn(probe(), looks([0]), panels=["overlay"])["overlay/00"]
    assert picture.mask.shape == picture.pixels.shape[:2]
    assert picture.mask.dtype == bool
    scale = 224 // 32
    expected = np.zeros(picture.mask.shape, bool)
    expected[8 * scale : 16 * scale, 8 * scale : 24 * scale] = True
    assert np.array_equal(picture.mask, expected)
    assert drawn(probe(masks=False), looks([0]), panels=["overlay"])["overlay/00"].mask is None


def heat(picture):
    """Return how far the colours of an overlay's picture are from the plain image."""
    own = probe()
    plain = drawn(own, [{KEY: torch.zeros(4, 4, 4)}], panels=["overlay"])["overlay/00"].pixels
    rows = slice(0, 224)
    return np.abs(picture.pixels[rows].astype(int) - plain[rows]).mean()


def overlay_after(values, **options):
    maps = [{KEY: spot(4, 5, value)} for value in values]
    return drawn(probe(), maps, panels=["overlay"], **options)["overlay/00"]


def test_with_a_scale_of_the_run_less_evidence_is_dimmer():
    assert heat(overlay_after([1.0, 0.1], scale="run")) < 0.5 * heat(overlay_after([1.0]))
    full = pytest.approx(heat(overlay_after([1.0])), rel=0.02)  # a peak lies between pixels
    assert heat(overlay_after([1.0, 0.1], scale="image")) == full
    assert heat(overlay_after([0.1, 1.0], scale="run")) == full


def test_with_a_scale_of_the_run_the_caption_tells_the_share():
    assert "heat 10% of its peak" in overlay_after([1.0, 0.1], scale="run").caption
    assert "peak" not in overlay_after([1.0, 0.1], scale="image").caption


def test_the_peak_outlives_the_snapshots_that_the_history_drops():
    values = [0.5, 9.0] + [0.45] * 40
    assert "heat 5% of its peak" in overlay_after(values, scale="run").caption


def test_a_resumed_run_takes_its_scale_from_the_history():
    own, history = probe(), History()
    first = snapshot(own, 0, {KEY: spot(4, 5, 1.0)})
    history.add(first)
    resumed = History()
    resumed.load_state_dict(history.state_dict())
    now = snapshot(own, 1, {KEY: spot(4, 5, 0.25)})
    resumed.add(now)
    fresh = Panels("cam", own, Options(panels=["overlay"], scale="run"))
    assert "heat 25% of its peak" in fresh.draw(now.maps, now, resumed)[0].caption


def test_each_method_has_a_scale_and_a_folder_of_its_own():
    maps = [{KEY: spot(4, 5, 8.0), OTHER: spot(4, 5, 1.0)}] * 2
    pictures = drawn(probe(), maps, panels=["overlay"], scale="run")
    assert pictures["overlay/00"].group == "cam/overlay"
    assert pictures["overlay/layercam@layer3/00"].group == "cam/overlay/layercam@layer3"
    assert "heat 100% of its peak" in pictures["overlay/layercam@layer3/00"].caption


# --- comparison ----------------------------------------------------------------------------------


def columns_of(own, looks, **kwargs):
    return drawn(own, looks, panels=["comparison"], **kwargs)["comparison"].caption.split(" · ")


def test_the_comparison_of_the_first_look_is_image_and_now():
    assert columns_of(probe(), looks([0])) == ["image", "first, now epoch 0"]
    assert columns_of(probe(), looks([0]), best=0) == ["image", "first, best, now epoch 0"]


def test_the_comparison_has_its_columns_in_order_of_time():
    assert columns_of(probe(), looks([0, 5, 9, 3]), best=1) == [
        "image",
        "first epoch 0",
        "best epoch 1",
        "previous epoch 2",
        "now epoch 3",
        "now - previous red more, blue less",
    ]


def test_columns_that_coincide_stand_once():
    assert columns_of(probe(), looks([0, 5]), best=0)[1:3] == [
        "first, best, previous epoch 0",
        "now epoch 1",
    ]
    assert columns_of(probe(), looks([0, 5, 7]), best=2)[-2] == "best, now epoch 2"


def test_no_best_is_shown_where_no_value_is_known():
    assert not any("best" in title for title in columns_of(probe(), looks([0, 5, 9])))


def test_looks_within_an_epoch_are_told_by_their_steps():
    assert columns_of(probe(), looks([0, 5, 9]), epochs=[0, 0, 0])[1] == "first step 0"


def test_maps_of_other_shape_are_no_part_of_a_comparison():
    earlier = {KEY: torch.rand(4, 7, 7)}
    titles = columns_of(probe(), [earlier, *looks([5])], best=0)
    assert titles == ["image", "now epoch 1"]


def test_the_difference_shows_where_attention_went_and_left():
    # From the cell at the top left to the one at the bottom right.
    picture = drawn(probe(1), looks([0, 15], 1), panels=["comparison"])["comparison"].pixels
    column = picture[-6 - 128 : -6, -6 - 128 :].astype(int)
    left, right = column[:20, :20].mean(axis=(0, 1)), column[-26:-6, -26:-6].mean(axis=(0, 1))
    assert left[2] > 1.5 * left[0]
    assert right[0] > 1.5 * right[2]


# --- timeline and animation ----------------------------------------------------------------------


def test_the_animation_has_a_frame_for_each_column_of_the_timeline():
    pictures = drawn(probe(), looks([0, 5, 9]), panels=["timeline", "animation"])
    film = pictures["animation"]
    assert film.frames.shape[0] == 3
    assert np.array_equal(film.frames[-1], film.pixels)
    assert film.caption == "epoch 0 to epoch 2"
    assert pictures["timeline"].frames is None
    assert not np.array_equal(film.frames[0], film.frames[1])


def test_a_film_of_a_long_training_stays_small():
    film = drawn(probe(20), looks(list(range(16)) * 3, 20), panels=["animation"])["animation"]
    assert len(film.frames) <= 13
    assert film.frames.nbytes < 13 * 3 * 700 * 700


def test_frames_carry_their_epoch():
    film = drawn(probe(1), looks([5, 5], 1), panels=["animation"])["animation"].frames
    changed = (film[0] != film[1]).any(axis=(1, 2))
    assert changed.any()
    assert not changed[30:].any()  # the heading alone: the maps are the same


# --- methods, worst ------------------------------------------------------------------------------


def test_methods_stand_side_by_side_where_there_are_several():
    both = [{KEY: spot(4, 0), OTHER: spot(4, 15)}]
    assert drawn(probe(), looks([0]), panels=["methods"]) == {}
    picture = drawn(probe(), both, panels=["methods"])["methods"]
    assert picture.caption == "gradcam at layer4, layercam at layer3"


def test_the_worst_are_those_least_on_the_object_in_order():
    per_image = {"enrichment": torch.tensor([2.0, 0.25, torch.nan, 0.75])}
    caption = drawn(probe(), looks([0]), per_image=per_image, panels=["worst"])["worst"].caption
    assert caption.startswith("least on the object")
    listed = caption.split(": ")[-1]
    assert listed == "01 (enrichment 0.25), 03 (enrichment 0.75), 00 (enrichment 2.00)"


def test_without_masks_the_worst_are_those_that_moved_most():
    per_image = {"jsd_previous": torch.tensor([0.0, 0.5, 0.1, torch.nan])}
    caption = drawn(probe(), looks([0]), per_image=per_image, panels=["worst"])["worst"].caption
    assert caption.startswith("moved most")
    assert caption.endswith("01 (jsd_previous 0.50), 02 (jsd_previous 0.10)")


@pytest.mark.parametrize(
    "per_image",
    [{}, {"jsd_previous": torch.zeros(4)}, {"enrichment": torch.full((4,), torch.nan)}],
    ids=["nothing known", "nothing moved", "all flat"],
)
def test_no_worst_where_there_is_nothing_to_choose_by(per_image):
    assert drawn(probe(), looks([0]), per_image=per_image, panels=["worst"]) == {}


def test_the_worst_are_found_beyond_the_images_that_get_overlays():
    per_image = {"enrichment": torch.arange(8.0).flip(0)}
    pictures = drawn(probe(8), looks([0], 8), per_image=per_image, num_pictures=2, panels=["worst"])
    assert ": 07 (enrichment 0.00), 06" in pictures["worst"].caption


# --- classes -------------------------------------------------------------------------------------


def test_a_class_that_looks_right_is_hot_on_the_right():
    own = probe(2)
    maps = torch.zeros(2, 4, 4)
    maps[0, :, 0], maps[1, :, 3] = 1.0, 1.0
    picture = drawn(own, [{KEY: maps}], panels=["classes"], colormap="bone")["classes"]
    sheet = picture.pixels[30 : 30 + 100].astype(int).mean(axis=(0, 2))
    every, left, right = (sheet[6 + n * 118 : 6 + n * 118 + 112] for n in range(3))
    assert left[:14].mean() > 4 * left[-56:].mean() + 50
    assert right[-14:].mean() > 4 * right[:56].mean() + 50
    assert abs(every[:14].mean() - every[-14:].mean()) < 5
    assert "full heat" in picture.caption


def test_flat_maps_count_in_no_class_and_a_probe_of_them_has_no_picture():
    maps = spot(4, 3)
    maps[1] = 0.0
    assert "classes" in drawn(probe(), [{KEY: maps}], panels=["classes"])
    assert drawn(probe(), [{KEY: torch.zeros(4, 4, 4)}], panels=["classes"]) == {}


def test_many_classes_are_cut_and_that_is_said():
    own = Probe(torch.rand(40, 3, 16, 16), torch.arange(40))
    picture = drawn(own, [{KEY: spot(40, 3)}], panels=["classes"])["classes"]
    assert picture.caption.endswith("the first 23 of 40 classes")


# --- inside the network --------------------------------------------------------------------------


def inside(own, features=None, preferences=None):
    seen = snapshot(own, 0, {KEY: spot(len(own), 3)})
    history = History()
    history.add(seen)
    drawer = Panels("cam", own, Options(panels=["features", "activation_maximization"]))
    pictures = drawer.draw(seen.maps, seen, history, features=features, preferences=preferences)
    return {picture.tag: picture for picture in pictures}


def test_features_have_a_picture_a_layer_with_a_column_a_channel():
    one = FeatureMaps(torch.rand(3, 2, 4, 4), (7, 1), 64)
    two = FeatureMaps(torch.randn(3, 5, 4, 4), (0, 1, 2, 3, 4), 5)
    pictures = inside(probe(), {"layer3": one, "fpn[0]": two})
    assert next(iter(pictures)) == "cam/features/layer3"
    narrow, wide = (picture.pixels.shape for picture in pictures.values())
    assert wide[1] - narrow[1] == 3 * (96 + 6)
    assert "2 of 64 channels" in pictures["cam/features/layer3"].caption
    assert all("[" not in tag for tag in pictures)


def test_preferences_are_shown_as_images_are():
    own = probe(mean=[0.5] * 3, std=[0.25] * 3)
    grey = torch.zeros(2, 3, 32, 32)  # the mean: half of the range
    pictures = inside(own, preferences=MaximizedActivations(grey, (1, "layer4:17"), (0.0, 0.0), (2.0, 3.0)))
    tile = pictures["cam/preferences"].pixels[40:100, 20:100]
    assert (tile == 128).all()


def test_where_nothing_was_computed_nothing_is_drawn():
    assert inside(probe()) == {}
    nothing = MaximizedActivations(torch.zeros(0, 3, 32, 32), (), (), ())
    assert inside(probe(), {}, nothing) == {}


# --- several labels ------------------------------------------------------------------------------


def test_images_with_several_labels_have_a_row_a_label():
    labels = torch.tensor([[1, 0, 1], [0, 1, 0]])
    own = Probe(torch.rand(2, 3, 32, 32), labels, class_names=["a", "b", "c"])
    rows, classes = labels.nonzero(as_tuple=True)
    maps = {KEY: torch.rand(3, 4, 4)}
    seen = Snapshot(0, 0, 0, maps, rows, classes, labels > 0, torch.rand(2, 3))
    history = History()
    history.add(seen)
    drawer = Panels("cam", own, Options(panels=PANELS))
    per_image = {"enrichment": torch.rand(3), "jsd_previous": torch.rand(3)}
    pictures = {p.tag: p for p in drawer.draw(maps, seen, history, per_image=per_image)}
    assert [tag for tag in pictures if "overlay" in tag] == [
        "cam/overlay/00/a",
        "cam/overlay/00/c",
        "cam/overlay/01/b",
    ]
    assert {"cam/comparison", "cam/classes", "cam/worst"} < set(pictures)
