"""Default rules: which there are for which probe."""

import pytest

from lightning_cam.monitor.default_rules import default_rules


@pytest.mark.parametrize(
    ("masks", "labels", "metrics"),
    [
        (False, False, []),
        (False, True, ["shortcut_score_low"]),
        (True, False, ["enrichment"]),
        (True, True, ["enrichment", "shortcut_score_low"]),
    ],
)
def test_default_rules_depend_on_masks_and_labels(masks, labels, metrics):
    assert [rule.metric for rule in default_rules(masks=masks, labels=labels)] == metrics


def test_only_the_default_rule_of_the_maps_asks_for_confirmation():
    rules = default_rules(masks=True, labels=True)
    assert [rule.confirm for rule in rules] == [True, False]
