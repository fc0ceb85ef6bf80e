"""The rows of `evaluation.json` and the lines of `patches.csv`, from scores sample by sample."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Final

from .pooling import Measure, ScoreKey
from .results import DIRECTIONS, Direction, Entry, Evaluation, Row, SampleTable
from .uncertainty import interval

DETAILED: Final = ("psnr", "ssim")
"""Metrics shown by direction, by band and by ROI; the JSON has them all."""
PATCH_COLUMNS: Final = (
    "run", "network", "seed", "patch_id", "roi", "direction", "periods", "ground", "metric", "value", "weight"
)  # fmt: skip


def rows_of(entry: Entry, measures: Mapping[ScoreKey, Measure], table: SampleTable, split: str) -> Iterator[Row]:
    """Pool scores for every direction over all ROIs, and for every ROI over both directions and all bands."""
    rois = sorted(set(table.rois.tolist()))
    groups: list[tuple[Direction, str | None]] = [
        *((direction, None) for direction in DIRECTIONS),
        *(("both", roi) for roi in rois),
    ]
    for direction, roi in groups:
        members, clusters = table.group(direction, roi), table.clusters(roi)
        for column, measure in measures.items():
            if roi is not None and column.band is not None:
                continue
            value, n = measure.pool(members)
            low, high = interval([measure], clusters, members) if value is not None else (None, None)
            yield Row(
                run=entry.run,
                network=entry.network,
                seed=entry.seed,
                split=split,
                direction=direction,
                ground=column.ground,
                roi=roi,
                band=column.band,
                metric=column.metric,
                value=value,
                n=n,
                low=low,
                high=high,
            )


def kept_for_tables(measures: Mapping[ScoreKey, Measure]) -> dict[ScoreKey, Measure]:
    """Return what tables, comparisons and `patches.csv` need of all measures: no more than a few numbers per sample."""
    return {
        key: measure
        for key, measure in measures.items()
        if key.band is None or (key.metric in DETAILED and key.ground == "all")
    }


def patch_lines(evaluation: Evaluation) -> Iterator[bytes]:
    """Yield `patches.csv` in pieces: its head, then the lines of one sample of one run at a time.

    Metrics are those of all bands together, and worked out on the sample alone. A sample has no line for ground it lacks;
    an undefined or invalid value is left empty.
    """
    yield _csv([PATCH_COLUMNS])
    for entry in evaluation.entries:
        scored = evaluation.scored[entry.run]
        columns = [
            (column, measure, measure.values()) for column, measure in scored.measures.items() if column.band is None
        ]
        for number, sample in enumerate(scored.table.samples):
            about = (entry.run, entry.network, "" if entry.seed is None else entry.seed)
            where = (sample.patch_id, sample.roi, sample.direction, " ".join(sample.periods))
            yield _csv(
                [
                    (*about, *where, column.ground, column.metric, _shortest(values[number]), _shortest(weight))
                    for column, measure, values in columns
                    if (weight := measure.weights[number]) > 0
                ]
            )


def _shortest(number: float) -> str:
    return f"{number:.9g}" if number == number else ""  # noqa: PLR0124 - NaN is not itself


def _csv(lines: list[tuple[object, ...]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode()
