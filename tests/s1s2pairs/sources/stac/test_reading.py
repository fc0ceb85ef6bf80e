"""Reading onto a grid, with rasterio's exact warp as the oracle."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform, transform_bounds
from scipy.interpolate import RegularGridInterpolator

from s1s2pairs.errors import SourceError, SourceUnreachable
from s1s2pairs.sources.stac.raster import Raster
from s1s2pairs.sources.stac.reading import read_float, read_raw, read_smooth, tiles
from tests.refusals import refuses

SOURCE = GeoBox((90, 70), Affine(10, 0, 500_000, 0, -10, 5_600_000), "EPSG:32631")


def write(path: Path, values: NDArray[Any], box: GeoBox, **options: Any) -> Raster:
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "crs": str(box.crs),
        "tiled": True,
        "blockxsize": 32,
        "blockysize": 16,
    } | options
    profile |= {"height": values.shape[0], "width": values.shape[1], "count": 1, "dtype": values.dtype}
    with rasterio.open(path, "w", transform=box.transform, **profile) as dataset:
        dataset.write(values, 1)
    return Raster(label="item I, asset A", href=str(path), crs=str(box.crs), nodata=0)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[Raster, NDArray[np.uint16]]:
    values = np.random.default_rng(1).integers(1, 60_000, SOURCE.shape, dtype=np.uint16)
    return write(tmp_path_factory.mktemp("image") / "image.tif", values, SOURCE), values


def warped(values: NDArray[Any], box: GeoBox, grid: GeoBox) -> NDArray[Any]:
    out = np.zeros(grid.shape, values.dtype)
    reproject(
        values,
        out,
        src_transform=box.transform,
        src_crs=str(box.crs),
        dst_transform=grid.transform,
        dst_crs=str(grid.crs),
        resampling=Resampling.nearest,
        tolerance=0,
    )
    return out


@given(
    pixel=st.sampled_from([2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 7.3]),
    east=st.floats(-400, 900),
    north=st.floats(-1100, 400),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_parallel_grid_equals_rasterio(
    image: tuple[Raster, NDArray[np.uint16]], pixel: float, east: float, north: float, height: int, width: int
) -> None:
    # Off every pixel edge: on an edge both neighbours are nearest, and libraries differ in which they take.
    left, top = 500_000 + round(east, 1) + 0.0371, 5_600_000 + round(north, 1) + 0.0177
    grid = GeoBox((height, width), Affine(pixel, 0, left, 0, -pixel, top), "EPSG:32631")
    raster, values = image
    np.testing.assert_array_equal(read_raw(raster, grid, fill=0), warped(values, SOURCE, grid))


@pytest.mark.parametrize("crs", ["EPSG:32630", "EPSG:32632", "EPSG:3035", "EPSG:4326"])
@pytest.mark.parametrize("shift", [-300.0, 0.0, 250.0])
def test_another_projection_equals_rasterio(image: tuple[Raster, NDArray[np.uint16]], crs: str, shift: float) -> None:
    raster, values = image
    step = 7.3 if crs != "EPSG:4326" else 8e-5
    scale = 1.0 if crs != "EPSG:4326" else 1e-5
    left, _, _, top = transform_bounds(str(SOURCE.crs), crs, 500_000, 5_599_100, 500_700, 5_600_000)
    grid = GeoBox((110, 95), Affine(step, 0, left + shift * scale, 0, -step, top + shift * scale), crs)
    mine, theirs = read_raw(raster, grid, fill=0), warped(values, SOURCE, grid)
    assert np.count_nonzero(theirs) > 500
    unequal = mine != theirs
    # GDAL's warper interpolates between exactly transformed points. Where the two differ, the exact point lies on an edge.
    rows, columns = np.nonzero(unequal)
    x, y = transform(
        crs, str(SOURCE.crs), grid.transform.c + step * (columns + 0.5), grid.transform.f - step * (rows + 0.5)
    )
    source_px = np.stack([(np.array(x) - 500_000) / 10, (5_600_000 - np.array(y)) / 10])
    assert np.abs(source_px - np.rint(source_px)).min(axis=0, initial=1).max(initial=0) < 1e-3
    assert unequal.mean() < 0.01


def test_rotated_and_south_up_rasters_equal_rasterio(tmp_path: Path) -> None:
    values = np.arange(1, 2501, dtype=np.uint16).reshape(50, 50)
    grid = GeoBox((60, 60), Affine(10, 0, 500_003, 0, -10, 5_600_004), "EPSG:32631")
    for name, affine in {
        "rotated": Affine.translation(500_100, 5_599_900) @ Affine.rotation(20) @ Affine.scale(9, -9),
        "south_up": Affine(10, 0, 500_050, 0, 10, 5_599_500),
    }.items():
        box = GeoBox((50, 50), affine, "EPSG:32631")
        raster = write(tmp_path / f"{name}.tif", values, box)
        theirs = warped(values, box, grid)
        assert np.count_nonzero(theirs) > 1000
        np.testing.assert_array_equal(read_raw(raster, grid, fill=0), theirs)


def test_an_aligned_grid_is_a_plain_window(image: tuple[Raster, NDArray[np.uint16]]) -> None:
    raster, values = image
    np.testing.assert_array_equal(read_raw(raster, SOURCE[10:40, 5:25], fill=0), values[10:40, 5:25])


def test_twenty_metre_pixels_are_repeated_exactly(tmp_path: Path) -> None:
    values = np.arange(1, 1225, dtype=np.uint16).reshape(36, 34)
    raster = write(
        tmp_path / "coarse.tif", values, GeoBox((36, 34), Affine(20, 0, 500_000, 0, -20, 5_600_000), "EPSG:32631")
    )
    grid = GeoBox((72, 68), SOURCE.transform, "EPSG:32631")
    np.testing.assert_array_equal(read_raw(raster, grid, fill=0), values.repeat(2, axis=0).repeat(2, axis=1))


def test_lossless_jpeg_2000_reads_like_any_other(tmp_path: Path) -> None:
    """As ESA's products, and so CDSE, have their bands."""
    values = np.random.default_rng(8).integers(1, 9000, SOURCE.shape, dtype=np.uint16)
    profile = {
        "driver": "JP2OpenJPEG",
        "crs": str(SOURCE.crs),
        "transform": SOURCE.transform,
        "count": 1,
        "dtype": "uint16",
    }
    profile |= {"height": SOURCE.height, "width": SOURCE.width, "QUALITY": "100", "REVERSIBLE": "YES"}
    with rasterio.open(tmp_path / "B02_10m.jp2", "w", **profile) as dataset:
        dataset.write(values, 1)
    raster = Raster(label="item I, asset B02_10m", href=str(tmp_path / "B02_10m.jp2"), crs=str(SOURCE.crs), nodata=0)
    np.testing.assert_array_equal(read_raw(raster, SOURCE, fill=0), values)


