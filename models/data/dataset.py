"""Samples of a task from a built dataset, ready for a network."""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch.utils.data import Dataset as TorchDataset

from s1s2pairs.dataset.dataset import Dataset, open_dataset
from s1s2pairs.errors import RunError
from s1s2pairs.sensors import REFLECTANCE_SCALE, S2_NODATA

from ..missing import BLANK, present
from ..scaling import Scaling
from ..task import Batch, Stack, Task
from .cache import Cache, open_cache

logger = logging.getLogger(__name__)

DAY_ZERO: Final = pd.Timestamp("2014-01-01", tz="UTC")
"""`days` in a batch count from here: the year Sentinel-1A was launched."""

Crop = tuple[int, int]
"""First row and column of the part of a patch to read."""
RawBatch = dict[str, torch.Tensor]
"""A batch as stored: `days` and `sample` as in `Batch`; per stack (batch, band, y, x), S1 float32 dB with NaN where missing,
S2 uint16 reflectance x 10000 with 0 where missing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One patch, seen at as many periods as the task has dates."""

    patch_id: str
    roi: str
    periods: tuple[str, ...]
    """Period of T1, T2, ..., or the only one a task of one date has: in time's order when forward, reversed when backward."""
    direction: str
    """`forward` or `backward`; always forward in tasks with one date."""
    rows: tuple[int, ...]
    """Index row of T1, T2, ...; the same for all in a task of one date, whichever it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Samples to read, as reading needs to know them."""

    rows: npt.NDArray[np.int_]
    """(batch, date) index rows."""
    days: npt.NDArray[np.float32]
    """(batch, date) as in a `Batch`."""
    numbers: tuple[int, ...]
    """Numbers of the samples."""
    crops: Sequence[Crop] | None
    """Offset of the square to read, per sample; None reads whole patches."""


class PairDataset(TorchDataset[Batch]):
    """Samples of one task and split, read from the dataset's packed cache.

    An item is one sample, scaled, so that any `DataLoader` works. `loader.make_loader` is faster: it reads whole batches,
    and leaves scaling to the device that trains, so that half the bytes travel.
    """

    def __init__(
        self,
        dataset: Dataset | Path | str,
        task: Task,
        *,
        split: str,
        scaling: Scaling,
        two_way: bool = True,
        crop: int | None = None,
    ) -> None:
        """Open a dataset for a task; packs its cache if needed.

        Args:
            dataset: An open dataset, or the folder made by `s1s2 build`.
            task: What goes in and comes out.
            split: `train`, `val` or `test`.
            scaling: Physical values to network values.
            two_way: Also use each location backward, with the periods in reverse.
            crop: Side in pixels of the squares read when asked for with an offset. Cropping is the only augmentation
                there is: rotating or flipping a radar image gives one that no orbit could have taken.

        Raises:
            RunError: The dataset lacks a band or period that the task needs, or the split is empty.
            DatasetError: The dataset is missing or damaged.
        """
        dataset = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
        _check_bands(dataset, task)
        self.task = task
        self.split = split
        self.scaling = scaling
        self.crop = crop
        self.samples = _samples(dataset, task, split, two_way=two_way)
        """Every sample, in the order of the index; `batch["sample"]` counts in it."""
        cache = open_cache(dataset)
        self.patches = Patches(cache, task.stacks, crop)
        """Reads pixels; small, so that it can be sent to other processes."""
        self._scalers = {stack.key: _Scaler(stack, scaling) for stack in task.stacks}
        self._days = _days(dataset, task)
        self.patch_size: tuple[int, int] = (cache.layout.height, cache.layout.width)
        """Height and width of the patches, before cropping."""
        if crop is not None and not 0 < crop <= min(self.patch_size):
            raise RunError(f"crop = {crop} px does not fit into the dataset's patches of {self.patch_size} px")

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def __getitem__(self, number: int) -> Batch:
        """Return one sample, as a batch without its first axis."""
        return {key: values[0] for key, values in self.batch([number]).items()}

    def batch(self, numbers: Sequence[int], crops: Sequence[Crop] | None = None) -> Batch:
        """Read and scale samples, on the CPU.

        Args:
            numbers: Which samples.
            crops: Offset of the square to read, per sample; None reads whole patches.
        """
        return self.scale(self.read(numbers, crops))

    def read(self, numbers: Sequence[int], crops: Sequence[Crop] | None = None) -> RawBatch:
        """Read samples as they are stored; arguments as for `batch`."""
        return self.patches.read(self.request(numbers, crops))

    def request(self, numbers: Sequence[int], crops: Sequence[Crop] | None = None) -> Request:
        """Return what `patches` must know to read samples; arguments as for `batch`."""
        rows = np.array([self.samples[number].rows for number in numbers])
        return Request(rows=rows, days=self._days[rows], numbers=tuple(numbers), crops=crops)

    def scale(self, raw: RawBatch) -> Batch:
        """Turn what `read` gives into what a network takes, on the device where it is."""
        batch = {"days": raw["days"], "sample": raw["sample"]}
        for key, scaler in self._scalers.items():
            batch[key], usable = scaler.scale(raw[key])
            batch["valid"] = batch["valid"] & usable if "valid" in batch else usable
        return batch

    def observed(self, raw: RawBatch) -> torch.Tensor:
        """Return the target as it was observed, beyond the scaling's range too.

        Args:
            raw: What `read` gives, on any device.

        Returns:
            (batch, band, y, x) float32, dB or reflectance; 0 where missing.
        """
        target = self.task.target
        values = raw[target.key].float()
        return values.nan_to_num(nan=0.0) if target.sensor == "s1" else values / REFLECTANCE_SCALE


