"""When and how the inputs of a scene were taken: from the dataset they lie in, or as a user says."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from s1s2pairs.dataset.dataset import Dataset, open_dataset
from s1s2pairs.dataset.layout import INDEX_FILE, roi_of_raster
from s1s2pairs.dataset.storage import Storage
from s1s2pairs.errors import RunError

from ..data.samples import DAY_ZERO, acquisition_table
from ..task import Task


def acquisitions(task: Task, paths: Mapping[str, str | Path], dates: Sequence[str] | None) -> Tensor:
    """Return what is known of the images of each date, (date, 4) float32 as `samples.acquisition_table` has it, else NaN.

    Args:
        task: What the network reads.
        paths: File of each input. Those that lie in a dataset are looked up in its index.
        dates: Acquisition time of the target's sensor at T1, T2, ..., ISO 8601, UTC, or the only one of a task whose inputs
            share a date; they go before the index.

    Raises:
        RunError: A date cannot be read, or their number is not that of the task's periods.
        DatasetError: The dataset of an input is damaged.
    """
    table = np.full((task.n_dates, 4), np.nan, np.float32)
    opened: dict[str, Dataset] = {}
    for stack in task.inputs:
        found = _in_dataset(paths[stack.key])
        if found is not None and np.isnan(table[stack.date]).any():
            root, roi, period = found
            if root not in opened:
                opened[root] = open_dataset(root)
            dataset, index = opened[root], opened[root].index
            rows = np.flatnonzero(((index["roi"] == roi) & (index["period"] == period)).to_numpy())
            if rows.size:
                table[stack.date] = acquisition_table(dataset, task)[rows[0]]
    if task.n_periods == 1:  # the only date there is stands for all, as in training
        table[:] = table[task.target.date]
    if dates is not None:
        table[:, 0] = _days(task, dates)
    return torch.from_numpy(table)


def check_known(names: Sequence[str], known: Mapping[str, Tensor], network: str) -> None:
    """Refuse to predict with a network that reads what is not known.

    Args:
        names: Conditions that the network reads.
        known: The conditions of the scene, (1, date, ...) each.
        network: What to call it.

    Raises:
        RunError: Names the condition and the dates.
    """
    for name in names:
        missing = torch.isnan(known[name]).reshape(1, known[name].shape[1], -1).any(dim=2)[0]
        if missing.any():
            dates = ", ".join(f"T{number + 1}" for number in missing.nonzero().flatten().tolist())
            raise RunError(
                f"{network} reads {name} of every date, and the inputs do not tell that of {dates}; give rasters of a dataset "
                "built here, or for days and season --dates with the acquisition time of each date"
            )


def _in_dataset(path: str | Path) -> tuple[str, str, str] | None:
    """Return dataset, ROI and period of a raster `rasters/<roi>/<period>/s1.tif` of a dataset; None where it is none."""
    text = str(Path(path).absolute()) if Storage(str(path)).is_local else str(path)
    if text.count("/") < 4:
        return None
    *folders, rasters, roi, period, name = text.split("/")
    root = "/".join(folders)
    if roi_of_raster(f"{rasters}/{roi}/{period}/{name}") is None or INDEX_FILE not in Storage(root).listing():
        return None
    return root, roi, period


def _days(task: Task, dates: Sequence[str]) -> list[float]:
    if len(dates) != task.n_periods:
        which = "that of all inputs" if task.n_periods == 1 else f"those of T1 to T{task.n_periods}"
        raise RunError(f"--dates has {len(dates)} dates; expected {task.n_periods}, {which}")
    return [(pd.Timestamp(_time(date)) - DAY_ZERO) / pd.Timedelta(days=1) for date in dates]


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise RunError(
            f"--dates: {text.strip()!r} is no date; expected such as 2021-06-15 or 2021-06-15T10:30"
        ) from error
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
