"""Batches: which samples make up each, how they are read ahead, how they get to the device."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from s1s2pairs.errors import RunError

from ..task import Batch
from .dataset import PairDataset
from .patches import Crop, Patches, RawBatch, Request


class Draw(NamedTuple):
    """One sample of a batch, and how to read it."""

    sample: int
    crop: Crop | None = None
    """None reads the whole patch."""
    target: int | None = None
    """Sample that the target is taken from, in a task that trains unpaired."""
    target_crop: Crop | None = None


class EpochBatches:
    """Says which samples make up each batch. The order is a function of seed and epoch: any batch can be found again.

    How far an epoch has come is a number of samples, which means the same on any number of processes.

    The batches of one step are parts of one big batch: process r of n gets the r-th part, as one batch or as several that
    follow one another. The last samples that fill no whole big batch are left out in this epoch; another epoch's order
    leaves out others.
    """

    def __init__(
        self,
        dataset: PairDataset,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
    ) -> None:
        """Plan batches of `batch_size` samples; in each step, every process gets `accumulate` of them.

        Raises:
            RunError: There are fewer samples than one step needs.
        """
        self._dataset = dataset
        self._seed = seed
        self._batch_size = batch_size
        self._world_size = world_size
        self._accumulate = accumulate
        self.rank = rank
        """Number of this process; planned as that of the first, and set once the processes are there."""
        self.epoch = 0
        self.first = 0
        """Place in the epoch's order to start at: samples before it were used before the run was interrupted."""
        if not len(self):
            added = f" x accumulate {accumulate}" if accumulate > 1 else ""
            raise RunError(
                f"the {dataset.split} split has {len(dataset)} samples, one step needs {self.step_samples} "
                f"({world_size} processes x batch_size {batch_size}{added}); lower it with --set batch_size=N, or add data"
            )

    def __len__(self) -> int:
        """Return the number of this process's batches in an epoch."""
        return self.left(0) * self._accumulate

    @property
    def step_samples(self) -> int:
        """Samples that all processes together use in a step."""
        return self._batch_size * self._world_size * self._accumulate

    def left(self, used: int) -> int:
        """Return the number of steps after the first `used` samples of an epoch; fewer samples than a step takes make none."""
        return (len(self._dataset) - used) // self.step_samples

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield what makes up each batch of this process in `epoch`.

        In a task that trains unpaired, the targets come in an order of their own.
        """
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self.epoch)
        paired = self._dataset.task.paired
        order, crops = self._order(generator)
        target_order, target_crops = (order, crops) if paired else self._order(generator)
        for step, part in itertools.product(range(self.left(self.first)), range(self._accumulate)):
            before = self.rank * self._accumulate + part
            start = self.first + step * self.step_samples + before * self._batch_size
            yield [
                Draw(order[place], crops[place], None if paired else target_order[place], target_crops[place])
                for place in range(start, start + self._batch_size)
            ]

    def _order(self, generator: torch.Generator) -> tuple[list[int], list[Crop | None]]:
        """Return the samples in the order of the epoch, and where to crop the one at each place."""
        count, crop = len(self._dataset), self._dataset.crop
        order = torch.randperm(count, generator=generator).tolist()
        if crop is None:
            return order, [None] * count
        limits = [side - crop + 1 for side in self._dataset.patch_size]
        rows, columns = (torch.randint(limit, (count,), generator=generator).tolist() for limit in limits)
        return order, list(zip(rows, columns, strict=True))


class _Requests(Sampler[Request]):
    """Turns the samples of each batch into what reading needs to know, so that reading processes need not know the dataset."""

    def __init__(self, dataset: PairDataset, batches: EpochBatches | Sequence[Sequence[Draw]]) -> None:
        self._dataset, self._batches = dataset, batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Request]:
        for drawn in self._batches:
            yield self._dataset.request(
                [draw.sample for draw in drawn],
                [draw.crop for draw in drawn if draw.crop is not None] or None,
                targets=[draw.target for draw in drawn if draw.target is not None] or None,
                target_crops=[draw.target_crop for draw in drawn if draw.target_crop is not None] or None,
            )


class _Batches(TorchDataset[RawBatch]):
    """Gives a batch for a request. All that a reading process is sent at its start."""

    def __init__(self, patches: Patches) -> None:
        self._patches = patches

    def __getitem__(self, request: Request) -> RawBatch:
        return self._patches.read(request)


def make_loader(
    dataset: PairDataset, batches: EpochBatches | Sequence[Sequence[Draw]], *, workers: int, pin_memory: bool
) -> DataLoader[RawBatch]:
    """Return a loader that gives whole batches as stored; `to_network` makes them fit for a network.

    Args:
        dataset: Where samples come from.
        batches: The samples of each batch.
        workers: Processes that read ahead; 0 reads in this one.
        pin_memory: Put batches where a GPU can fetch them while it computes.
    """
    return DataLoader(
        _Batches(dataset.patches),
        sampler=_Requests(dataset, batches),
        batch_size=None,
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        generator=torch.Generator(),  # its own: a loader must not draw from the generator that the network draws from
    )


def in_order(dataset: PairDataset, batch_size: int, *, rank: int = 0, world_size: int = 1) -> list[list[Draw]]:
    """Return batches that go through the dataset once, in order; process r of n gets every n-th batch from the r-th."""
    starts = range(rank * batch_size, len(dataset), world_size * batch_size)
    return [[Draw(number) for number in range(start, min(start + batch_size, len(dataset)))] for start in starts]


def to_network(dataset: PairDataset, raw: RawBatch, device: torch.device, *, paired: bool = True) -> Batch:
    """Move a batch, without waiting when its memory is pinned, and scale it there."""
    moved = {key: values.to(device, non_blocking=True) for key, values in raw.items()}
    return dataset.scale(moved, paired=paired)
