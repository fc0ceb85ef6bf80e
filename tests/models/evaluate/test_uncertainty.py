"""Bootstrap and tests against scipy, loops and tables."""

import itertools

import numpy as np
import pytest
from scipy import stats

from models.evaluate import uncertainty
from models.evaluate.pooling import Measure
from models.evaluate.uncertainty import NO_INTERVAL, Clusters
from models.metrics.pixels import FloatArray, ratio


def mean_of(values: FloatArray, weights: FloatArray | None = None, *, invalid: int = -1) -> Measure:
    """A weighted mean over images; those of weight 0 do not count."""
    weights = np.ones(len(values)) if weights is None else weights
    reached = weights > 0
    terms = np.stack([values * weights, weights], axis=1)
    broken = np.arange(len(values)) == invalid
    return Measure(terms, lambda sums: ratio(sums[..., 0], sums[..., 1]), reached, reached, broken, weights)


def test_the_interval_of_a_mean_over_single_patches_is_the_percentile_bootstrap() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(20, 3, 40)
    found = uncertainty.interval([mean_of(values)], Clusters.of([str(i) for i in range(40)]), np.ones(40, bool))
    wanted = np.percentile(values[rng.integers(0, 40, (20_000, 40))].mean(axis=1), [2.5, 97.5])
    np.testing.assert_allclose(found, wanted, atol=0.05 * (wanted[1] - wanted[0]))


def test_whole_rois_are_drawn() -> None:
    """Oracle: numpy drawing ROIs by name. Patches of a ROI are alike, so an interval over patches would be far narrower."""
    rng = np.random.default_rng(2)
    rois = np.repeat([f"roi-{number}" for number in range(8)], rng.integers(3, 30, 8))
    values = rng.normal(0, 3, 8)[np.unique(rois, return_inverse=True)[1]] + rng.normal(0, 0.3, len(rois))
    weights = rng.uniform(0, 1, len(rois))
    drawn = []
    for _ in range(20_000):
        names = rng.choice(np.unique(rois), 8)
        members = np.concatenate([np.flatnonzero(rois == name) for name in names])
        drawn.append(np.average(values[members], weights=weights[members]))
    wanted = np.percentile(drawn, [2.5, 97.5])
    group = np.ones(len(rois), bool)
    found = uncertainty.interval([mean_of(values, weights)], Clusters.of(list(rois)), group)
    np.testing.assert_allclose(found, wanted, atol=0.06 * (wanted[1] - wanted[0]))
    single = uncertainty.interval([mean_of(values, weights)], Clusters.of([str(i) for i in range(len(rois))]), group)
    assert found.high - found.low > 2 * (single.high - single.low)  # type: ignore[operator]


def test_seeds_are_drawn_together() -> None:
    values = np.random.default_rng(3).normal(20, 3, (3, 30))
    clusters, group = Clusters.of([str(i) for i in range(30)]), np.ones(30, bool)
    together = uncertainty.interval([mean_of(seed) for seed in values], clusters, group)
    np.testing.assert_allclose(together, uncertainty.interval([mean_of(values.mean(axis=0))], clusters, group))


def test_the_same_draws_every_time() -> None:
    measure, group = mean_of(np.arange(9.0)), np.ones(9, bool)
    clusters = Clusters.of(list("aabbccdde"))
    first = uncertainty.interval([measure], clusters, group)
    uncertainty._counts.cache_clear()
    assert uncertainty.interval([measure], clusters, group) == first


def test_one_cluster_gives_no_interval() -> None:
    values, everyone = np.arange(6.0), np.ones(6, bool)
    clusters = Clusters.of(list("aabbcc"))
    assert uncertainty.interval([mean_of(values)], clusters, np.arange(6) < 2) == NO_INTERVAL
    only_a = mean_of(values, np.array([1.0, 1, 0, 0, 0, 0]))  # no such ground elsewhere
    assert uncertainty.interval([only_a], clusters, everyone) == NO_INTERVAL
    assert uncertainty.interval([mean_of(values)], clusters, np.zeros(6, bool)) == NO_INTERVAL
    assert uncertainty.interval([mean_of(values, invalid=3)], clusters, everyone) == NO_INTERVAL
    low, high = uncertainty.interval([mean_of(values)], clusters, np.arange(6) < 4)
    assert (low, high) == (0.5, 2.5), "of two clusters the ends are each alone"


def test_signed_rank_p_is_that_of_all_signs() -> None:
    """Oracle: every assignment of signs to the ranks."""
    rng = np.random.default_rng(4)
    for size in (3, 6, 9):
        differences = rng.normal(0.8, 1, size)
        ranks = stats.rankdata(np.abs(differences))
        sums = [
            sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign)
            for signs in itertools.product((False, True), repeat=size)
        ]
        least = min(ranks[differences > 0].sum(), ranks[differences < 0].sum())
        expected = min(1.0, 2 * np.mean(np.array(sums) <= least))
        assert uncertainty.signed_rank_p(differences) == pytest.approx(expected)
        assert uncertainty.signed_rank_p(np.append(differences, 0.0)) == pytest.approx(expected)
        assert uncertainty.signed_rank_p(np.abs(differences)) == pytest.approx(uncertainty.least_p(size))
    assert uncertainty.signed_rank_p(np.zeros(5)) == 1


def test_holm_steps_down() -> None:
    assert uncertainty.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert uncertainty.holm([0.6, 0.5]) == [1.0, 1.0]
    assert uncertainty.holm([]) == []
    rng = np.random.default_rng(5)
    for p_values in rng.uniform(0, 0.2, (20, 7)):
        order = sorted(range(7), key=p_values.__getitem__)
        for place, number in enumerate(order):
            expected = min(1.0, max((7 - before) * p_values[order[before]] for before in range(place + 1)))
            assert uncertainty.holm(list(p_values))[number] == pytest.approx(expected)
