"""Every metric against the code of another library.

| metric               | oracle                            | where it differs, and why           |
|----------------------|-----------------------------------|-------------------------------------|
| relevance_mass       | Quantus RelevanceMassAccuracy,    | a constant map, here NaN, has a     |
|                      | AttributionLocalisation           | value there                         |
| enrichment           | NumPy: mean on the object / mean  | not in any library                  |
| relevance_rank       | Quantus RelevanceRankAccuracy     | Quantus breaks ties by the sort     |
| pointing_game        | Quantus PointingGame, SciPy       | Quantus calls a constant map and an |
|                      | `maximum_position`                | empty mask a hit                    |
| iou                  | scikit-learn `jaccard_score`      | partly covered cells: by hand       |
| coverage             | scikit-image `block_reduce`       |                                     |
| entropy              | Quantus Complexity / ln N, SciPy  | Quantus does not divide by ln N     |
| mean_activation      | NumPy `mean`                      |                                     |
| center, center_shift | SciPy `center_of_mass`            | cell centres are at (i + 0.5) / n   |
| border_mass          | NumPy, the ring as a mask         | not in any library                  |
| jsd                  | SciPy `jensenshannon` squared,    | the divergences of pysaliency are   |
|                      | pysaliency's KL divergence to the | in nats                             |
|                      | mean of both                      |                                     |
| correlation          | pysaliency CC, SciPy `pearsonr`   | CC of one constant map is 0 there   |
| rank_correlation     | Quantus correlation_spearman,     |                                     |
|                      | SciPy `spearmanr`, `rankdata`     |                                     |
| top_overlap          | scikit-learn `jaccard_score`      | TopKIntersection of Quantus is of a |
|                      |                                   | map and a mask, another measure     |
| ..._reliance         | models whose reliance is known    | in `interventions/test_attributes`  |

Values of Quantus and pysaliency are recorded in `helpers/quantus_values.py`; it explains why.
"""

import math

import numpy as np
import pytest
import torch
from helpers.quantus_values import PAIRS, PYSALIENCY, QUANTUS, H, W, four_maps, four_masks
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage, stats
from scipy.spatial.distance import jensenshannon
from skimage.measure import block_reduce
from sklearn.metrics import jaccard_score

from lightning_cam import metrics
from lightning_cam.metrics.stability import _ranks

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
shapes = st.tuples(st.just(2), st.integers(3, 7), st.integers(3, 7))


@st.composite
def integer_maps(draw, most=9):
    """Return two maps of integers, with many ties and zeros, neither of them flat."""
    maps = draw(hnp.arrays(np.int64, draw(shapes), elements=st.integers(0, most)))
    assume(all(len(np.unique(each)) > 1 for each in maps))
    return maps


@st.composite
def distinct_maps(draw):
    """Return two maps without ties: permutations of different numbers."""
    h, w = draw(st.integers(3, 7)), draw(st.integers(3, 7))
    cells = [draw(st.permutations(range(h * w))) for _ in range(2)]
    return np.array(cells, dtype=np.float64).reshape(2, h, w)


def torched(maps):
    return torch.from_numpy(np.ascontiguousarray(maps)).float()


def one(values):
    (value,) = values.tolist()
    return value


def some_mask(shape, seed):
    mask = np.random.default_rng(seed).random(shape) < 0.4
    mask.flat[0], mask.flat[-1] = True, False
    return mask


# --- recorded values: Quantus and pysaliency ------------------------------------------------------


@pytest.mark.parametrize("oracle", ["RelevanceMassAccuracy", "AttributionLocalisation"])
def test_relevance_mass_equals_quantus(oracle):
    found = metrics.relevance_mass(torched(four_maps()), torch.from_numpy(four_masks()))
    assert found.tolist() == pytest.approx(QUANTUS[oracle], abs=1e-6)


def test_relevance_rank_equals_quantus_without_ties():
    found = metrics.relevance_rank(torched(four_maps()), torch.from_numpy(four_masks()))
    assert found[:3].tolist() == pytest.approx(QUANTUS["RelevanceRankAccuracy"][:3])


def test_pointing_game_equals_quantus_where_one_cell_is_the_highest():
    found = metrics.pointing_game(torched(four_maps()), torch.from_numpy(four_masks()))
    assert found[:3].tolist() == QUANTUS["PointingGame"][:3]


def test_entropy_equals_quantus_complexity_over_its_maximum():
    expected = np.array(QUANTUS["Complexity"]) / math.log(H * W)
    assert metrics.entropy(torched(four_maps())).tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (metrics.correlation, QUANTUS["correlation_pearson"]),
        (metrics.correlation, PYSALIENCY["CC"]),
        (metrics.rank_correlation, QUANTUS["correlation_spearman"]),
        (metrics.jsd, [nats / math.log(2) for nats in PYSALIENCY["KLDiv to the mean"]]),
    ],
    ids=["pearson-quantus", "pearson-pysaliency", "spearman-quantus", "jsd-pysaliency"],
)
def test_movement_equals_the_recorded_values(metric, expected):
    maps = torched(four_maps())
    now, before = maps[[a for a, _ in PAIRS]], maps[[b for _, b in PAIRS]]
    assert metric(now, before).tolist() == pytest.approx(expected, abs=1e-5)


