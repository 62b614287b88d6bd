"""Panel `worst`: the samples that are chosen, and in which order."""

import pytest
import torch
from helpers.scenes import draw, probe_of, spots


def caption(per_image, count=4, **options):
    pictures = draw(
        probe_of(count), spots([0], count), per_image=per_image, panels=["worst"], **options
    )
    return pictures["worst"].caption


def test_samples_with_the_lowest_enrichment_in_order():
    found = caption({"enrichment": torch.tensor([2.0, 0.25, torch.nan, 0.75])})
    assert found.startswith("least on the object")
    listed = found.split(": ")[-1]
    assert listed == "01 (enrichment 0.25), 03 (enrichment 0.75), 00 (enrichment 2.00)"


def test_without_masks_samples_whose_map_moved_most():
    found = caption({"jsd_previous": torch.tensor([0.0, 0.5, 0.1, torch.nan])})
    assert found.startswith("moved most")
    assert found.endswith("01 (jsd_previous 0.50), 02 (jsd_previous 0.10)")


@pytest.mark.parametrize(
    "per_image",
    [{}, {"jsd_previous": torch.zeros(4)}, {"enrichment": torch.full((4,), torch.nan)}],
    ids=["nothing known", "nothing moved", "all flat"],
)
def test_there_is_none_where_no_value_is_known(per_image):
    assert draw(probe_of(), spots([0]), per_image=per_image, panels=["worst"]) == {}


def test_samples_beyond_those_with_overlays_are_found():
    found = caption({"enrichment": torch.arange(8.0).flip(0)}, 8, num_pictures=2)
    assert ": 07 (enrichment 0.00), 06" in found


def test_there_are_at_most_six():
    found = caption({"enrichment": torch.arange(8.0)}, 8)
    assert found.count("(enrichment") == 6 + 1  # the title names it too
