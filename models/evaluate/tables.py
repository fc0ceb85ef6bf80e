"""Tables and rankings from the rows of an evaluation."""

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from ..metrics.names import METRICS
from .comparisons import RANKED_BY, Verdict, comparisons
from .pooling import GROUNDS, Ground, ScoreKey
from .results import DIRECTIONS, Direction, Evaluation, Row
from .rows import DETAILED
from .uncertainty import NO_INTERVAL, Interval, interval

OPPOSITE: Final[Mapping[Verdict, Verdict]] = {"better": "worse", "worse": "better"}


class Cell(NamedTuple):
    """A metric of one network, over its seeds."""

    mean: float | None
    spread: float | None
    """Sample standard deviation over the seeds; None with fewer than two."""
    seeds: int
    n: int
    """Fewest samples any seed's value rests on."""
    low: float | None = None
    high: float | None = None
    """Ends of the mean's 95 % interval over other places; None where there is none."""
    invalid: bool = False
    """A seed has no value because its predictions are not finite: neither has the network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Networks by metrics, or by groups of samples or pixels for one metric."""

    target: str
    about: str
    """What the table is about, besides its metric."""
    metric: str | None
    """The metric of all columns; None where each column is another metric."""
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    """What each column measures."""
    lines: tuple[tuple[str, tuple[Cell, ...]], ...]
    """(label, cells) of each network, best first where there is a ranking."""


class RankedNetwork(NamedTuple):
    """A network's rank among those with the same target."""

    place: int
    label: str
    mean_rank: float
    ranks: tuple[float, ...]
    """One for each of the ranking's criteria; networks that tie share the mean of their ranks."""
    against_next: tuple[Verdict, ...] = ()
    """By criterion, what can be said of it beside the network that follows; empty where the two cannot be compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """All networks that predict one target, best first."""

    target: str
    criteria: tuple[tuple[str, Ground], ...]
    """Metric and ground of each."""
    networks: tuple[RankedNetwork, ...]


def best_cells(table: Table) -> set[tuple[int, int]]:
    """Return (line, column) of the best values of each column; nothing in a table of one network."""
    best: set[tuple[int, int]] = set()
    for column, metric in enumerate(table.metrics):
        means = {line: cells[column].mean for line, (_, cells) in enumerate(table.lines)}
        scores = {line: METRICS[metric].better(mean) for line, mean in means.items() if mean is not None}
        if len(scores) > 1:
            top = max(scores.values())
            best.update((line, column) for line, score in scores.items() if score == top)
    return best


def rankings(evaluation: Evaluation) -> tuple[Ranking, ...]:
    """Rank the networks of each target by their mean rank over `RANKED_BY`, both directions and all ROIs together.

    A criterion that some network has no value for (no changed ground in the split) is left out for all. A network with
    predictions that are not finite is last in every criterion.
    """
    cells = _Cells(evaluation)
    verdicts = {
        (found.target, *pair, found.metric, found.ground): verdict
        for found in comparisons(evaluation)
        for pair, verdict in (
            ((found.first, found.second), found.verdict),
            ((found.second, found.first), OPPOSITE.get(found.verdict, found.verdict)),
        )
    }
    return tuple(_compared(_rank(cells, target), verdicts) for target in _targets(evaluation))


def tables(evaluation: Evaluation) -> tuple[Table, ...]:
    """Return the tables of an evaluation: by ground, by direction, by band and by ROI, for each target."""
    cells = _Cells(evaluation)
    found: list[Table] = []
    for target in _targets(evaluation):
        labels = [network.label for network in _rank(cells, target).networks]
        for ground in GROUNDS:
            columns = {metric: _Wanted(metric=metric, ground=ground) for metric in cells.metrics(labels, ground)}
            found.append(_table(cells, labels, columns, target=target, metric=None, about=f"{ground} ground"))
        bands, rois = cells.bands(labels), cells.rois(labels)
        found += [
            _table(cells, labels, _by_direction(metric), target=target, metric=metric, about="forward and backward")
            for metric in DETAILED
        ]
        for metric in DETAILED if len(bands) > 1 else ():
            by_band = {band: _Wanted(metric=metric, band=band) for band in bands}
            found.append(_table(cells, labels, by_band, target=target, metric=metric, about="by band"))
        for metric in DETAILED:
            for ground in GROUNDS:
                by_roi = {roi: _Wanted(metric=metric, ground=ground, roi=roi) for roi in rois}
                about = f"on {ground} ground by ROI"
                found.append(_table(cells, labels, by_roi, target=target, metric=metric, about=about))
    return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wanted:
    """Which rows a cell is about."""

    metric: str
    ground: Ground = "all"
    direction: Direction = "both"
    roi: str | None = None
    band: str | None = None


class _Cells:
    """Rows of an evaluation, found by label and what they are about."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.entries = evaluation.entries
        self.invalid = frozenset(entry.label for entry in evaluation.entries if entry.not_finite)
        """Labels of the networks that have predictions that are not finite."""
        self._invalid_runs = frozenset(entry.run for entry in evaluation.entries if entry.not_finite)
        labels = {entry.run: entry.label for entry in evaluation.entries}
        self._scored = evaluation.scored
        self._rows: dict[tuple[str, _Wanted], list[Row]] = defaultdict(list)
        for row in evaluation.rows:
            about = _Wanted(metric=row.metric, ground=row.ground, direction=row.direction, roi=row.roi, band=row.band)
            self._rows[labels[row.run], about].append(row)

    def cell(self, label: str, wanted: _Wanted) -> Cell:
        """Return mean and spread over the seeds of a network."""
        found = self._rows.get((label, wanted), [])
        if any(row.value is None and row.n and row.run in self._invalid_runs for row in found):
            return Cell(None, None, 0, min(row.n for row in found), invalid=True)
        rows = [row for row in found if row.value is not None]
        values = [row.value for row in rows if row.value is not None]
        if not values:
            return Cell(None, None, 0, 0)
        spread = statistics.stdev(values) if len(values) > 1 else None
        low, high = self._interval(rows, wanted) if len(rows) > 1 else (rows[0].low, rows[0].high)
        return Cell(statistics.fmean(values), spread, len(values), min(row.n for row in rows), low, high)

    def _interval(self, rows: Sequence[Row], wanted: _Wanted) -> Interval:
        """Return the interval of the mean over seeds, which are drawn together."""
        scored = [self._scored[row.run] for row in rows if row.run in self._scored]
        if len(scored) < len(rows):
            return NO_INTERVAL
        table, key = scored[0].table, ScoreKey(wanted.metric, wanted.ground, wanted.band)
        clusters, members = table.clusters(wanted.roi), table.group(wanted.direction, wanted.roi)
        return interval([own.measures[key] for own in scored], clusters, members)

    def metrics(self, labels: Sequence[str], ground: Ground) -> list[str]:
        """Return the metrics some label has on a ground, in the order of the rows."""
        return self._distinct(
            labels, lambda about: about.metric if about == _Wanted(metric=about.metric, ground=ground) else None
        )

    def bands(self, labels: Sequence[str]) -> list[str]:
        """Return the bands scored singly."""
        return self._distinct(labels, lambda about: about.band)

    def rois(self, labels: Sequence[str]) -> list[str]:
        """Return the ROIs scored singly."""
        return self._distinct(labels, lambda about: about.roi)

    def _distinct(self, labels: Sequence[str], name: Callable[[_Wanted], str | None]) -> list[str]:
        names = (name(about) for label, about in self._rows if label in labels)
        return list(dict.fromkeys(found for found in names if found is not None))


