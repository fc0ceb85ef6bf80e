"""The packed cache equals the GeoTIFFs, follows the index, and survives faults."""

import errno
import multiprocessing
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from models.data.cache import CACHE_FOLDER, Cache, cache_key, open_cache
from s1s2pairs.dataset.dataset import open_dataset
from s1s2pairs.errors import DatasetError
from s1s2pairs.sensors import DEFAULT_S2_BANDS
from tests.refusals import refuses

SMALL = {"size": 32, "splits": ("train", "test"), "rois": 2, "patches": 1}


@pytest.fixture
def root(tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
    return make_dataset(tmp_path / "data", **SMALL)


def test_every_value_equals_the_geotiff(root: Path) -> None:
    dataset = open_dataset(root)
    cache = open_cache(dataset)
    for number, row in enumerate(dataset.index.itertuples()):
        with rasterio.open(root / row.s1_path) as raster:
            radar, count = raster.read((1, 2)), raster.read(3)
        with rasterio.open(root / row.s2_path) as raster:
            optical, clear = raster.read((1, 2, 3, 4, 5, 6)), raster.read(7)
        np.testing.assert_array_equal(cache.s1[number], np.where(count > 0, radar, np.nan))
        np.testing.assert_array_equal(cache.s2[number], np.where(clear > 0, optical, 0))
    assert np.isnan(cache.s1).any(), "the fixture must have holes"
    assert (cache.layout.s1_bands, cache.layout.s2_bands) == (("VV", "VH"), DEFAULT_S2_BANDS)


def test_second_opening_packs_nothing(root: Path) -> None:
    before = open_cache(open_dataset(root))
    stamps = {path: path.stat().st_mtime_ns for path in before.folder.iterdir()}
    after = open_cache(open_dataset(root))
    assert after.folder == before.folder
    assert {path: path.stat().st_mtime_ns for path in after.folder.iterdir()} == stamps


def test_changed_dataset_is_packed_again_and_the_old_cache_goes(root: Path, make_dataset: Callable[..., Path]) -> None:
    old = open_cache(open_dataset(root)).folder
    make_dataset(root, **SMALL, seed=1)
    new = open_cache(open_dataset(root)).folder
    assert new != old
    assert [path.name for path in new.parent.iterdir() if path.is_dir()] == [new.name]


def test_corrupted_patch_is_named(root: Path) -> None:
    path = root / open_dataset(root).index["s2_path"].iloc[3]
    content = bytearray(path.read_bytes())
    content[-100] ^= 0xFF
    path.write_bytes(content)
    with refuses(DatasetError, path, "SHA-256", "s1s2 verify"):
        open_cache(open_dataset(root))
    assert not [entry for entry in (root / CACHE_FOLDER).iterdir() if entry.is_dir()], "no half cache stays behind"


def test_missing_patch_is_named(root: Path) -> None:
    path = root / open_dataset(root).index["s1_path"].iloc[0]
    path.unlink()
    with refuses(DatasetError, path, os.strerror(errno.ENOENT)):
        open_cache(open_dataset(root))


def test_truncated_cache_is_named(root: Path) -> None:
    folder = open_cache(open_dataset(root)).folder
    with (folder / "s1.bin").open("rb+") as file:
        file.truncate(100)
    with refuses(DatasetError, folder / "s1.bin", 100, 65536):
        open_cache(open_dataset(root))


def test_leftovers_of_a_killed_run_go(root: Path) -> None:
    import platform

    leftover = root / CACHE_FOLDER / f"tmp-{platform.node()}-killed"
    leftover.mkdir(parents=True)
    open_cache(open_dataset(root))
    assert not leftover.exists()


def _open(root: Path, queue: "multiprocessing.Queue[tuple[str, float]]") -> None:
    cache = open_cache(open_dataset(root))
    queue.put((cache.folder.name, float(np.nansum(cache.s1))))


def test_two_runs_that_start_at_once_agree(root: Path) -> None:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    runs = [context.Process(target=_open, args=(root, queue)) for _ in range(2)]
    for run in runs:
        run.start()
    answers = [queue.get(timeout=120) for _ in runs]
    for run in runs:
        run.join()
        assert run.exitcode == 0
    assert answers[0] == answers[1]
    assert answers[0][0] == cache_key(open_dataset(root))


def test_another_process_maps_the_files_itself(root: Path) -> None:
    cache = open_cache(open_dataset(root))
    sent = pickle.dumps(cache)
    assert len(sent) < 1000
    received = pickle.loads(sent)
    assert isinstance(received, Cache)
    np.testing.assert_array_equal(received.s2, cache.s2)
