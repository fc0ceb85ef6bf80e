"""Samples hold what the task asks for, scaled as `Scaling` says, with missing pixels told by `valid`."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from models.data.dataset import PairDataset
from models.data.loader import Draw, EpochBatches, in_order, make_loader, to_network
from models.data.samples import DAY_ZERO
from models.scaling import Scaling
from models.task import CONDITIONS, Stack, Task
from s1s2pairs.dataset.dataset import open_dataset
from s1s2pairs.errors import DatasetError, RunError
from s1s2pairs.sensors import DEFAULT_S2_BANDS
from tests.models.conftest import write_dataset
from tests.refusals import refuses

SHIFT = Task(
    name="shift",
    sources=(Stack(sensor="s2", date=1, bands=("B4", "B2", "B12")),),
    references=(Stack(sensor="s1", date=0, bands=("VH",)), Stack(sensor="s2", date=0, bands=("B2", "B3"))),
    target=Stack(sensor="s1", date=1, bands=("VV", "VH")),
)
MONO = Task(
    name="mono",
    sources=(Stack(sensor="s2", date=0, bands=("B2", "B3", "B4")),),
    references=(),
    target=Stack(sensor="s1", date=0, bands=("VV",)),
)


def opened(root: Path, task: Task = SHIFT, **settings: object) -> PairDataset:
    return PairDataset(root, task, **({"split": "train", "scaling": Scaling()} | settings))  # type: ignore[arg-type]


def physical(root: Path, sample_row: int, stack: Stack) -> tuple[torch.Tensor, np.ndarray]:
    """Read one stack with rasterio alone: (band, y, x) in dB or reflectance, and (y, x) valid."""
    row = open_dataset(root).index.iloc[sample_row]
    with rasterio.open(root / row[f"{stack.sensor}_path"]) as raster:
        names = list(raster.descriptions)
        values = raster.read([names.index(band) + 1 for band in stack.bands]).astype(np.float32)
        looks = raster.read(raster.count)
    if stack.sensor == "s2":
        return torch.from_numpy(values / 10_000), (values != 0).all(0) & (looks > 0)
    return torch.from_numpy(values), np.isfinite(values).all(0) & (looks > 0)


def test_batch_equals_the_patches_scaled(tiny_dataset: Path) -> None:
    dataset, scaling = opened(tiny_dataset), Scaling()
    batch = dataset.batch(range(len(dataset)))
    assert set(batch) == {"s2_t2", "s1_t1", "s2_t1", "s1_t2", "valid", "sample", *CONDITIONS}
    assert not batch["valid"].all(), "the fixture must have holes"
    for number, sample in enumerate(dataset.samples):
        everywhere = np.ones(dataset.patch_size, bool)
        for stack in SHIFT.stacks:
            values, valid = physical(tiny_dataset, sample.rows[stack.date], stack)
            expected = torch.where(torch.from_numpy(valid), scaling.scale(values, stack), 0.0)
            torch.testing.assert_close(batch[stack.key][number], expected, atol=1e-6, rtol=0)
            everywhere &= valid
        np.testing.assert_array_equal(batch["valid"][number, 0], everywhere)


@pytest.mark.parametrize("sensor", ["s1", "s2"])
def test_the_observed_target_is_not_clipped(tiny_dataset: Path, sensor: str) -> None:
    target = SHIFT.target if sensor == "s1" else SHIFT.sources[0]
    task = replace(SHIFT, sources=(), target=target)
    narrow = Scaling(s1_ranges_db={"VV": (-15.0, -14.0), "VH": (-15.0, -14.0)}, s2_range=(0.1, 0.11))
    data = opened(tiny_dataset, task, scaling=narrow)
    found = data.observed(data.read(range(len(data))))
    for number, sample in enumerate(data.samples):
        values, present = physical(tiny_dataset, sample.rows[target.date], target)
        torch.testing.assert_close(found[number][:, present], values[:, present], rtol=0, atol=1e-6)
    assert torch.isfinite(found).all()


def test_samples_go_both_ways(tiny_dataset: Path) -> None:
    both, forward = opened(tiny_dataset), opened(tiny_dataset, orders="forward")
    assert len(both) == 2 * len(forward) == 8
    assert {(sample.direction, sample.periods) for sample in both.samples} == {
        ("forward", ("2019", "2021")),
        ("backward", ("2021", "2019")),
    }
    one, other = both.batch([0]), both.batch([1])
    assert [both.samples[number].patch_id for number in (0, 1)] == [both.samples[0].patch_id] * 2
    torch.testing.assert_close(one["s1_t1"][:, :1], other["s1_t2"][:, 1:])  # VH of the same period
    torch.testing.assert_close(one["days"], other["days"].flip(1))


def test_days_are_those_of_the_targets_sensor(tiny_dataset: Path) -> None:
    index = open_dataset(tiny_dataset).index
    days = opened(tiny_dataset).batch([0])["days"][0]
    expected = [(index["s1_mean_time"].iloc[row] - DAY_ZERO).total_seconds() / 86400 for row in (0, 1)]
    np.testing.assert_allclose(days, expected, atol=1e-3)


def test_task_with_one_date_uses_every_period(tiny_dataset: Path) -> None:
    dataset = opened(tiny_dataset, MONO)
    assert len(dataset) == 8
    assert {sample.periods for sample in dataset.samples} == {("2019",), ("2021",)}
    assert {sample.direction for sample in dataset.samples} == {"forward"}


def test_task_of_the_target_date_alone_needs_one_period_and_uses_each_once(tiny_dataset: Path) -> None:
    late = Task(
        name="late",
        sources=(Stack(sensor="s2", date=1, bands=("B2", "B3", "B4")),),
        references=(),
        target=Stack(sensor="s1", date=1, bands=("VV",)),
    )
    dataset, mono = opened(tiny_dataset, late), opened(tiny_dataset, MONO)
    assert [sample.periods for sample in dataset.samples] == [sample.periods for sample in mono.samples]
    batch, expected = dataset.batch(range(8)), mono.batch(range(8))
    torch.testing.assert_close(batch["s1_t2"], expected["s1_t1"])
    torch.testing.assert_close(batch["s2_t2"], expected["s2_t1"])
    torch.testing.assert_close(batch["days"][:, 1:], expected["days"])


def test_crops_are_parts_of_patches(tiny_dataset: Path) -> None:
    dataset = opened(tiny_dataset, crop=16)
    whole, part = dataset.batch([2, 5]), dataset.batch([2, 5], [(0, 0), (7, 48)])
    for key in ("s2_t2", "s1_t2", "valid"):
        torch.testing.assert_close(part[key][0], whole[key][0, :, :16, :16])
        torch.testing.assert_close(part[key][1], whole[key][1, :, 7:23, 48:64])


def test_single_samples_and_worker_processes_give_the_same(tiny_dataset: Path) -> None:
    dataset = opened(tiny_dataset)
    plan = in_order(dataset, 3)
    for workers in (0, 2):
        loader = make_loader(dataset, plan, workers=workers, pin_memory=False)
        loaded = [to_network(dataset, raw, torch.device("cpu")) for raw in loader]
        assert [batch["sample"].tolist() for batch in loaded] == [[0, 1, 2], [3, 4, 5], [6, 7]]
        torch.testing.assert_close(loaded[1]["s1_t2"][1], dataset[4]["s1_t2"])


def test_a_reading_process_is_sent_a_path_and_no_dataset(tiny_dataset: Path) -> None:
    """100,000 index rows: 5.4 MB and all pixels before requests carried the row numbers, 0.4 kB since."""
    dataset = opened(tiny_dataset)
    pixels = sum(path.stat().st_size for path in dataset.patches._caches[0].folder.glob("*.bin"))
    assert len(pickle.dumps(dataset)) < 10_000 < pixels, "no pixels travel with the dataset itself"
    rows = 100_000
    dataset.samples = [
        replace(dataset.samples[0], patch_id=f"roi_{number}", rows=(number, (number + 1) % rows))
        for number in range(rows)
    ]
    dataset._acquisitions = np.zeros((rows, 4), np.float32)
    loader = make_loader(dataset, in_order(dataset, 4), workers=2, pin_memory=False)
    assert len(pickle.dumps(dataset)) > 1_000_000, "the samples are many"
    assert len(pickle.dumps(loader.dataset)) < 1_000
    assert len(pickle.dumps(next(iter(loader.sampler)))) < 1_000


def test_spawned_reading_processes_give_the_same(tiny_dataset: Path) -> None:
    dataset = opened(tiny_dataset, crop=16)
    plan = EpochBatches(dataset, batch_size=3, seed=1)
    loader = make_loader(dataset, plan, workers=1, pin_memory=False)
    loader.multiprocessing_context = "spawn"
    for raw, here in zip(loader, make_loader(dataset, plan, workers=0, pin_memory=False), strict=True):
        assert raw.keys() == here.keys()
        for key, values in here.items():
            assert torch.equal(raw[key].nan_to_num(), values.nan_to_num()), key


def test_torchs_own_loader_works_too(tiny_dataset: Path) -> None:
    dataset = opened(tiny_dataset)
    loaded = next(iter(torch.utils.data.DataLoader(dataset, batch_size=3)))
    expected = dataset.batch([0, 1, 2])
    assert loaded.keys() == expected.keys()
    for key, values in expected.items():
        torch.testing.assert_close(loaded[key], values)


def test_order_is_a_function_of_seed_and_epoch(tiny_dataset: Path) -> None:
    dataset = opened(tiny_dataset)

    def order(seed: int, epoch: int, first: int = 0) -> list[list[Draw]]:
        batches = EpochBatches(dataset, batch_size=2, seed=seed)
        batches.epoch, batches.first = epoch, first
        return list(batches)

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1) != order(2, 1)
    assert order(1, 3, first=4) == order(1, 3)[2:], "four samples are two batches"
    assert sorted(draw.sample for batch in order(1, 0) for draw in batch) == list(range(8))


def test_processes_share_the_batches_of_one(tiny_dataset: Path) -> None:
    dataset = opened(tiny_dataset, crop=32)
    one = list(EpochBatches(dataset, batch_size=4, seed=3))
    two = [list(EpochBatches(dataset, batch_size=2, seed=3, rank=rank, world_size=2)) for rank in (0, 1)]
    assert [first + second for first, second in zip(*two, strict=True)] == one


def test_in_order_covers_everything_once(tiny_dataset: Path) -> None:
    dataset = opened(tiny_dataset)
    parts = [in_order(dataset, 3, rank=rank, world_size=2) for rank in (0, 1)]
    assert sorted(draw.sample for part in parts for batch in part for draw in batch) == list(range(8))


def test_missing_band_is_named_with_what_there_is(tiny_dataset: Path) -> None:
    task = Task(
        name="red edge", sources=(Stack(sensor="s2", date=0, bands=("B5",)),), references=(), target=MONO.target
    )
    with refuses(RunError, tiny_dataset, "B5", "red edge", "B2, B3, B4, B8, B11, B12", "--set"):
        opened(tiny_dataset, task)


def test_missing_period_is_named_with_what_there_is(tiny_dataset: Path) -> None:
    target = Stack(sensor="s1", date=2, bands=("VV",))
    task = Task(name="three dates", sources=MONO.sources, references=(), target=target)
    with refuses(RunError, tiny_dataset, "three dates", 3, "2019, 2021", "--years"):
        opened(tiny_dataset, task)


def test_empty_split_is_named_with_what_there_is(tmp_path: Path, make_dataset: Callable[..., Path]) -> None:
    root = make_dataset(tmp_path / "data", size=32, splits=("train",), rois=1, patches=1)
    with refuses(RunError, root, "test", "train"):
        opened(root, split="test")


def test_missing_dataset_is_an_error(tmp_path: Path) -> None:
    with refuses(DatasetError, tmp_path / "nowhere", f"s1s2 build RECIPE --out {tmp_path / 'nowhere'}"):
        opened(tmp_path / "nowhere")


def test_too_few_samples_for_a_step(tiny_dataset: Path) -> None:
    with refuses(RunError, 8, 16, "batch_size=N"):
        EpochBatches(opened(tiny_dataset), batch_size=8, seed=0, world_size=2)


def test_crop_must_fit(tiny_dataset: Path) -> None:
    with refuses(RunError, "crop", 65, "(64, 64)"):
        opened(tiny_dataset, crop=65)


def test_periods_are_in_times_order_whatever_their_labels(tiny_dataset: Path) -> None:
    dataset = opened(tiny_dataset)
    for sample in dataset.samples:
        days = [open_dataset(tiny_dataset).index["s2_mean_time"].iloc[row] for row in sample.rows]
        assert all((a < b) == (sample.direction == "forward") for a, b in pairwise(days))


THREE = Task(
    name="three dates",
    sources=(Stack(sensor="s1", date=1, bands=("VV",)),),
    references=tuple(Stack(sensor="s2", date=date, bands=("B4", "B3")) for date in (0, 2)),
    target=Stack(sensor="s2", date=1, bands=("B4", "B3")),
)


def test_three_dates_come_in_the_orders_asked_for(tmp_path: Path, make_dataset: Callable[..., Path]) -> None:
    root = make_dataset(
        tmp_path / "data", size=32, splits=("train",), rois=1, patches=1, periods=("2017", "2019", "2021")
    )
    forward = ("2017", "2019", "2021")
    found = {
        orders: [(sample.direction, sample.periods) for sample in opened(root, THREE, orders=orders).samples]
        for orders in ("forward", "two_way", "all")
    }
    assert found["forward"] == [("forward", forward)]
    assert found["two_way"] == [*found["forward"], ("backward", forward[::-1])]
    assert found["all"][:2] == found["two_way"]
    assert {direction for direction, _ in found["all"][2:]} == {"mixed"}
    assert {order for _, order in found["all"]} == set(permutations(forward))
    assert len(found["all"]) == 6


def test_two_dates_of_three_periods_are_paired_each_with_each(
    tmp_path: Path, make_dataset: Callable[..., Path]
) -> None:
    root = make_dataset(
        tmp_path / "data", size=32, splits=("train",), rois=1, patches=1, periods=("2017", "2019", "2021")
    )
    for orders, count in (("forward", 3), ("two_way", 6), ("all", 6)):
        assert len({sample.periods for sample in opened(root, orders=orders).samples}) == count


def test_bands_of_one_sensor_and_date_go_in_and_come_out(tiny_dataset: Path) -> None:
    sharpen = Task(
        name="visible to swir",
        sources=(Stack(sensor="s2", date=0, bands=("B4", "B3", "B2"), name="visible"),),
        references=(),
        target=Stack(sensor="s2", date=0, bands=("B12", "B11"), name="swir"),
    )
    batch = opened(tiny_dataset, sharpen).batch([0, 3])
    whole = opened(tiny_dataset, replace(MONO, sources=(Stack(sensor="s2", date=0, bands=DEFAULT_S2_BANDS),)))
    every = whole.batch([0, 3])["s2_t1"]
    for key, channels in (("visible_t1", [2, 1, 0]), ("swir_t1", [5, 4])):
        wanted = torch.where(batch["valid"], every[:, channels], 0.0)
        torch.testing.assert_close(torch.where(batch["valid"], batch[key], 0.0), wanted)


def test_a_batch_tells_when_and_how_its_images_were_taken(tiny_dataset: Path) -> None:
    batch = opened(tiny_dataset).batch([0, 1])
    taken = [datetime(year, 6, 17, 10, 30, tzinfo=UTC) for year in (2019, 2021)]  # radar, two days after the optical
    angles = [2 * np.pi * (time.timetuple().tm_yday - 1 + 10.5 / 24) / 365.2425 for time in taken]
    np.testing.assert_allclose(batch["season"][0, :, 0], np.sin(angles), atol=0.02)
    np.testing.assert_allclose(batch["season"][0, :, 1], np.cos(angles), atol=0.02)
    np.testing.assert_array_equal(batch["incidence"], np.full((2, 2), 39.0))
    np.testing.assert_array_equal(batch["relative_orbit"], np.full((2, 2), 110.0))
    np.testing.assert_array_equal(batch["ascending"], np.zeros((2, 2)))
    torch.testing.assert_close(batch["season"][1], batch["season"][0].flip(0))


class TestUnpaired:
    TASK = replace(MONO, paired=False)

    def test_targets_come_in_an_order_of_their_own(self, tiny_dataset: Path) -> None:
        data = opened(tiny_dataset, self.TASK, crop=16)
        batches = EpochBatches(data, batch_size=4, seed=3)
        draws = [draw for batch in batches for draw in batch]
        assert sorted(draw.sample for draw in draws) == sorted(draw.target for draw in draws) == list(range(8))
        assert [draw.sample for draw in draws] != [draw.target for draw in draws]
        assert [draw.crop for draw in draws] != [draw.target_crop for draw in draws]
        paired = EpochBatches(opened(tiny_dataset, MONO, crop=16), batch_size=4, seed=3)
        assert [draw.sample for batch in paired for draw in batch] == [draw.sample for draw in draws]

    def test_an_epoch_that_goes_on_has_the_pairs_of_the_whole_one(self, tiny_dataset: Path) -> None:
        data = opened(tiny_dataset, self.TASK, crop=16)
        whole, rest = (EpochBatches(data, batch_size=2, seed=3) for _ in range(2))
        whole.epoch = rest.epoch = 2
        rest.first = 4
        assert list(rest) == list(whole)[2:]

    def test_each_side_has_its_own_pixels_and_mask(self, tiny_dataset: Path) -> None:
        data = opened(tiny_dataset, self.TASK, crop=16)
        plan = EpochBatches(data, batch_size=8, seed=1)
        (raw,) = make_loader(data, plan, workers=0, pin_memory=False)
        batch = to_network(data, raw, torch.device("cpu"), paired=False)
        for place, draw in enumerate(next(iter(plan))):
            ours = data.scale(data.read([draw.sample], [draw.crop]), paired=False)
            theirs = data.scale(data.read([draw.target], [draw.target_crop]), paired=False)
            assert torch.equal(batch["s2_t1"][place], ours["s2_t1"][0])
            assert torch.equal(batch["valid"][place], ours["valid"][0])
            assert torch.equal(batch["s1_t1"][place], theirs["s1_t1"][0])
            assert torch.equal(batch["target_valid"][place], theirs["target_valid"][0])


class TestSeveralDatasets:
    def test_their_samples_follow_one_another(self, tiny_dataset: Path, tmp_path: Path) -> None:
        other = write_dataset(tmp_path / "other", seed=1, rois=1)
        one, two, both = opened(tiny_dataset), opened(other), opened([tiny_dataset, other])
        assert len(both) == len(one) + len(two)
        batch = both.batch([3, len(one), len(both) - 1])
        apart = [one.batch([3]), two.batch([0]), two.batch([len(two) - 1])]
        for key in set(batch) - {"sample"}:
            assert torch.equal(batch[key].nan_to_num(), torch.cat([part[key] for part in apart]).nan_to_num()), key

    def test_patches_of_two_sizes_are_refused(self, tiny_dataset: Path, tmp_path: Path) -> None:
        other = write_dataset(tmp_path / "other", size=32, rois=1)
        with refuses(RunError, tiny_dataset, "64 x 64", other, "32 x 32"):
            opened([tiny_dataset, other])