# --- computed values: SciPy, scikit-learn, scikit-image, NumPy ------------------------------------


@given(integer_maps())
def test_entropy_mean_and_center_equal_scipy(maps):
    _, h, w = maps.shape
    cells = maps.reshape(2, -1)
    expected = stats.entropy(cells, base=h * w, axis=1)
    assert metrics.entropy(torched(maps)).tolist() == pytest.approx(expected, abs=1e-5)
    assert metrics.mean_activation(torched(maps)).tolist() == pytest.approx(cells.mean(axis=1))
    for found, each in zip(metrics.center(torched(maps)).tolist(), maps, strict=True):
        y, x = ndimage.center_of_mass(each)
        assert found == pytest.approx([(x + 0.5) / w, (y + 0.5) / h], abs=1e-5)


@given(integer_maps(), st.sampled_from([0.125, 0.25, 0.34]))
def test_border_mass_equals_numpy(maps, width):
    _, h, w = maps.shape
    dy, dx = max(1, round(h * width)), max(1, round(w * width))
    ring = np.ones((h, w), dtype=bool)
    ring[dy : h - dy, dx : w - dx] = False
    found = metrics.border_mass(torched(maps), width)
    if ring.all() or 2 * dy >= h or 2 * dx >= w:
        assert found.isnan().all()
        return
    expected = [each[ring].sum() / each.sum() / ring.mean() for each in maps]
    assert found.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)


@given(integer_maps(), st.integers(0, 99), st.sampled_from([1, 2, 3]))
def test_mass_and_enrichment_equal_numpy(maps, seed, factor):
    _, h, w = maps.shape
    mask = some_mask((h * factor, w * factor), seed)
    cover = block_reduce(mask.astype(float), (factor, factor), np.mean)
    each, masks = torched(maps[:1]), torch.from_numpy(mask)[None]
    torch.testing.assert_close(metrics.coverage(masks, (h, w))[0], torched(cover), **CLOSE)
    mass = (maps[0] * cover).sum() / maps[0].sum()
    assert one(metrics.relevance_mass(each, masks)) == pytest.approx(mass, abs=1e-5)
    expected = np.average(maps[0], weights=cover) / maps[0].mean()
    assert one(metrics.enrichment(each, masks)) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@given(distinct_maps(), st.integers(0, 99))
def test_relevance_rank_and_pointing_game_equal_scipy(maps, seed):
    mask = some_mask(maps.shape[1:], seed)
    count = mask.sum()
    highest = stats.rankdata(-maps[0]).reshape(mask.shape) <= count
    each, masks = torched(maps[:1]), torch.from_numpy(mask)[None]
    expected = (highest & mask).sum() / count
    assert one(metrics.relevance_rank(each, masks)) == pytest.approx(expected, abs=1e-6)
    assert one(metrics.pointing_game(each, masks)) == mask[ndimage.maximum_position(maps[0])]


@given(integer_maps(), st.integers(0, 99), st.sampled_from([0.25, 0.5, 0.75]))
def test_iou_equals_scikit_learn(maps, seed, threshold):
    mask = some_mask(maps.shape[1:], seed)
    hot = maps[0] > threshold * maps[0].max()
    found = metrics.iou(torched(maps[:1]), torch.from_numpy(mask)[None], threshold)
    assert one(found) == pytest.approx(jaccard_score(mask.ravel(), hot.ravel()), abs=1e-6)


@given(integer_maps())
def test_divergence_and_correlations_equal_scipy(maps):
    now, before = maps.reshape(2, -1)
    first, second = torched(maps[:1]), torched(maps[1:])
    expected = jensenshannon(now, before, base=2) ** 2
    assert one(metrics.jsd(first, second)) == pytest.approx(expected, abs=1e-5)
    expected = stats.pearsonr(now, before).statistic
    assert one(metrics.correlation(first, second)) == pytest.approx(expected, abs=1e-4)
    expected = stats.spearmanr(now, before).statistic
    assert one(metrics.rank_correlation(first, second)) == pytest.approx(expected, abs=1e-4)


@given(integer_maps(most=3))
def test_ranks_of_ties_equal_scipy(maps):
    expected = stats.rankdata(maps.reshape(2, -1), method="average", axis=1)
    assert np.array_equal(_ranks(torched(maps)).reshape(2, -1).numpy(), expected)


@given(integer_maps())
def test_center_shift_equals_scipy(maps):
    _, h, w = maps.shape
    shift = np.subtract(*(ndimage.center_of_mass(each) for each in maps))
    found = one(metrics.center_shift(torched(maps[:1]), torched(maps[1:])))
    assert found == pytest.approx(np.linalg.norm(shift) / math.hypot(h, w), abs=1e-5)


@given(distinct_maps(), st.sampled_from([0.1, 0.2, 0.5]))
def test_top_overlap_equals_scikit_learn(maps, share):
    count = max(1, round(share * maps[0].size))
    now, before = (stats.rankdata(-each) <= count for each in maps)
    found = metrics.top_overlap(torched(maps[:1]), torched(maps[1:]), share)
    assert one(found) == pytest.approx(jaccard_score(now, before), abs=1e-6)
