"""The event file of a default run: its images and scalars, read back by TensorBoard."""

import numpy as np
import pytest
import torch
from helpers.training import (
    QUIET,
    Squares,
    cam_scalars,
    decoded,
    fit_with_tensorboard,
    image_steps,
    image_tags,
    loader,
    scalar_steps,
)

from lightning_cam import CAMCallback
from lightning_cam.metrics.registry import find_metric

pytestmark = QUIET


@pytest.fixture(scope="module")
def default_run(tmp_path_factory):
    """Return the trainer and the event file of three validations with the default callback."""
    folder = tmp_path_factory.mktemp("default")
    data = Squares(24)
    return fit_with_tensorboard(folder, CAMCallback(), val=loader(data), max_epochs=3)


def test_every_overlay_and_the_timeline_has_an_image_per_validation(default_run):
    _, events = default_run
    tags = image_tags(events)
    overlays = [tag for tag in tags if tag.startswith("cam/overlay/")]
    assert len(overlays) == 16
    panels = ["cam/classes", "cam/comparison", "cam/timeline", "cam/worst"]
    assert tags == sorted([*overlays, *panels])
    counts = {tag: len(events.Images(tag)) for tag in tags}
    assert counts == {**dict.fromkeys(tags, 3), "cam/comparison": counts["cam/comparison"]}


def test_images_are_logged_at_the_steps_of_the_scalars(default_run):
    _, events = default_run
    steps = scalar_steps(events, "val_loss")
    assert len(steps) == 3
    assert scalar_steps(events, "cam/enrichment") == steps
    for tag in image_tags(events):
        assert image_steps(events, tag) == steps[-len(events.Images(tag)) :]


def test_images_decode_to_the_size_in_their_header(default_run):
    _, events = default_run
    for tag in image_tags(events):
        for event in events.Images(tag):
            assert decoded(event.encoded_image_string).shape == (event.height, event.width, 3)


def test_the_timeline_grows_with_the_validations(default_run):
    _, events = default_run
    widths = [event.width for event in events.Images("cam/timeline")]
    assert widths[0] < widths[1] < widths[2]
    assert widths[2] - widths[1] == widths[1] - widths[0]


def test_the_metrics_are_finite_and_within_their_bounds(default_run):
    _, events = default_run
    values = {tag: [e.value for e in events.Scalars(tag)] for tag in cam_scalars(events)}
    known = {tag: each for tag, each in values.items() if not tag.endswith("_se")}  # with 8 triples
    undefined = {tag for tag, each in known.items() if not np.isfinite(each).all()}
    assert undefined <= {*(f"cam/enrichment_of/{n}" for n in range(4))}, values
    for tag, each in values.items():
        name = tag.removeprefix("cam/").removeprefix("unflipped/").partition("/")[0]
        metric, _ = find_metric(name.replace("enrichment_of", "enrichment"))
        low, high = metric.bounds
        assert low is None or np.nanmin(each) >= low - 1e-6, tag
        assert high is None or np.nanmax(each) <= high + 1e-6, tag
    assert values["cam/drift_previous"][0] == 0
    assert values["cam/drift_previous"][2] > 0


def test_the_default_probe_is_balanced_and_has_masks(default_run):
    trainer, _ = default_run
    (probe,) = next(c for c in trainer.callbacks if isinstance(c, CAMCallback)).probes.values()
    assert probe.targets.bincount().tolist() == [6, 6, 6, 6]  # all there are; at most 32
    assert probe.targets[:4].tolist() == [0, 1, 2, 3]
    data = Squares(24)
    for image, mask, name in zip(probe.images, probe.masks, probe.ids, strict=True):
        assert torch.equal(image, data.images[int(name.split("-")[-1])])
        assert torch.equal(mask, data.masks[int(name.split("-")[-1])])
