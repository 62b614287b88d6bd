"""Names of probes and tags: those that cannot work are refused at once, all others work."""

import pytest
from helpers.training import QUIET, cam_scalars, fit_with_tensorboard, image_tags, small

from lightning_cam import CAMCallback, CAMMonitor
from lightning_cam.output.record import read_run

pytestmark = QUIET


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([""], "with letters"),
        ([" "], "with letters"),
        (["a//b"], "with letters"),
        (["/"], "with letters"),
        (["a\nb"], "with letters"),
        (["gap", "val"], "'gap'"),
        (["dataloader_idx_0"], "'dataloader_idx_'"),
        (["day", "dataloader_idx_1"], "'dataloader_idx_'"),
        (["Val", "val"], "more than their case"),
        (["a", "a/b"], "no name inside another one, got 'a'"),
        ([3], "as text, got 3"),
    ],
    ids=str,
)
@pytest.mark.parametrize("made", [CAMCallback, CAMMonitor])
def test_names_that_cannot_work_are_refused_by_the_constructor(made, names, words):
    probes = dict.fromkeys(names) if made is CAMMonitor else dict.fromkeys(names, "val")
    with pytest.raises((ValueError, TypeError), match=words):
        made(probes)


def test_a_tag_that_lightning_refuses_is_refused_by_the_constructor():
    with pytest.raises(ValueError, match="tag without 'dataloader_idx_', got 'cam/dataloader_idx"):
        CAMCallback(tag="cam/dataloader_idx_0")


@pytest.mark.parametrize(
    "names",
    [
        ["gap"],
        ["a/b", "a/c"],
        ["unflipped", "enrichment_of"],
        ["enrichment", "overlay"],
        ["été", "two words"],
        ["..", "a.b"],
    ],
    ids=str,
)
def test_other_names_work(tmp_path, names):
    callback = small(probe=dict.fromkeys(names, "val"), strict=True)
    _, events = fit_with_tensorboard(tmp_path, callback)
    several = len(names) > 1
    tags = {name: f"cam/{name}" if several else "cam" for name in names}
    scalars = cam_scalars(events)
    counts = {len([s for s in scalars if s.startswith(f"{tag}/")]) for tag in tags.values()}
    assert len(counts) == 1
    for tag in tags.values():
        assert f"{tag}/enrichment" in scalars
        assert f"{tag}/timeline" in image_tags(events)
    run = next(tmp_path.rglob("lightning_cam")).parent
    assert sorted(record.tag for record in read_run(run)) == sorted(tags.values())
    assert all(path.resolve().is_relative_to(tmp_path) for path in tmp_path.rglob("*"))
