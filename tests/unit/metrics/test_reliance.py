"""Metrics of reliance on the background, by hand from outcomes and by the papers' formulas."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_cam.metrics.reliance import (
    MIN_PAIRS,
    InterventionResults,
    Outcome,
    background_accuracy,
    background_confidence,
    background_reliance,
    background_skill,
    bg_gap,
    bg_gap_confidence,
    faithfulness,
    foreground_sensitivity,
    mixed_rand_drop,
    outcome,
    random_drop,
    rfs,
    rfs_confidence,
    rim_confidence,
    rim_gap_confidence,
    rim_reliance,
    rim_skill,
    top_drop,
)

ALL = [
    background_accuracy,
    background_confidence,
    background_reliance,
    background_skill,
    bg_gap,
    bg_gap_confidence,
    faithfulness,
    mixed_rand_drop,
    random_drop,
    rfs,
    rfs_confidence,
    rim_confidence,
    rim_gap_confidence,
    rim_reliance,
    rim_skill,
    top_drop,
]

probability = st.floats(0, 1)


def answers(confidence, rows=None, skill=None):
    """Return an outcome; a label counts as predicted from a probability of 0.5."""
    confidence = torch.tensor(confidence)
    rows = torch.arange(len(confidence)) if rows is None else torch.tensor(rows)
    skill = confidence - 0.1 if skill is None else torch.tensor(skill)
    return Outcome(rows, confidence, confidence > 0.5, skill)


def results(clean, **altered):
    return InterventionResults(answers(clean), altered)


# --- outcomes -------------------------------------------------------------------------------------


def test_an_outcome_by_hand():
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.3, 0.6]])
    found = outcome(probabilities, torch.tensor([0, 1, 0]), torch.tensor([4, 7, 9]))
    assert found.rows.tolist() == [4, 7, 9]
    assert found.confidence.tolist() == pytest.approx([0.7, 0.4, 0.1])
    assert found.correct.tolist() == [True, False, False]
    # Class 0 gets 0.5 from the image of another class, class 1 0.2 and 0.3 from two of them.
    assert found.skill.tolist() == pytest.approx([0.7 - 0.5, 0.4 - 0.25, 0.1 - 0.5])


def test_skill_is_zero_for_a_constant_answer_and_nan_without_other_classes():
    constant = torch.tensor([[0.7, 0.3]]).expand(4, 2)
    skill = outcome(constant, torch.tensor([0, 1, 0, 1]), torch.arange(4)).skill
    torch.testing.assert_close(skill, torch.zeros(4))
    assert outcome(constant, torch.zeros(4).long(), torch.arange(4)).skill.isnan().all()


def test_pairs_are_of_the_images_that_both_interventions_altered():
    found = results(
        [0.5] * 8,
        one=answers([0.1, 0.2, 0.3, 0.4, 0.5], rows=[0, 2, 3, 5, 6]),
        other=answers([0.6, 0.5, 0.4, 0.3, 0.2], rows=[7, 6, 5, 3, 2]),
    ).pair("one", "other")
    assert [each.rows.tolist() for each in found] == [[2, 3, 5, 6]] * 2
    assert found[0].confidence.tolist() == pytest.approx([0.2, 0.3, 0.4, 0.5])
    assert found[1].confidence.tolist() == pytest.approx([0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize("count", [MIN_PAIRS - 1, MIN_PAIRS])
def test_too_few_pairs_are_none(count):
    each = answers([0.5] * count)
    known = results([0.5] * 8, one=each, other=each)
    assert (known.pair("one", "other") is None) == (count < MIN_PAIRS)
    assert known.pair("one", "missing") is None


# --- each metric ----------------------------------------------------------------------------------


def test_gaps_are_differences_of_accuracies_and_of_probabilities():
    found = results(
        [0.9] * 4,
        mixed_same=answers([0.9, 0.8, 0.7, 0.6]),
        mixed_rand=answers([0.6, 0.4, 0.2, 0.0]),
        rim_same=answers([0.9, 0.9, 0.9, 0.9]),
        rim_rand=answers([0.9, 0.8, 0.7, 0.6]),
    )
    assert bg_gap(found) == pytest.approx(1 - 1 / 4)
    assert bg_gap_confidence(found) == pytest.approx(0.75 - 0.3)
    assert rim_gap_confidence(found) == pytest.approx(0.9 - 0.75)


def test_gaps_compare_the_same_images():
    """Image 9 has no partner of its class, 8 none of another class: both are left out."""
    same = answers([0.0, 1, 1, 1, 1], rows=[8, 0, 1, 2, 3])
    rand = answers([0.0, 1, 1, 1, 1], rows=[9, 0, 1, 2, 3])
    found = results([1.0] * 10, mixed_same=same, mixed_rand=rand)
    assert bg_gap(found) == bg_gap_confidence(found) == 0


@given(st.lists(probability, min_size=4, max_size=9), st.data())
def test_gaps_of_exchanged_backgrounds_change_their_sign(same, data):
    count = len(same)
    rand = data.draw(st.lists(probability, min_size=count, max_size=count))
    ours, theirs = answers(same), answers(rand)
    found = InterventionResults(ours, {"mixed_same": ours, "mixed_rand": theirs})
    exchanged = InterventionResults(ours, {"mixed_same": theirs, "mixed_rand": ours})
    for gap in (bg_gap, bg_gap_confidence):
        assert gap(found) == -gap(exchanged)
        assert -1 <= gap(found) <= 1


def test_drops_are_of_the_images_that_were_altered():
    """Of four images two were altered; the confidence of the others does not count."""
    found = results(
        [0.9, 0.1, 0.7, 0.2],
        without_top=answers([0.3, 0.1], rows=[0, 2]),
        without_random=answers([0.8, 0.6], rows=[0, 2]),
        mixed_rand=answers([0.1, 0.1], rows=[2, 3]),
    )
    assert top_drop(found) == pytest.approx((0.6 + 0.6) / 2)
    assert random_drop(found) == pytest.approx((0.1 + 0.1) / 2)
    assert faithfulness(found) == pytest.approx(0.5)
    assert mixed_rand_drop(found) == pytest.approx((0.6 + 0.1) / 2)


def test_what_the_background_or_the_rim_predict_alone():
    alone = answers([0.9, 0.6, 0.2, 0.1], skill=[0.5, 0.3, -0.1, 0.1])
    found = results([0.9] * 4, background=alone, rim=alone)
    assert background_accuracy(found) == pytest.approx(0.5)
    assert background_confidence(found) == rim_confidence(found) == pytest.approx(0.45)
    assert background_skill(found) == rim_skill(found) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("skill", "divisor"),
    [
        ([0.8, 0.4, 0.8, 0.4], 0.6),
        ([0.1, 0.1, 0.1, 0.1], 0.3),  # a model that knows little can rely on little
        ([math.nan] * 4, 1.0),  # images of one class only
    ],
)
def test_reliance_is_the_mean_of_gap_and_skill_over_the_clean_skill(skill, divisor):
    same, other = answers([0.9] * 4), answers([0.5] * 4)
    alone = answers([0.5] * 4, skill=[0.2] * 4)
    clean = answers([0.9] * 4, skill=skill)
    found = InterventionResults(
        clean, {"mixed_same": same, "mixed_rand": other, "background": alone}
    )
    assert background_reliance(found) == pytest.approx((0.4 + 0.2) / 2 / divisor)
    rims = InterventionResults(clean, {"rim_same": same, "rim_rand": other, "rim": alone})
    assert rim_reliance(rims) == pytest.approx((0.4 + 0.2) / 2 / divisor)


def test_reliance_needs_one_of_its_two_estimates():
    clean = answers([0.9] * 4, skill=[0.5] * 4)
    alone = {"background": answers([0.5] * 4, skill=[0.2] * 4)}
    assert background_reliance(InterventionResults(clean, alone)) == pytest.approx(0.2 / 0.5)
    assert math.isnan(background_reliance(InterventionResults(clean, {})))


def test_rfs_by_accuracy_and_by_probability():
    found = results(
        [0.9] * 4,
        noisy_object=answers([0.9, 0.2, 0.2, 0.3]),
        noisy_background=answers([0.9, 0.8, 0.7, 0.4]),
    )
    assert rfs(found) == pytest.approx((0.75 - 0.25) / (2 * 0.5))
    assert rfs_confidence(found) == pytest.approx((0.7 - 0.4) / (2 * (1 - 0.55)))


@pytest.mark.parametrize("metric", ALL)
def test_without_its_interventions_a_metric_is_nan(metric):
    assert math.isnan(metric(results([0.5] * 8)))


# --- RFS ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noisy_object", "noisy_background", "expected"),
    [(0.0, 0.8, 1.0), (0.8, 0.0, -1.0), (0.5, 0.5, 0.0), (0.6, 0.9, 0.6), (0.1, 0.3, 0.5)],
)
def test_rfs_is_equation_1_of_the_paper(noisy_object, noisy_background, expected):
    assert foreground_sensitivity(noisy_object, noisy_background) == pytest.approx(expected)


@pytest.mark.parametrize("both", [0.0, 1.0, math.nan])
def test_rfs_is_nan_where_no_difference_is_possible(both):
    assert math.isnan(foreground_sensitivity(both, both))


@given(probability, probability)
def test_rfs_is_bounded_and_changes_its_sign_with_its_sides(foreground, background):
    value = foreground_sensitivity(foreground, background)
    if math.isnan(value):
        assert foreground == background
        assert foreground in (0, 1)
        return
    assert -1 - 1e-9 <= value <= 1 + 1e-9
    assert foreground_sensitivity(background, foreground) == pytest.approx(-value)
    assert (value > 0) == (background > foreground) or value == pytest.approx(0)


@given(st.floats(0.01, 0.99))
def test_rfs_is_one_where_only_noise_on_the_object_matters(other):
    """Noise on the object leaves no image right, or noise on the background all of them."""
    assert foreground_sensitivity(0.0, other) == pytest.approx(1)
    assert foreground_sensitivity(other, 1.0) == pytest.approx(1)