class Patches:
    """Reads batches from the packed cache. Sent to another process, it is a path and names of bands, of whatever dataset."""

    def __init__(self, cache: Cache, stacks: Sequence[Stack], crop: int | None) -> None:
        """Read some stacks from a cache; `crop` as in `PairDataset`."""
        self._cache, self._stacks, self._crop = cache, tuple(stacks), crop
        self._readers = {stack.key: _Reader(cache, stack) for stack in stacks}

    def __reduce__(self) -> tuple[type["Patches"], tuple[Cache, tuple[Stack, ...], int | None]]:
        """Send no pixels to another process, which maps the cache itself."""
        return Patches, (self._cache, self._stacks, self._crop)

    def read(self, request: Request) -> RawBatch:
        """Read samples as they are stored."""
        if request.crops is None:
            windows = [(slice(None), slice(None))] * len(request.rows)
        else:
            side = self._crop or min(self._cache.layout.height, self._cache.layout.width)
            windows = [(slice(row, row + side), slice(column, column + side)) for row, column in request.crops]
        raw = {key: torch.from_numpy(reader.read(request.rows, windows)) for key, reader in self._readers.items()}
        return {**raw, "days": torch.from_numpy(request.days), "sample": torch.tensor(list(request.numbers))}


class _Reader:
    """Reads one stack of the task from the cache."""

    def __init__(self, cache: Cache, stack: Stack) -> None:
        names = cache.layout.bands(stack.sensor)
        self._date = stack.date
        self._packed = cache.s1 if stack.sensor == "s1" else cache.s2
        self._channels = _as_slice([names.index(band) for band in stack.bands])
        self._bands = len(stack.bands)

    def read(self, rows: npt.NDArray[np.int_], windows: Sequence[tuple[slice, slice]]) -> npt.NDArray[Any]:
        """Return (batch, band, y, x) as packed, from index rows (batch, date)."""
        first = self._packed[0, 0][windows[0]]
        read = np.empty((len(rows), self._bands, *first.shape), self._packed.dtype)
        for sample, (row, window) in enumerate(zip(rows[:, self._date], windows, strict=True)):
            read[sample] = self._packed[row][self._channels][:, *window]
        return read


class _Scaler:
    """Scales one stack as `Scaling` does, with as little memory traffic as possible.

    The scaling is linear up to its clipping, so slope and offset are learned from it once, in stored units, and kept on
    the device: making them anew for each batch would let the CPU wait for the GPU each time.
    """

    def __init__(self, stack: Stack, scaling: Scaling) -> None:
        ends = torch.tensor([-1.0, 1.0], dtype=torch.float64).view(2, 1, 1, 1).expand(2, len(stack.bands), 1, 1)
        low, high = scaling.unscale(ends, stack)
        unit = 1.0 if stack.sensor == "s1" else 1.0 / REFLECTANCE_SCALE
        self._slope = (2.0 * unit / (high - low)).float()
        self._offset = (-1.0 - 2.0 * low / (high - low)).float()
        self._sensor = stack.sensor

    def scale(self, stored: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (batch, band, y, x) float32, [-1, 1], 0 where missing; and (batch, 1, y, x) bool, True where present."""
        if self._slope.device != stored.device:
            self._slope, self._offset = self._slope.to(stored.device), self._offset.to(stored.device)
        values = stored.to(torch.float32, copy=True)
        usable = present(values, nodata=None if self._sensor == "s1" else S2_NODATA)
        values.mul_(self._slope).add_(self._offset).clamp_(-1.0, 1.0)
        if stored.device.type == "cuda" or not bool(usable.all()):  # to ask a GPU would mean to wait for it
            values.masked_fill_(~usable, BLANK)
        return values, usable


def _as_slice(channels: list[int]) -> slice | list[int]:
    """Return neighbouring channels as a slice, which reads without a copy."""
    first = channels[0]
    return slice(first, first + len(channels)) if channels == list(range(first, first + len(channels))) else channels


def _check_bands(dataset: Dataset, task: Task) -> None:
    there = {"s1": dataset.s1_bands, "s2": dataset.s2_bands}
    for stack in task.stacks:
        missing = [band for band in stack.bands if band not in there[stack.sensor]]
        if missing:
            raise RunError(
                f"{dataset.storage.url} lacks {stack.sensor.upper()} band {', '.join(missing)}, which task {task.name} needs; "
                f"it has {', '.join(there[stack.sensor])}; build it with these bands, or choose others with --set"
            )


def _samples(dataset: Dataset, task: Task, split: str, *, two_way: bool) -> list[Sample]:
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
            ways = {"forward": forward} | ({"backward": forward[::-1]} if two_way and needed > 1 else {})
            for direction, way in ways.items():
                used = tuple(int(row_of[period]) for period in way) * (task.n_dates // needed)
                if any(index.at[used[stack.date], f"{stack.sensor}_valid_fraction"] == 0 for stack in task.stacks):
                    without += 1
                    continue
                roi = str(rows["roi"].iloc[0])
                samples.append(Sample(patch_id=str(patch_id), roi=roi, periods=way, direction=direction, rows=used))
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


def _days(dataset: Dataset, task: Task) -> npt.NDArray[np.float32]:
    """Return (row,) float32: days since 2014 at which the target's sensor saw each index row."""
    times = dataset.index[f"{task.target.sensor}_mean_time"]
    days: npt.NDArray[np.float32] = ((times - DAY_ZERO) / pd.Timedelta(days=1)).to_numpy(np.float32)
    return days