def test_a_pixel_on_an_edge_takes_the_later_one(image: tuple[Raster, NDArray[np.uint16]]) -> None:
    raster, values = image
    coarse = GeoBox((45, 35), Affine(20, 0, 500_000, 0, -20, 5_600_000), "EPSG:32631")
    np.testing.assert_array_equal(read_raw(raster, coarse, fill=0), values[1::2, 1::2])


def test_only_the_window_is_read(image: tuple[Raster, NDArray[np.uint16]], monkeypatch: pytest.MonkeyPatch) -> None:
    raster, _ = image
    asked = []
    read = rasterio.DatasetReader.read

    def spy(self: rasterio.DatasetReader, *args: Any, **keywords: Any) -> Any:
        asked.append(keywords["window"])
        return read(self, *args, **keywords)

    monkeypatch.setattr(rasterio.DatasetReader, "read", spy)
    read_raw(raster, SOURCE[10:20, 30:38], fill=0)
    read_raw(raster, GeoBox((10, 10), Affine(10, 0, 600_000, 0, -10, 5_600_000), "EPSG:32631"), fill=0)
    assert [(w.row_off, w.col_off, w.height, w.width) for w in asked] == [(10, 30, 10, 8)]


def test_decibel_scale_and_nodata_become_linear(tmp_path: Path) -> None:
    raw = np.array([[-1000, -850], [-32768, 0]], np.int16)
    box = GeoBox((2, 2), SOURCE.transform, "EPSG:32631")
    write(tmp_path / "db.tif", raw, box, tiled=False, blockysize=1, blockxsize=2)
    raster = Raster(
        label="x", href=str(tmp_path / "db.tif"), crs="EPSG:32631", nodata=-32768, scale=0.01, offset=0.0, decibel=True
    )
    np.testing.assert_allclose(read_float(raster, box), [[0.1, 10**-0.85], [np.nan, 1.0]], rtol=1e-6)