def _compared(ranking: Ranking, verdicts: Mapping[tuple[str, str, str, str, Ground], Verdict]) -> Ranking:
    """Return a ranking that says which neighbours differ."""
    networks = []
    for network, following in itertools.zip_longest(ranking.networks, ranking.networks[1:]):
        pair = network.label, following.label if following else ""
        found = [verdicts.get((ranking.target, *pair, metric, ground)) for metric, ground in ranking.criteria]
        known = tuple(verdict for verdict in found if verdict is not None)
        networks.append(network._replace(against_next=known if len(known) == len(found) else ()))
    return replace(ranking, networks=tuple(networks))


def _targets(evaluation: Evaluation) -> list[str]:
    return list(dict.fromkeys(entry.target for entry in evaluation.entries))


def _by_direction(metric: str) -> dict[str, _Wanted]:
    return {
        f"{ground}, {direction}": _Wanted(metric=metric, ground=ground, direction=direction)
        for ground in GROUNDS
        for direction in DIRECTIONS
        if direction != "both"
    }


def _table(
    cells: _Cells,
    labels: Sequence[str],
    columns: Mapping[str, _Wanted],
    *,
    target: str,
    metric: str | None,
    about: str,
) -> Table:
    return Table(
        target=target,
        about=about,
        metric=metric,
        columns=tuple(columns),
        metrics=tuple(wanted.metric for wanted in columns.values()),
        lines=tuple((label, tuple(cells.cell(label, wanted) for wanted in columns.values())) for label in labels),
    )


def _rank(cells: _Cells, target: str) -> Ranking:
    labels = list(dict.fromkeys(entry.label for entry in cells.entries if entry.target == target))
    criteria: list[tuple[str, Ground]] = []
    ranks: list[list[float]] = []
    for metric, ground in RANKED_BY:
        means = {label: cells.cell(label, _Wanted(metric=metric, ground=ground)).mean for label in labels}
        scores = {label: METRICS[metric].better(mean) for label, mean in means.items() if mean is not None}
        scores |= dict.fromkeys(cells.invalid.intersection(labels), -math.inf)
        if len(scores) == len(labels):
            known = [scores[label] for label in labels]
            criteria.append((metric, ground))
            ranks.append([1 + sum(o > v for o in known) + (known.count(v) - 1) / 2 for v in known])
    by_label = {label: tuple(column[i] for column in ranks) for i, label in enumerate(labels)}
    order = {label: (label in cells.invalid, statistics.fmean(own) if own else 1.0) for label, own in by_label.items()}
    networks = [
        RankedNetwork(
            1 + sum(other < order[label] for other in order.values()), label, order[label][1], by_label[label]
        )
        for label in sorted(labels, key=lambda label: order[label])
    ]
    return Ranking(target=target, criteria=tuple(criteria), networks=tuple(networks))
