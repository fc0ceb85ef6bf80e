import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.io import MemoryFile

from s1s2pairs.dataset.rasters import DIGEST_TAG, decode, digest_of, encode, mismatch, opened
from s1s2pairs.errors import DatasetError
from s1s2pairs.sensors import s1_layout, s2_layout, valid_pixels
from tests.refusals import refuses

GRID = GeoBox((70, 300), Affine(10.0, 0.0, 499_980.0, 0.0, -10.0, 5_000_020.0), "EPSG:32631")
S1 = s1_layout(("VV", "VH"), "sigma0")
S2 = s2_layout(("B4", "B11"))


@pytest.fixture
def radar() -> np.ndarray:
    pixels = np.random.default_rng(1).normal(-12, 3, (3, *GRID.shape)).astype(np.float32)
    pixels[2] = 9
    pixels[:2, :4, :4] = np.nan
    pixels[2, :4, :4] = 0
    return pixels


@pytest.fixture
def optical() -> np.ndarray:
    pixels = np.random.default_rng(2).integers(1, 65_536, (3, *GRID.shape)).astype(np.uint16)
    pixels[2] = 4
    pixels[:, -3:] = 0
    return pixels


@pytest.mark.parametrize("cog", [True, False])
def test_a_plain_reader_finds_pixels_place_and_meaning(radar: np.ndarray, optical: np.ndarray, cog: bool) -> None:
    for pixels, layout, names, units, scale in (
        (radar, S1, ("VV", "VH", "count"), ("dB", "dB", "1"), 1.0),
        (optical, S2, ("B4", "B11", "clear"), ("reflectance", "reflectance", "1"), 1e-4),
    ):
        content = encode(pixels, grid=GRID, layout=layout, tags={DIGEST_TAG: "abc"}, cog=cog)
        with MemoryFile(content) as memory, memory.open() as file:
            np.testing.assert_array_equal(file.read(), pixels)
            assert file.crs.to_epsg() == 32631
            assert tuple(file.transform)[:6] == tuple(GRID.transform)[:6]
            assert file.descriptions == names
            assert file.units == units
            assert file.scales == (scale, scale, 1.0)
            assert file.dtypes[0] == layout.dtype
            assert file.tags()[DIGEST_TAG] == "abc"
            assert file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == ("COG" if cog else None)
            # GDAL's own mask agrees with the counts.
            np.testing.assert_array_equal(file.read_masks(1) > 0, pixels[2] > 0)
        np.testing.assert_array_equal(decode(content, name="x"), pixels)
        assert digest_of(content) == "abc"


def test_equal_input_gives_equal_bytes(radar: np.ndarray) -> None:
    first = encode(radar, grid=GRID, layout=S1)
    with rasterio.Env(GDAL_NUM_THREADS=3):
        assert encode(radar.copy(), grid=GRID, layout=S1) == first


@pytest.mark.parametrize("cog", [True, False])
def test_other_threads_run_while_a_raster_is_compressed(cog: bool) -> None:
    """Else the replies of a whole pool of requests wait for every large raster."""
    grid = GeoBox((1000, 1000), GRID.transform, "EPSG:32631")
    pixels = np.random.default_rng(3).normal(-12, 3, (3, *grid.shape)).astype(np.float32)
    begun, done = threading.Event(), threading.Event()

    def turns() -> int:
        taken = 0
        while not done.is_set():
            time.sleep(0)  # gives its turn away
            taken += 1
            begun.set()
        return taken

    interval = sys.getswitchinterval()
    with ThreadPoolExecutor(1) as other:
        counted = other.submit(turns)
        assert begun.wait(60)
        sys.setswitchinterval(1000)  # nobody is made to give way: the other thread runs only where the encoder lets it
        try:
            encode(pixels, grid=grid, layout=S1, cog=cog)
        finally:
            sys.setswitchinterval(interval)
            done.set()
    assert counted.result() > 300, "some thousands of turns, or some ten where compressing holds the interpreter"


def test_what_is_no_raster_or_only_part_of_one_is_an_explained_error(radar: np.ndarray) -> None:
    content = encode(radar, grid=GRID, layout=S1, tags={DIGEST_TAG: "abc"})
    for broken in (b"", b"no raster", content[: len(content) // 2]):
        with refuses(DatasetError, "here.tif"):
            decode(broken, name="here.tif")
    assert digest_of(b"no raster") is None


def test_a_mismatch_is_named(radar: np.ndarray) -> None:
    with opened(encode(radar, grid=GRID, layout=S1), name="x") as file:
        assert mismatch(file, grid=GRID, layout=S1) is None
        moved = GeoBox(GRID.shape, Affine(10.0, 0.0, 499_985.0, 0.0, -10.0, 5_000_020.0), "EPSG:32631")
        assert "transform" in str(mismatch(file, grid=moved, layout=S1))
        assert "CRS" in str(mismatch(file, grid=GeoBox(GRID.shape, GRID.transform, "EPSG:32632"), layout=S1))
        assert "shape" in str(mismatch(file, grid=GRID[:10, :10], layout=S1))
        assert "dtype" in str(mismatch(file, grid=GRID, layout=S2))
        assert "bands" in str(mismatch(file, grid=GRID, layout=s1_layout(("VH", "VV"), "sigma0")))


def test_valid_pixels_have_a_count_and_finite_values(radar: np.ndarray, optical: np.ndarray) -> None:
    assert valid_pixels(radar, "s1").sum() == 70 * 300 - 16
    assert valid_pixels(optical, "s2").sum() == 67 * 300
    radar[0, 60, 60] = np.nan
    assert not valid_pixels(radar, "s1")[60, 60]