def test_the_file_s_own_nodata_counts_where_the_item_has_none(tmp_path: Path) -> None:
    box = GeoBox((1, 2), SOURCE.transform, "EPSG:32631")
    write(tmp_path / "x.tif", np.array([[-32768, 0.5]], np.float32), box, nodata=-32768, tiled=False)
    raster = Raster(label="x", href=str(tmp_path / "x.tif"), crs="EPSG:32631", nodata=None)
    np.testing.assert_array_equal(read_float(raster, box), np.float32([[np.nan, 0.5]]))


def test_uncalibrated_amplitudes_are_refused(tmp_path: Path) -> None:
    box = GeoBox((2, 2), SOURCE.transform, "EPSG:32631")
    raster = write(tmp_path / "dn.tif", np.ones((2, 2), np.uint16), box, tiled=False, blockysize=1, blockxsize=2)
    with refuses(SourceError, "item I, asset A", "uint16", "raster:bands", "scale", "unit", "dB"):
        read_float(raster, box)


def test_a_wrong_or_missing_crs_is_refused(tmp_path: Path) -> None:
    box = GeoBox((16, 32), SOURCE.transform, "EPSG:32631")
    values = np.ones((16, 32), np.uint16)
    write(tmp_path / "a.tif", values, box)
    with refuses(SourceError, "item I, asset A", "EPSG:32631", "EPSG:32632"):
        read_raw(Raster(label="item I, asset A", href=str(tmp_path / "a.tif"), crs="EPSG:32632", nodata=0), box, fill=0)
    write(tmp_path / "b.tif", values, box, crs=None)
    with refuses(SourceError, "item I, asset A", tmp_path / "b.tif", "CRS", "EPSG:32631"):
        read_raw(Raster(label="item I, asset A", href=str(tmp_path / "b.tif"), crs="EPSG:32631", nodata=0), box, fill=0)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    box = GeoBox((256, 256), SOURCE.transform, "EPSG:32631")
    values = np.random.default_rng(0).integers(0, 9999, box.shape, dtype=np.uint16)
    raster = write(
        tmp_path / "cut.tif",
        values,
        box,
        driver="COG",
        tiled=None,
        blockysize=None,
        blockxsize=None,
        compress="DEFLATE",
    )
    whole = (tmp_path / "cut.tif").read_bytes()
    for size in (len(whole) // 2, 700, 500, 450, 400, 300, 100, 0):
        (tmp_path / "cut.tif").write_bytes(whole[:size])
        with refuses(SourceError, "item I, asset A", tmp_path / "cut.tif"):
            read_raw(raster, box, fill=0)


def test_a_signature_stays_out_of_messages() -> None:
    raster = Raster(label="item I, asset A", href="http://127.0.0.1:9/x.tif?sig=secret", crs="EPSG:32631", nodata=0)
    with refuses(SourceUnreachable, "item I, asset A", "http://127.0.0.1:9/x.tif") as caught:
        read_raw(raster, SOURCE, fill=0)
    assert "secret" not in str(caught.value)


def test_a_signature_stays_out_of_what_gdal_says_of_a_file_that_is_no_raster(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_text("<html>Sorry, come back later.</html>")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        href = f"http://127.0.0.1:{server.server_port}/x.tif?sig=secret"
        raster = Raster(label="item I, asset A", href=href, crs="EPSG:32631", nodata=0)
        with refuses(SourceError, "item I, asset A", href.partition("?")[0], "not recognized") as caught:
            read_raw(raster, SOURCE, fill=0)
        server.shutdown()
    assert "secret" not in str(caught.value)


@given(
    left=st.integers(-70, 70),
    top=st.integers(-90, 90),
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    most=st.integers(1, 9000),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tiles_cover_the_grid_once_and_cut_at_block_edges(
    image: tuple[Raster, NDArray[np.uint16]], left: int, top: int, height: int, width: int, most: int
) -> None:
    grid = GeoBox((height, width), Affine(10, 0, 500_000 + 10 * left, 0, -10, 5_600_000 - 10 * top), "EPSG:32631")
    parts = tiles(grid, [image[0]], most_pixels=most)
    seen = np.zeros(grid.shape, int)
    for rows, columns in parts:
        seen[rows, columns] += 1
        assert rows.start == 0 or (rows.start + top) % 16 == 0
        assert columns.start == 0 or (columns.start + left) % 32 == 0
        assert (rows.stop - rows.start) * (columns.stop - columns.start) <= max(most, 16 * 32)
    assert (seen == 1).all()


@given(
    pixel=st.sampled_from([37.0, 100.0, 1000.0]),
    east=st.floats(0, 600),
    south=st.floats(0, 800),
    crs=st.sampled_from(["EPSG:32631", "EPSG:32632"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_a_smooth_field_is_interpolated(pixel: float, east: float, south: float, crs: str, tmp_path: Path) -> None:
    """The oracle is scipy's interpolation between pixel centres."""
    values = np.random.default_rng(2).uniform(30, 46, SOURCE.shape).astype(np.float32)
    raster = write(tmp_path / "angle.tif", values, SOURCE)
    (x0,), (y0,) = transform("EPSG:32631", crs, [500_000 + east], [5_600_000 - south])
    grid = GeoBox((4, 3), Affine(pixel, 0, x0, 0, -pixel, y0), crs)
    columns, rows = np.meshgrid(np.arange(3) + 0.5, np.arange(4) + 0.5)
    x, y = transform(crs, "EPSG:32631", (x0 + pixel * columns).ravel(), (y0 - pixel * rows).ravel())
    column, row = (np.array(x) - 500_000) / 10, (5_600_000 - np.array(y)) / 10
    inside = (column >= 0) & (column < 70) & (row >= 0) & (row < 90)
    field = RegularGridInterpolator((np.arange(90) + 0.5, np.arange(70) + 0.5), values.astype(np.float64))
    clipped = np.stack([np.clip(row, 0.5, 89.5), np.clip(column, 0.5, 69.5)], axis=-1)
    expected = np.where(inside, field(clipped), np.nan).reshape(4, 3)
    np.testing.assert_allclose(read_smooth(raster, grid), expected, rtol=1e-9)


def test_missing_pixels_are_left_out_of_the_interpolation(tmp_path: Path) -> None:
    values = np.array([[30, 40], [np.nan, np.nan]], np.float32)
    box = GeoBox((2, 2), Affine(10, 0, 0, 0, -10, 20), "EPSG:32631")
    raster = write(tmp_path / "angle.tif", values, box, tiled=False, blockxsize=None, blockysize=None)
    across = GeoBox((3, 3), Affine(5, 0, 2.5, 0, -5, 17.5), "EPSG:32631")
    np.testing.assert_allclose(read_smooth(raster, across), [[30, 35, 40], [30, 35, 40], [np.nan] * 3])
