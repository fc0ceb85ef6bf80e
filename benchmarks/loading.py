"""How fast samples come: from the packed cache, from the GeoTIFF patches, and from plain memory maps as the floor.

The floor is what a loader cannot beat: the very arrays of this task, one memory map per stack in the order of the samples,
copied into batches by `np.stack`: no index, no choosing of bands, no masks. `read` is what the loader's processes do; the
device that trains does the rest. `read and scaled` does all of it on one CPU core, and so does the reader of the GeoTIFFs.
All go through the same samples in the same order, taking turns in one process, so only their ratios count. Everything is
read once before the clock starts.

    python benchmarks/loading.py DATASET [--network tsgan] [--batch 4] [--rounds 5]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import rasterio
import torch

from models import zoo
from models.data.dataset import PairDataset
from models.scaling import Scaling
from models.task import Batch, Stack
from s1s2pairs.dataset.dataset import open_dataset

Reader = Callable[[Sequence[int]], Batch]
FLOOR = "np.memmap floor"


def floor_reader(dataset: PairDataset, folder: Path) -> Reader:
    """Write every sample as it is stored, ready for this task, then read by `np.stack`."""
    whole = dataset.read(range(len(dataset)))
    maps = {}
    for stack in dataset.task.stacks:
        values = whole[stack.key].numpy()
        values.tofile(folder / f"{stack.key}.bin")
        maps[stack.key] = np.memmap(folder / f"{stack.key}.bin", dtype=values.dtype, mode="r", shape=values.shape)
    return lambda numbers: {key: torch.from_numpy(np.stack([m[n] for n in numbers])) for key, m in maps.items()}


def geotiff_reader(dataset: PairDataset, root: Path) -> Reader:
    """Open both patches of each date with rasterio, read the task's bands, scale."""
    index = open_dataset(root).index

    def read_stack(stack: Stack, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        with rasterio.open(root / index[f"{stack.sensor}_path"].iat[row]) as raster:
            names = list(raster.descriptions)
            values = raster.read([names.index(band) + 1 for band in stack.bands])
            looks = raster.read(raster.count)
        valid = (looks > 0) & (np.isfinite(values) if stack.sensor == "s1" else values != 0).all(axis=0)
        physical = torch.from_numpy(values.astype(np.float32) / (1 if stack.sensor == "s1" else 10_000))
        seen = torch.from_numpy(valid)
        return torch.where(seen, dataset.scaling.scale(physical, stack), 0.0), seen[None]

    def read(numbers: Sequence[int]) -> Batch:
        batch: dict[str, list[torch.Tensor]] = {stack.key: [] for stack in dataset.task.stacks}
        valid = []
        for number in numbers:
            parts = [read_stack(stack, dataset.samples[number].rows[stack.date]) for stack in dataset.task.stacks]
            for stack, (values, _) in zip(dataset.task.stacks, parts, strict=True):
                batch[stack.key].append(values)
            valid.append(torch.stack([seen for _, seen in parts]).all(dim=0))
        return {key: torch.stack(values) for key, values in batch.items()} | {"valid": torch.stack(valid)}

    return read


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--network", default="tsgan", help="whose task is read")
    parser.add_argument("--split", default="train")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    task = zoo.resolve(arguments.network).config().task
    dataset = PairDataset(arguments.dataset, task, split=arguments.split, scaling=Scaling())
    with tempfile.TemporaryDirectory() as folder:
        readers: dict[str, Reader] = {
            FLOOR: floor_reader(dataset, Path(folder)),
            "packed cache, read": dataset.read,
            "packed cache, read and scaled": dataset.batch,
            "GeoTIFF patches, read and scaled": geotiff_reader(dataset, arguments.dataset),
        }
        check_same(dataset, list(readers.values()))
        order = np.random.default_rng(0).permutation(len(dataset)).tolist()
        batches = [order[start : start + arguments.batch] for start in range(0, len(order), arguments.batch)]
        rates: dict[str, list[float]] = {name: [] for name in readers}
        for turn in range(arguments.rounds + 1):
            for name, read in readers.items():
                begun = time.perf_counter()
                for numbers in batches:
                    read(numbers)
                if turn:  # the first is for warming up
                    rates[name].append(len(order) / (time.perf_counter() - begun))
    floor = statistics.median(rates[FLOOR])
    print(f"{len(dataset)} samples of {dataset.patch_size} px, task {task.name}, batch {arguments.batch}, 1 thread")
    for name, values in rates.items():
        rate = statistics.median(values)
        print(
            f"{name:33s} {rate:8.0f} samples/s  {rate / floor:5.0%} of the floor  ({min(values):.0f}-{max(values):.0f})"
        )


def check_same(dataset: PairDataset, readers: Sequence[Reader]) -> None:
    """Refuse to compare readers that do not give the same, once scaled."""
    numbers = [0, len(dataset) - 1]
    expected = dataset.batch(numbers)
    for read in readers:
        found = read(numbers)
        if "valid" not in found:
            found = dataset.scale({**dataset.read(numbers), **found})
        for key in ("valid", *(stack.key for stack in dataset.task.stacks)):
            torch.testing.assert_close(found[key], expected[key], atol=1e-6, rtol=0)


if __name__ == "__main__":
    main()
