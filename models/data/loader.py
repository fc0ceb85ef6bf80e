"""Batches: which samples make up each, how they are read ahead, how they get to the device."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from s1s2pairs.errors import RunError

from ..task import Batch
from .dataset import Crop, PairDataset, Patches, RawBatch, Request


class EpochBatches:
    """Says which samples make up each batch. The order is a function of seed and epoch: any batch can be found again.

    How far an epoch has come is a number of samples, which means the same on any number of processes.

    With several processes, the batches of one step are parts of one big batch: process r of n gets the r-th part. The
    last samples that fill no whole big batch are left out in this epoch; another epoch's order leaves out others.
    """

    def __init__(self, dataset: PairDataset, *, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        """Plan batches of `batch_size` samples per process.

        Raises:
            RunError: There are fewer samples than one step needs.
        """
        self._dataset = dataset
        self._seed = seed
        self._batch_size = batch_size
        self._world_size = world_size
        self.rank = rank
        """Number of this process; planned as that of the first, and set once the processes are there."""
        self.epoch = 0
        self.first = 0
        """Place in the epoch's order to start at: samples before it were used before the run was interrupted."""
        if not len(self):
            raise RunError(
                f"the {dataset.split} split has {len(dataset)} samples, one step needs {self.step_samples} "
                f"({world_size} processes x batch_size {batch_size}); lower it with --set batch_size=N, or add data"
            )

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return self.left(0)

    @property
    def step_samples(self) -> int:
        """Samples that all processes together use in a step."""
        return self._batch_size * self._world_size

    def left(self, used: int) -> int:
        """Return the number of batches after the first `used` samples of an epoch; fewer samples than a step takes make none."""
        return (len(self._dataset) - used) // self.step_samples

    def __iter__(self) -> Iterator[list[int] | list[tuple[int, Crop]]]:
        """Yield the samples, and the crop if wanted, of each batch of this process in `epoch`."""
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self._dataset), generator=generator).tolist()
        crops = self._crops(generator)
        for number in range(self.left(self.first)):
            start = self.first + number * self.step_samples + self.rank * self._batch_size
            part = range(start, start + self._batch_size)
            numbers = [order[place] for place in part]
            yield numbers if crops is None else [(order[place], crops[place]) for place in part]

    def _crops(self, generator: torch.Generator) -> list[Crop] | None:
        if self._dataset.crop is None:
            return None
        limits = [side - self._dataset.crop + 1 for side in self._dataset.patch_size]
        offsets = [torch.randint(limit, (len(self._dataset),), generator=generator).tolist() for limit in limits]
        return list(zip(*offsets, strict=True))


class _Requests(Sampler[Request]):
    """Turns the samples of each batch into what reading needs to know, so that reading processes need not know the dataset."""

    def __init__(self, dataset: PairDataset, batches: EpochBatches | Sequence[Sequence[int]]) -> None:
        self._dataset, self._batches = dataset, batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Request]:
        for wanted in self._batches:
            numbers = [item if isinstance(item, int) else item[0] for item in wanted]
            crops = [item[1] for item in wanted if not isinstance(item, int)]
            yield self._dataset.request(numbers, crops or None)


class _Batches(TorchDataset[RawBatch]):
    """Gives a batch for a request. All that a reading process is sent at its start."""

    def __init__(self, patches: Patches) -> None:
        self._patches = patches

    def __getitem__(self, request: Request) -> RawBatch:
        return self._patches.read(request)


def make_loader(
    dataset: PairDataset, batches: EpochBatches | Sequence[Sequence[int]], *, workers: int, pin_memory: bool
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


def in_order(dataset: PairDataset, batch_size: int, *, rank: int = 0, world_size: int = 1) -> list[list[int]]:
    """Return batches that go through the dataset once, in order; process r of n gets every n-th batch from the r-th."""
    starts = range(rank * batch_size, len(dataset), world_size * batch_size)
    return [list(range(start, min(start + batch_size, len(dataset)))) for start in starts]


def to_network(dataset: PairDataset, raw: RawBatch, device: torch.device) -> Batch:
    """Move a batch, without waiting when its memory is pinned, and scale it there; images are channels-last on CUDA."""
    batch = dataset.scale({key: values.to(device, non_blocking=True) for key, values in raw.items()})
    if device.type != "cuda":
        return batch
    return {
        key: values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values
        for key, values in batch.items()
    }
