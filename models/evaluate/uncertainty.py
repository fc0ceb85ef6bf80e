"""How far a figure could have been otherwise with other places: a bootstrap over clusters, and a paired test.

Neighbouring patches of one ROI share their weather, orbit and land use, so a split with many patches of few ROIs knows less
than its number of patches says. So whole clusters are drawn (the ROIs; within one ROI its patches, each with all its samples).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..metrics.pixels import FloatArray
from .pooling import BoolArray, Measure

DRAWS: Final = 2000
SEED: Final = 0
"""Equal for all: two evaluations give equal bytes, and networks are compared on the same draws."""
INTERVAL_PERCENT: Final = (2.5, 97.5)


class Interval(NamedTuple):
    """A 95 % interval; None twice where fewer than two clusters support the value."""

    low: float | None
    high: float | None


NO_INTERVAL: Final = Interval(None, None)


@dataclass(frozen=True, slots=True)
class Clusters:
    """Which images are drawn together."""

    numbers: NDArray[np.int64]
    """(image,) number of each image's cluster."""
    count: int

    @classmethod
    def of(cls, names: Sequence[str]) -> "Clusters":
        """Take images of one name together."""
        found, numbers = np.unique(np.array(names), return_inverse=True)
        return cls(numbers.astype(np.int64), len(found))

    def totals(self, measure: Measure, group: BoolArray) -> FloatArray:
        """Return the sums of a measure over each cluster's images in a group: (cluster with any such image, term) float64."""
        members = group & measure.counted
        totals = np.zeros((self.count, measure.terms.shape[1]))
        np.add.at(totals, self.numbers[members], measure.terms[members])
        return totals[np.bincount(self.numbers[members], minlength=self.count) > 0]


def draw(totals: FloatArray, measure: Measure) -> FloatArray:
    """Return what the measure is in each draw of as many clusters, with replacement: (DRAWS,) float64.

    Args:
        totals: (cluster, term) from `Clusters.totals`.
        measure: Has the formula.
    """
    drawn: FloatArray = measure.formula(_counts(len(totals)) @ totals)
    return drawn


def percentiles(drawn: FloatArray) -> Interval:
    """Return the interval that holds 95 % of (DRAWS,) values; draws without a value are skipped."""
    known = drawn[np.isfinite(drawn)]
    if not known.size:
        return NO_INTERVAL
    low, high = np.percentile(known, INTERVAL_PERCENT)
    return Interval(float(low), float(high))


def interval(seeds: Sequence[Measure], clusters: Clusters, group: BoolArray) -> Interval:
    """Return the interval of a metric's mean over seeds.

    Args:
        seeds: The metric, one for each seed.
        clusters: What is drawn.
        group: (image,) bool, the images it is about.
    """
    if any((group & seed.invalid).any() for seed in seeds):
        return NO_INTERVAL
    totals = [clusters.totals(seed, group) for seed in seeds]
    if len({len(own) for own in totals}) > 1 or len(totals[0]) < 2:
        return NO_INTERVAL
    drawn = [draw(own, seed) for own, seed in zip(totals, seeds, strict=True)]
    return percentiles(np.mean(drawn, axis=0))


def signed_rank_p(differences: FloatArray) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test that differences scatter about 0; 1 where all are 0."""
    moved = differences[differences != 0]
    return float(stats.wilcoxon(moved).pvalue) if moved.size else 1.0


def least_p(clusters: int) -> float:
    """Return the smallest p that so many differences can have: all of one sign."""
    return min(1.0, 2.0 * 0.5**clusters)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number by Holm's step-down method, in the same order."""
    order = np.argsort(p_values, kind="stable")
    scaled = np.array(p_values)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted.tolist()


@lru_cache(maxsize=8)
def _counts(clusters: int) -> FloatArray:
    """Return how often each cluster is in each draw: (DRAWS, cluster)."""
    counts = np.random.default_rng(SEED).multinomial(clusters, [1 / clusters] * clusters, size=DRAWS)
    return counts.astype(np.float64)
