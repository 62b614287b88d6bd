"""Reliance without masks: models whose answer is known, and what the images are cut by."""

import math

import pytest
import torch
from torch import nn

from lightning_cam.explain.engine import CAMResult
from lightning_cam.interventions.background import filled
from lightning_cam.interventions.mask_free import (
    CENTER_SIDE,
    TOP_SHARE,
    center_masks,
    shift_regions,
    mask_free_interventions,
    top_regions,
)
from lightning_cam.metrics.reliance import MASK_FREE_METRICS, Outcome, mask_free_reliance
from lightning_cam.monitor.config import Options
from lightning_cam.probe import Probe
from lightning_cam.interventions.run import ask_reliance
from lightning_cam.monitor.probe_monitor import Watch

CLASSES, SIZE, SHARP = 4, 20, 40.0  # 0.7 of 20 is 14 pixels, which leaves a rim of 3
LABELS = torch.arange(16) % CLASSES


def region(top, bottom, left, right):
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


RIM, MIDDLE = region(0, 2, 0, 20), region(9, 11, 9, 11)
PATCH = region(0, 10, 0, 10)  # a quarter of the image, as much as the top region


class Reader(nn.Module):
    """Reads the class off the mean colour of one region, or of one region an image."""

    def __init__(self, where):
        super().__init__()
        self.see = nn.Conv2d(CLASSES, CLASSES, 1, bias=False)
        self.see.weight.data.copy_(torch.eye(CLASSES)[:, :, None, None])
        where = where.float()
        self.register_buffer("where", where / where.sum(dim=(-2, -1), keepdim=True))

    def forward(self, images):
        return SHARP * (self.see(images) * self.where).sum(dim=(2, 3))


def coloured(where=None):
    """Return images that show their class by a colour, in a region or everywhere, else grey."""
    images = torch.full((len(LABELS), CLASSES, SIZE, SIZE), 1 / CLASSES)
    shown = torch.zeros(len(LABELS), CLASSES, 1, 1)
    shown[torch.arange(len(LABELS)), LABELS] = 1.0
    return torch.where(torch.ones(SIZE, SIZE).bool() if where is None else where, shown, images)


def asked(model, images, maps, labels=LABELS, **choices):
    probe = Probe(images, labels)
    with torch.no_grad():
        logits = model(images)
    result = CAMResult({("by hand", "see"): maps}, logits, LABELS, torch.arange(len(LABELS)))
    return ask_reliance(model, probe, images, result, Options(**choices))


def maps_on(where):
    """Return maps that are above 0 in one region; not equally, so that it has an inside."""
    slope = 1 + torch.linspace(0, 0.1, SIZE).expand(SIZE, SIZE)
    return (where * slope).expand(len(LABELS), -1, -1).clone()


# --- models whose answer is known ---


def test_a_model_that_reads_only_the_rim():
    found = asked(Reader(RIM), coloured(), maps_on(PATCH))
    assert set(found) == set(MASK_FREE_METRICS)
    assert found["rim_gap_confidence"] == pytest.approx(1, abs=1e-4)
    assert found["rim_confidence"] == pytest.approx(1, abs=1e-4)
    assert found["rim_skill"] == pytest.approx(1, abs=1e-4)
    assert found["rim_reliance"] == pytest.approx(1, abs=1e-4)


