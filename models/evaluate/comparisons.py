"""Which networks differ by more than chance: differences over the same places, their intervals, and a paired test.

The ROI is the unit of the test, not the patch: patches of one ROI are no independent witnesses. Networks are means over
their seeds, ROI by ROI.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from ..metrics.names import METRICS
from ..metrics.pixels import FloatArray
from .pooling import Ground, ScoreKey
from .results import Evaluation
from .uncertainty import NO_INTERVAL, draw, holm, least_p, percentiles, signed_rank_p

RANKED_BY: Final[tuple[tuple[str, Ground], ...]] = (
    ("psnr", "changed"),
    ("ssim", "changed"),
    ("psnr", "unchanged"),
    ("ssim", "unchanged"),
)
"""A network that only copies wins on unchanged ground, one that only invents on changed ground; all four count alike."""
SIGNIFICANT_P: Final = 0.05
Verdict: TypeAlias = Literal["better", "worse", "no difference shown", "too few ROIs", "equal"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two networks of one target, by one metric on one ground: both directions and all ROIs together."""

    target: str
    first: str
    second: str
    """Labels."""
    metric: str
    ground: Ground
    difference: float
    """First minus second, in the unit of the metric."""
    low: float | None
    high: float | None
    """The difference's 95 % interval over other ROIs; None with fewer than two."""
    rois: int
    """ROIs that have such ground."""
    p: float
    """Of Wilcoxon's signed-rank test over ROIs, two-sided."""
    p_adjusted: float
    """By Holm's method, for all pairs of the target by this metric and ground."""
    verdict: Verdict
    """What can be said of the first beside the second; `too few ROIs` where no outcome could have been significant."""


def comparisons(evaluation: Evaluation) -> tuple[Comparison, ...]:
    """Compare all pairs of networks and baselines of each target by the criteria of the ranking.

    Networks whose predictions are not finite are left out, and criteria that no ROI has ground for.
    """
    found: list[Comparison] = []
    for target in dict.fromkeys(entry.target for entry in evaluation.entries):
        entries = [entry for entry in evaluation.entries if entry.target == target]
        invalid = {entry.label for entry in entries if entry.not_finite}
        runs: dict[str, list[str]] = {}
        for entry in sorted(entries, key=lambda entry: entry.baseline):  # so that a network is read against a baseline
            if entry.label not in invalid and entry.run in evaluation.scored:
                runs.setdefault(entry.label, []).append(entry.run)
        for metric, ground in RANKED_BY:
            figures = {
                label: figure
                for label, own in runs.items()
                if (figure := _figure(evaluation, own, ScoreKey(metric, ground, None))) is not None
            }
            found += _pairs(figures, target=target, metric=metric, ground=ground)
    return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class PairTable:
    """Pairs of networks by what they are compared by."""

    target: str
    columns: tuple[tuple[str, Ground], ...]
    """Metric and ground."""
    lines: tuple[tuple[str, str, tuple[Comparison | None, ...]], ...]
    """First, second, and one comparison for each column; None where there is none."""


def pair_tables(found: Sequence[Comparison]) -> tuple[PairTable, ...]:
    """Return comparisons as one table for each target."""
    tables = []
    for target in dict.fromkeys(comparison.target for comparison in found):
        own = {
            (comparison.first, comparison.second, comparison.metric, comparison.ground): comparison
            for comparison in found
            if comparison.target == target
        }
        columns = tuple(dict.fromkeys(key[2:] for key in own))
        pairs = dict.fromkeys(key[:2] for key in own)
        lines = tuple((*pair, tuple(own.get((*pair, *column)) for column in columns)) for pair in pairs)
        tables.append(PairTable(target=target, columns=columns, lines=lines))
    return tuple(tables)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Figure:
    """A metric of one network, as means over its seeds."""

    pooled: float
    by_roi: FloatArray
    """(ROI,) on each ROI by itself."""
    drawn: FloatArray | None
    """(draw,) of the bootstrap; None with one ROI."""


def _figure(evaluation: Evaluation, runs: Sequence[str], key: ScoreKey) -> _Figure | None:
    pooled, by_roi, drawn = [], [], []
    for run in runs:
        scored = evaluation.scored[run]
        measure = scored.measures[key]
        totals = scored.table.by_roi.totals(measure, scored.table.group("both", None))
        if not len(totals):
            return None
        pooled.append(float(measure.formula(totals.sum(axis=0))))
        by_roi.append(measure.formula(totals))
        if len(totals) > 1:
            drawn.append(draw(totals, measure))
    return _Figure(
        pooled=float(np.mean(pooled)),
        by_roi=np.mean(by_roi, axis=0),
        drawn=np.mean(drawn, axis=0) if drawn else None,
    )


def _pairs(figures: Mapping[str, _Figure], *, target: str, metric: str, ground: Ground) -> list[Comparison]:
    """Compare all pairs; labels with the same figures on every ROI (two baselines of one reference) count as one for Holm."""
    same_as = {
        label: next(other for other in figures if np.array_equal(figures[other].by_roi, figure.by_roi))
        for label, figure in figures.items()
    }
    pairs = list(itertools.combinations(figures, 2))
    raw = {
        frozenset((same_as[first], same_as[second])): signed_rank_p(figures[first].by_roi - figures[second].by_roi)
        for first, second in pairs
        if same_as[first] != same_as[second]
    }
    adjusted = dict(zip(raw, holm(list(raw.values())), strict=True))
    found = []
    for first, second in pairs:
        one, other, key = figures[first], figures[second], frozenset((same_as[first], same_as[second]))
        rois, p, p_adjusted = len(one.by_roi), raw.get(key, 1.0), adjusted.get(key, 1.0)
        if key not in raw:
            verdict: Verdict = "equal"
        elif p_adjusted < SIGNIFICANT_P:
            high = float(np.median(one.by_roi - other.by_roi)) > 0
            verdict = "better" if high == (METRICS[metric].best == "high") else "worse"
        else:
            verdict = "too few ROIs" if least_p(rois) * len(raw) >= SIGNIFICANT_P else "no difference shown"
        drawn = None if one.drawn is None or other.drawn is None else one.drawn - other.drawn
        ends = NO_INTERVAL if drawn is None else percentiles(drawn)
        found.append(
            Comparison(
                target=target,
                first=first,
                second=second,
                metric=metric,
                ground=ground,
                difference=one.pooled - other.pooled,
                low=ends.low,
                high=ends.high,
                rois=rois,
                p=p,
                p_adjusted=p_adjusted,
                verdict=verdict,
            )
        )
    return found
