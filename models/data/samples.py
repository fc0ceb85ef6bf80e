"""Which patches, seen at which periods, make up the samples of a task."""

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from s1s2pairs.dataset.dataset import Dataset
from s1s2pairs.errors import RunError

from ..task import Orders, Task

logger = logging.getLogger(__name__)

DAY_ZERO: Final = pd.Timestamp("2014-01-01", tz="UTC")
"""`days` in a batch count from here: the year Sentinel-1A was launched."""
YEAR_DAYS: Final = 365.2425


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One patch, seen at as many periods as the task has dates."""

    patch_id: str
    roi: str
    periods: tuple[str, ...]
    """Period of T1, T2, ..., or the only one a task of one date has."""
    direction: str
    """`forward` where the periods stand in time's order, `backward` where in reverse, else `mixed`; always forward in tasks with
    one date."""
    rows: tuple[int, ...]
    """Index row of T1, T2, ...; the same for all in a task of one date, whichever it is."""


def find_samples(dataset: Dataset, task: Task, split: str, *, orders: Orders, first_row: int = 0) -> list[Sample]:
    """Return every sample that a dataset has for a task, in the order of its index.

    Args:
        dataset: An open dataset.
        task: Says how many periods a sample needs.
        split: `train`, `val` or `test`.
        orders: Which orders of the periods to use.
        first_row: Number of the dataset's first index row, where it is one of several.

    Raises:
        RunError: There are too few periods, or no patches in the split, or none with valid pixels.
    """
    periods, needed = dataset.periods, task.n_periods
    if len(periods) < needed:
        raise RunError(
            f"{dataset.storage.url} lacks a period: task {task.name} needs {needed}, it has {', '.join(periods)}; "
            "build it with more, as in `s1s2 build RECIPE --years 2019 2021`"
        )
    index = dataset.index.reset_index(drop=True)
    chosen = index[index["split"] == split]
    if chosen.empty:
        there = ", ".join(sorted(index["split"].unique()))
        raise RunError(f"{dataset.storage.url} has no patches in split {split!r}; its splits are {there}")
    samples, without = [], 0
    for patch_id, rows in chosen.groupby("patch_id", sort=False):
        row_of = dict(zip(rows["period"], rows.index, strict=True))
        for forward in itertools.combinations([period for period in periods if period in row_of], needed):
            for direction, order in _ways(forward, orders):
                used = tuple(int(row_of[period]) for period in order) * (task.n_dates // needed)
                if any(index.at[used[stack.date], f"{stack.sensor}_valid_fraction"] == 0 for stack in task.stacks):
                    without += 1
                    continue
                numbers = tuple(first_row + row for row in used)
                roi = str(rows["roi"].iloc[0])
                samples.append(
                    Sample(patch_id=str(patch_id), roi=roi, periods=order, direction=direction, rows=numbers)
                )
    if without:
        logger.warning(
            "%s, split %s: left out %d samples without any valid pixel.", dataset.storage.url, split, without
        )
    if not samples:
        raise RunError(
            f"{dataset.storage.url}, split {split!r}: no patch has {needed} periods with valid pixels; "
            "`s1s2 report` shows what is missing"
        )
    return samples


def _ways(forward: tuple[str, ...], orders: Orders) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield direction and order of the periods, as time runs first."""
    yield "forward", forward
    if orders != "forward" and len(forward) > 1:
        yield "backward", forward[::-1]
    if orders == "all":
        others = (order for order in itertools.permutations(forward) if order not in (forward, forward[::-1]))
        yield from (("mixed", order) for order in others)


def acquisition_table(dataset: Dataset, task: Task) -> npt.NDArray[np.float32]:
    """Return (row, 4) float32, what the index says of each row's images, NaN where it does not.

    The columns are the days since 2014 at which the task's target sensor saw it, the mean incidence angle of the radar in
    degrees, the number of its relative orbit, and 1 where it passed northward, 0 where southward.
    """
    index = dataset.index
    days = (index[f"{task.target.sensor}_mean_time"] - DAY_ZERO) / pd.Timedelta(days=1)
    ascending = index["orbit_pass"].map({"ascending": 1.0, "descending": 0.0})
    columns = [days, index["mean_incidence_deg"], index["relative_orbit"], ascending]
    table: npt.NDArray[np.float32] = np.stack([column.to_numpy(np.float32, na_value=np.nan) for column in columns], 1)
    return table


def conditions(table: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the entries of a batch that tell how and when the images were taken, see `Batch`.

    Args:
        table: (batch, date, 4) float32 with the columns of `acquisition_table`.
    """
    days, incidence, relative_orbit, ascending = table.unbind(dim=-1)
    angle = 2 * torch.pi * (days / YEAR_DAYS % 1.0)  # 2014-01-01 is the first day of a year
    season = torch.stack([angle.sin(), angle.cos()], dim=-1)
    return {
        "days": days,
        "season": season,
        "incidence": incidence,
        "relative_orbit": relative_orbit,
        "ascending": ascending,
    }