def test_a_model_that_reads_only_the_middle():
    found = asked(Reader(MIDDLE), coloured(MIDDLE), maps_on(MIDDLE))
    assert found["rim_gap_confidence"] == pytest.approx(0, abs=1e-4)
    assert found["rim_confidence"] == pytest.approx(1 / CLASSES, abs=1e-4)
    assert found["rim_skill"] == pytest.approx(0, abs=1e-4)
    assert found["rim_reliance"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("share", [0.25, 0.6])
def test_the_gap_is_the_share_that_the_rim_decides(share):
    class Blend(nn.Module):
        def __init__(self):
            super().__init__()
            self.rim, self.middle = Reader(RIM), Reader(MIDDLE)

        def forward(self, images):
            rim, middle = self.rim(images).softmax(1), self.middle(images).softmax(1)
            return (share * rim + (1 - share) * middle).log()

    found = asked(Blend(), coloured(), maps_on(PATCH))
    assert found["rim_gap_confidence"] == pytest.approx(share, abs=1e-3)


def test_a_map_that_is_highest_where_the_model_reads_is_faithful():
    found = asked(Reader(PATCH), coloured(PATCH), maps_on(PATCH))
    assert found["top_drop"] == pytest.approx(1 - 1 / CLASSES, abs=1e-3)  # all that there was
    assert found["random_drop"] < found["top_drop"]
    assert found["faithfulness"] == found["top_drop"] - found["random_drop"]
    assert found["faithfulness"] > 0.5


def test_a_map_that_is_lowest_where_the_model_reads_misleads():
    found = asked(Reader(PATCH), coloured(PATCH), maps_on(region(10, 20, 10, 20)))
    assert found["top_drop"] == pytest.approx(0, abs=1e-3)
    assert found["faithfulness"] <= 0


def test_a_map_that_knows_nothing_is_not_faithful():
    """The model reads one pixel, anywhere; maps are noise. Over many draws no region is better."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for seed in range(48):
        spots = torch.zeros(len(LABELS), SIZE * SIZE, dtype=torch.bool)
        drawn = torch.randint(SIZE * SIZE, (len(LABELS), 1), generator=generator)
        spots = spots.scatter(1, drawn, value=True).view(-1, 1, SIZE, SIZE)
        noise = torch.rand(len(LABELS), 5, 5, generator=generator)
        found.append(asked_of_each(spots, noise, seed))
        exact = spots[:, 0].float() + 1e-3 * torch.rand(spots[:, 0].shape, generator=generator)
        found[-1]["knowing"] = asked_of_each(spots, exact, seed)["faithfulness"]
    mean = {name: sum(each[name] for each in found) / len(found) for name in found[0]}
    assert abs(mean["faithfulness"]) < 0.07  # three standard errors of 384 images
    assert mean["top_drop"] == pytest.approx(TOP_SHARE * (1 - 1 / CLASSES), abs=0.05)
    assert mean["knowing"] > 0.3


def asked_of_each(spots, maps, seed):
    """Ask of models that read another pixel of each image, on images that show colour only there.

    The interventions take every second of 16 images, in order; the reader is told by their number.
    """

    class Spots(nn.Module):
        def forward(self, images):
            rows = spots if len(images) == len(LABELS) else spots[:: len(LABELS) // len(images)]
            return SHARP * (images * rows).sum(dim=(2, 3))

    return asked(Spots(), coloured(spots), maps, seed=seed, chunk_size=64)


def test_the_label_asked_for_is_the_prediction_where_there_is_none():
    images = coloured(PATCH)
    known = asked(Reader(PATCH), images, maps_on(PATCH))
    assert asked(Reader(PATCH), images, maps_on(PATCH), labels=None) == known
    wrong = asked(Reader(PATCH), images, maps_on(PATCH), labels=(LABELS + 1) % CLASSES)
    assert wrong["top_drop"] < 0  # the label gains when the colour of another one goes


@pytest.mark.parametrize("chunk_size", [1, 5, 64])
def test_the_size_of_the_chunks_changes_nothing(chunk_size):
    expected = asked(Reader(PATCH), coloured(), maps_on(PATCH))
    found = asked(Reader(PATCH), coloured(), maps_on(PATCH), chunk_size=chunk_size)
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_watch_asks_it_of_its_own_maps_and_draws_no_global_number():
    images = coloured(PATCH)
    model, watch = Reader(PATCH), Watch("cam", Probe(images, LABELS), Options(method="layercam"))
    watch.prepare(model, images)
    before = torch.get_rng_state()
    look = watch.look(model, images, epoch=0, step=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert set(look.evidence) == set(MASK_FREE_METRICS)
    assert look.metrics["cam/faithfulness"] > 0.5
    assert model.see.weight.grad is None


def test_a_drop_is_of_the_images_that_were_asked():
    """Of four images the first and the third are: the others' confidence is no part of it."""

    def said(rows, confidence):
        confidence = torch.tensor(confidence)
        return Outcome(torch.tensor(rows), confidence, confidence > 0.5, confidence - 0.1)

    clean = said(range(4), [0.9, 0.1, 0.7, 0.2])
    without = {"without_top": said([0, 2], [0.3, 0.1]), "without_random": said([0, 2], [0.8, 0.6])}
    found = mask_free_reliance(clean, without)
    assert found["top_drop"] == pytest.approx((0.6 + 0.6) / 2)
    assert found["random_drop"] == pytest.approx((0.1 + 0.1) / 2)
    assert found["faithfulness"] == pytest.approx(0.5)
    assert all(math.isnan(value) for value in mask_free_reliance(clean, {}).values())


# --- what is cut, and how much ---


def test_a_round_costs_four_forwards_of_the_probe():
    images = torch.rand(64, 3, 8, 8)
    made = mask_free_interventions(images, torch.rand(64, 4, 4), torch.arange(64) % 4)
    assert sum(len(each.rows) for each in made) == 4 * 64
    assert all(each.make().shape[1:] == images.shape[1:] for each in made)


def test_rims_are_exchanged_and_the_middle_stays():
    images = coloured()
    labels = images[:, :, 0, 0].argmax(dim=1)
    made = {each.name: each for each in mask_free_interventions(images, maps_on(PATCH), labels)}
    middle = center_masks(images)[0]
    for name in ("rim_same", "rim_rand"):
        done = made[name].make()
        assert torch.equal(done[..., middle], images[..., middle])
        rim = done[:, :, 0, 0].argmax(dim=1)
        assert torch.equal(rim == labels, torch.full((16,), name == "rim_same"))
    alone = made["rim"].make()
    assert torch.equal(alone[..., ~middle], images[..., ~middle])


@pytest.mark.parametrize("size", [(20, 20), (32, 32), (224, 224), (24, 60), (7, 9)])
def test_the_middle_is_centred_and_of_the_stated_size(size):
    mask = center_masks(torch.zeros(2, 3, *size))
    assert mask.shape == (2, *size)
    assert torch.equal(mask, mask.flip(1))
    assert torch.equal(mask, mask.flip(2))
    for sides, length in ((mask[0].any(dim=1), size[0]), (mask[0].any(dim=0), size[1])):
        assert abs(int(sides.sum()) - CENTER_SIDE * length) <= 1
    if min(size) >= 200:
        assert mask.float().mean().item() == pytest.approx(CENTER_SIDE**2, abs=0.005)
    if size == (20, 20):
        assert mask.float().mean().item() == pytest.approx(CENTER_SIDE**2)


@pytest.mark.parametrize("grid", [(4, 4), (7, 7), (3, 5), (20, 24)])
def test_top_regions_are_a_quarter_and_the_highest(grid):
    maps = torch.rand(3, *grid)
    regions = top_regions(maps, 20, 24)
    assert regions.flatten(1).sum(dim=1).tolist() == [round(TOP_SHARE * 20 * 24)] * 3
    large = nn.functional.interpolate(maps[:, None], size=(20, 24), mode="bilinear")[:, 0]
    for each, chosen in zip(large, regions, strict=True):
        assert each[chosen].min() >= each[~chosen].max()


def test_top_regions_do_not_see_scale_and_follow_a_flip():
    maps = torch.rand(3, 5, 6)
    regions = top_regions(maps, 20, 24)
    assert torch.equal(top_regions(maps * 2.0**-20, 20, 24), regions)
    assert torch.equal(top_regions(maps.flip(2), 20, 24), regions.flip(2))
    assert torch.equal(top_regions(maps[[2, 0, 1]], 20, 24), regions[[2, 0, 1]])


def test_elsewhere_keeps_shape_and_area_and_draws_from_its_own_stream():
    regions = torch.zeros(6, 10, 12, dtype=torch.bool)
    regions[:, 2:5, 3:8] = True
    before = torch.get_rng_state()
    moved = shift_regions(regions, torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(moved.flatten(1).sum(1), regions.flatten(1).sum(1))
    for old, new in zip(regions, moved, strict=True):
        shifts = [(y, x) for y in range(10) for x in range(12)]
        assert any(torch.equal(old.roll(by, dims=(0, 1)), new) for by in shifts)
    for dim in (1, 2):  # up and down as well as sideways
        assert len({tuple(each.any(dim=dim - 1).tolist()) for each in moved}) > 1
    assert torch.equal(shift_regions(regions, torch.Generator().manual_seed(0)), moved)


@pytest.mark.parametrize("value", [0.0, 3.0, math.nan])
def test_a_flat_map_says_nothing_of_where_to_cut(value):
    """Its top region would be any: half of the maps are flat here, and their images not asked."""
    maps = maps_on(PATCH)
    maps[:8] = value
    made = {each.name: each for each in mask_free_interventions(coloured(), maps, LABELS)}
    for name in ("without_top", "without_random"):
        assert made[name].rows.min() >= 8


def test_with_flat_maps_alone_there_is_no_faithfulness():
    found = asked(Reader(PATCH), coloured(), torch.zeros(len(LABELS), 4, 4))
    assert "rim_gap_confidence" in found
    assert "faithfulness" not in found


def test_filling_everything_leaves_nothing_to_read():
    everything = torch.ones(2, 6, 6, dtype=torch.bool)
    assert filled(torch.rand(2, 3, 6, 6), everything).abs().max() == 0
