"""Samples of a task from built datasets, ready for a network."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset

from s1s2pairs.dataset.dataset import Dataset, open_dataset
from s1s2pairs.errors import RunError
from s1s2pairs.sensors import REFLECTANCE_SCALE, S2_NODATA

from ..missing import BLANK, present
from ..scaling import Scaling
from ..task import Batch, Orders, Stack, Task
from .cache import open_cache
from .patches import Crop, Patches, RawBatch, Request
from .samples import acquisition_table, conditions, find_samples

AnyDataset: TypeAlias = Dataset | Path | str


class PairDataset(TorchDataset[Batch]):
    """Samples of one task and split, read from the packed caches of one or several datasets.

    An item is one sample, scaled, so that any `DataLoader` works. `loader.make_loader` is faster: it reads whole batches,
    and leaves scaling to the device that trains, so that half the bytes travel.
    """

    def __init__(
        self,
        datasets: AnyDataset | Sequence[AnyDataset],
        task: Task,
        *,
        split: str,
        scaling: Scaling,
        orders: Orders = "two_way",
        crop: int | None = None,
    ) -> None:
        """Open datasets for a task; packs their caches if needed.

        Args:
            datasets: One or several: open, or folders made by `s1s2 build`. Their samples follow one another.
            task: What goes in and comes out.
            split: `train`, `val` or `test`.
            scaling: Physical values to network values.
            orders: In which orders the periods of a location are used.
            crop: Side in pixels of the squares read when asked for with an offset. Cropping is the only augmentation
                there is: rotating or flipping a radar image gives one that no orbit could have taken.

        Raises:
            RunError: A dataset lacks a band or period that the task needs, or the split is empty; the datasets' patches
                differ in size.
            DatasetError: A dataset is missing or damaged.
        """
        given = [datasets] if isinstance(datasets, AnyDataset) else datasets
        opened = [dataset if isinstance(dataset, Dataset) else open_dataset(dataset) for dataset in given]
        for dataset in opened:
            _check_bands(dataset, task)
        self.task = task
        self.split = split
        self.scaling = scaling
        self.crop = crop
        first_rows = [0, *np.cumsum([len(dataset.index) for dataset in opened]).tolist()]
        self.samples = [
            sample
            for dataset, first_row in zip(opened, first_rows, strict=False)
            for sample in find_samples(dataset, task, split, orders=orders, first_row=first_row)
        ]
        """Every sample, in the order of the indexes; `batch["sample"]` counts in it."""
        caches = [open_cache(dataset) for dataset in opened]
        sizes = [(cache.layout.height, cache.layout.width) for cache in caches]
        if len(set(sizes)) > 1:
            listed = "; ".join(
                f"{dataset.storage.url} {height} x {width} px"
                for dataset, (height, width) in zip(opened, sizes, strict=True)
            )
            raise RunError(
                f"patches of several sizes cannot go into one batch: {listed}; build all with one patch size"
            )
        self.patches = Patches(caches, task.stacks, crop)
        """Reads pixels; small, so that it can be sent to other processes."""
        self._scalers = {stack.key: _Scaler(stack, scaling) for stack in task.stacks}
        self._dates = [stack.date for stack in task.stacks]
        self._acquisitions = np.concatenate([acquisition_table(dataset, task) for dataset in opened])
        self.patch_size: tuple[int, int] = sizes[0]
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

    def request(
        self,
        numbers: Sequence[int],
        crops: Sequence[Crop] | None = None,
        *,
        targets: Sequence[int] | None = None,
        target_crops: Sequence[Crop] | None = None,
    ) -> Request:
        """Return what `patches` must know to read samples.

        Args:
            numbers: Which samples.
            crops: Offset of the square to read, per sample; None reads whole patches.
            targets: Samples to take the target stack from, in place of the same ones.
            target_crops: Offsets for those.
        """
        dated = np.array([self.samples[number].rows for number in numbers])  # (batch, date)
        rows = dated[:, self._dates]
        if targets is not None:
            rows[:, -1] = [self.samples[number].rows[self.task.target.date] for number in targets]
        offsets = None
        if crops is not None:
            offsets = np.repeat(np.array(crops)[:, None], len(self._dates), axis=1)
            if target_crops is not None:
                offsets[:, -1] = target_crops
        acquisitions = self._acquisitions[dated]
        return Request(rows=rows, acquisitions=acquisitions, numbers=tuple(numbers), offsets=offsets)

    def scale(self, raw: RawBatch, *, paired: bool = True) -> Batch:
        """Turn what `read` gives into what a network takes, on the device where it is.

        Args:
            raw: What was read.
            paired: Whether target and inputs show the same ground; else each has a mask of its own.
        """
        batch = {**conditions(raw["acquisitions"]), "sample": raw["sample"]}
        for key, scaler in self._scalers.items():
            batch[key], usable = scaler.scale(raw[key])
            if key == self.task.target.key and not paired:
                batch["target_valid"] = usable
            else:
                batch["valid"] = batch["valid"] & usable if "valid" in batch else usable
        return batch

    def observed(self, raw: RawBatch, stack: Stack | None = None) -> torch.Tensor:
        """Return a stack as it was observed, beyond the scaling's range too.

        Args:
            raw: What `read` gives, on any device.
            stack: One of the task's; none means the target.

        Returns:
            (batch, band, y, x) float32, dB or reflectance; 0 where missing.
        """
        stack = stack or self.task.target
        values = raw[stack.key].float()
        return values.nan_to_num(nan=0.0) if stack.sensor == "s1" else values / REFLECTANCE_SCALE


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


def _check_bands(dataset: Dataset, task: Task) -> None:
    there = {"s1": dataset.s1_bands, "s2": dataset.s2_bands}
    for stack in task.stacks:
        missing = [band for band in stack.bands if band not in there[stack.sensor]]
        if missing:
            raise RunError(
                f"{dataset.storage.url} lacks {stack.sensor.upper()} band {', '.join(missing)}, which task {task.name} needs; "
                f"it has {', '.join(there[stack.sensor])}; build it with these bands, or choose others with --set"
            )
