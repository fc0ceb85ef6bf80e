"""Inputs that cannot be what they are said to be, or lie on a grid the network has not seen: refused before the work."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from models.runs.record import read_record, trained_pixel_sizes, write_record
from models.scaling import Scaling
from models.task import Stack
from models.translate.bands import BAND_OF_NAME, find_bands
from models.translate.inputs import Inputs
from models.translate.translate import translate, translate_scene
from s1s2pairs.errors import RunError
from s1s2pairs.progress import Silence
from tests.models.translate.conftest import GRID, S2_BANDS, Identity, Unheard, radar, write
from tests.refusals import refuses

RADAR = Stack(sensor="s1", date=0, bands=("VV", "VH"))
OPTICAL = Stack(sensor="s2", date=0, bands=("B2", "B8", "B8A"))


def through(tmp_path: Path, values: np.ndarray, **how: object) -> np.ndarray:
    """Translate one radar image with a network that gives it back."""
    network, names = Identity(), how.pop("names", ("VV",))
    source = write(tmp_path / "in.tif", values, names, **how)  # type: ignore[arg-type]
    with Inputs(network.task, {"s1_t1": source}) as scene:
        translate_scene(network, Scaling(), scene, tmp_path / "out.tif", window=32, overlap=16)
    with rasterio.open(tmp_path / "out.tif") as raster:
        result: np.ndarray = raster.read()
    return result


def refused(tmp_path: Path, values: np.ndarray, *named: object, **how: object) -> None:
    with refuses(RunError, tmp_path / "in.tif", *named):
        through(tmp_path, values, **how)
    assert {path.name for path in tmp_path.iterdir()} == {"in.tif"}


# --- radar


@pytest.mark.parametrize("unit", ["", "dB"])
def test_linear_power_taken_for_decibels_is_refused(tmp_path: Path, unit: str) -> None:
    linear = 10 ** (radar(40, 40) / 10)
    linear[0, :5] = np.nan
    low, high = f"{np.nanmin(linear):.3g}", f"{np.nanmax(linear):.3g}"
    refused(tmp_path, linear, "s1_t1", "VV", low, high, "10 * log10", "dB", unit=unit)


def test_decibels_far_below_the_noise_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, radar(40, 40) * 100 - 2000, "VV", "-50", "scale")


def test_one_bright_and_one_dark_pixel_are_decibels(tmp_path: Path) -> None:
    values = np.full((1, 40, 40), 3, np.float32)
    values[0, 0, 0] = -0.5
    np.testing.assert_allclose(through(tmp_path, values), values, atol=5e-5)


@pytest.mark.parametrize("name", ["VV_linear", "Sigma0_VV_power", "VV (amplitude)", "Intensity_VV", "gamma0 VV lin"])
def test_a_name_that_says_linear_is_refused_by_it(tmp_path: Path, name: str) -> None:
    refused(tmp_path, radar(40, 40), name, "10 * log10", "dB", names=(name,))


def test_a_unit_that_says_linear_is_refused_by_it(tmp_path: Path) -> None:
    refused(tmp_path, radar(40, 40), "VV", "linear", "10 * log10", "dB", unit="linear")


# --- optical


@pytest.fixture
def optical(run: Path, rasters: Path, tmp_path: Path) -> Callable[..., Path]:
    """Translates after the optical image of 2019 was replaced."""
    path = rasters / "2019/s2.tif"
    with rasterio.open(path) as raster:
        stored, clear = np.split(raster.read(), [6])

    def replaced(change: Callable[[np.ndarray], np.ndarray], *, scale: float = 1.0) -> Path:
        bands = change(stored)
        write(path, np.concatenate([bands, clear.astype(bands.dtype)]), (*S2_BANDS, "clear"), nodata=0, scale=scale)
        translate(run, [rasters], tmp_path / "out.tif", window=128, device="cpu")
        return tmp_path / "out.tif"

    return replaced


def test_reflectance_is_understood_in_every_documented_form(optical: Callable[..., Path]) -> None:
    results = []
    for change, scale in (
        (lambda stored: stored, 1.0),
        (lambda stored: stored, 1e-4),
        (lambda stored: stored.astype(np.float32) / 10_000, 1.0),
        (lambda stored: stored.astype(np.float32), 1e-4),
    ):
        with rasterio.open(optical(change, scale=scale)) as raster:
            results.append(raster.read())
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], atol=1e-3)


def test_reflectance_in_per_cent_is_refused(optical: Callable[..., Path]) -> None:
    with refuses(RunError, "s2_t1", "39.99", "B2", 2, "95%", "gdal_edit -scale 0.0001"):
        optical(lambda stored: stored.astype(np.float32) / 100)


def test_one_band_of_another_scale_is_refused(optical: Callable[..., Path]) -> None:
    def change(stored: np.ndarray) -> np.ndarray:
        reflectance = stored.astype(np.float32) / 10_000
        reflectance[4] *= 100
        return reflectance

    with refuses(RunError, "s2_t1", "39.99", "B11", but_not=("B2",)):
        optical(change)


def test_reflectance_scaled_twice_is_refused(optical: Callable[..., Path]) -> None:
    with refuses(RunError, "s2_t1", "4e-05", "gdal_edit -scale 1", 10000):
        optical(lambda stored: stored.astype(np.float32) / 10_000, scale=1e-4)


def test_clouds_and_water_are_reflectance(optical: Callable[..., Path]) -> None:
    optical(lambda stored: np.where(stored < 1500, 1, stored * 3).astype(np.uint16), scale=1e-4)


# --- missing pixels


@pytest.mark.parametrize("name", ["s1.tif", "s2.tif"])
def test_an_input_without_a_valid_pixel_is_refused(run: Path, rasters: Path, tmp_path: Path, name: str) -> None:
    path = rasters / "2019" / name
    with rasterio.open(path, "r+") as raster:
        raster.write(np.zeros(raster.shape, raster.dtypes[-1]), raster.count)  # count or clear
    with refuses(RunError, f"{name[:2]}_t1", path, "nodata"):
        translate(run, [rasters], tmp_path / "out.tif", window=128, device="cpu")
    assert not (tmp_path / "out.tif").exists()


def test_inputs_that_never_overlap_are_refused(run: Path, rasters: Path, tmp_path: Path) -> None:
    for name, columns in (("s1.tif", slice(0, 70)), ("s2.tif", slice(70, 140))):
        with rasterio.open(rasters / "2019" / name, "r+") as raster:
            count = raster.read(raster.count)
            count[:, columns] = 0
            raster.write(count, raster.count)
    with refuses(RunError, "s2_t2 in 100.0%", "s1_t1 in 50.0%", "s2_t1 in 50.0%", "nodata"):
        translate(run, [rasters], tmp_path / "out.tif", window=128, device="cpu")


def test_the_share_of_pixels_without_a_result_is_said_at_the_end(run: Path, rasters: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    out = translate(run, [rasters], tmp_path / "out.tif", window=128, device="cpu", note=notes.append)
    with rasterio.open(out) as raster:
        missing = int(np.isnan(raster.read(1)).sum())
    assert missing == 21
    assert notes[-1] == f"{out}: 21 of 21000 pixels (0.10%) have no result, as an input is missing there."


def test_inputs_are_looked_at_in_all_their_parts(tmp_path: Path) -> None:
    """The scene is larger than what is read at once; only its last corner is below 0 dB."""
    values = np.full((1, 600, 1100), 2, np.float32)
    refused(tmp_path, values, "VV")
    values[0, -1, -1] = -3
    with Inputs(Identity().task, {"s1_t1": write(tmp_path / "in.tif", values, ("VV",))}) as scene:
        translate_scene(Identity(), Scaling(), scene, tmp_path / "out.tif", window=512, overlap=0)


# --- the grid


def record(run: Path, sizes: list[float] | None, tmp_path: Path) -> Path:
    """Return a copy of a run whose `run.json` tells pixel sizes, or is from before they were kept."""
    copied = tmp_path / "told"
    copied.mkdir()
    (copied / "checkpoints").symlink_to(run / "checkpoints")
    write_record(copied, dataclasses.replace(read_record(run), pixel_sizes_m=tuple(sizes or ())))
    if sizes is None:
        kept = json.loads((copied / "run.json").read_text())
        del kept["pixel_sizes_m"]
        (copied / "run.json").write_text(json.dumps(kept))
    return copied


def regrid(rasters: Path, transform: Affine, crs: str) -> None:
    for path in rasters.rglob("*.tif"):
        with rasterio.open(path, "r+") as raster:
            raster.transform = transform
            raster.crs = crs


def test_a_grid_in_degrees_is_refused(run: Path, rasters: Path, tmp_path: Path) -> None:
    regrid(rasters, Affine(1e-4, 0, 3, 0, -1e-4, 41), "EPSG:4326")
    with refuses(RunError, rasters / "2021/s2.tif", "EPSG:4326", "UTM", "gdalwarp -t_srs"):
        translate(run, [rasters], tmp_path / "out.tif", window=128, device="cpu", any_pixel_size=True)


@pytest.mark.parametrize(
    ("transform", "crs", "sizes", "found"),
    [
        (Affine(20, 0, 500_000, 0, -20, 4_600_000), "EPSG:32631", [10.0], ("20 x 20 m", "10 m")),
        (Affine(10, 0, 500_000, 0, -11, 4_600_000), "EPSG:32631", [10.0], ("10 x 11 m", "10 m")),
        (Affine(10, 0, 500_000, 0, -10, 4_600_000), "EPSG:32631", [20.0, 30.0], ("10 x 10 m", "20 or 30 m")),
        (Affine(10, 0, 333_000, 0, -10, 5_621_521), "EPSG:3857", [10.0], ("7.08 x 7.06 m", "10 m")),  # at 45 degrees
        (Affine(32.8084, 0, 6_000_000, 0, -32.8084, 2_000_000), "EPSG:2227", [20.0], ("10 x 10 m", "20 m")),  # US feet
    ],
    ids=["twice", "not square", "two sizes", "Web Mercator", "feet"],
)
def test_pixels_of_another_size_are_refused(
    transform: Affine, crs: str, sizes: list[float], found: tuple[str, ...], run: Path, rasters: Path, tmp_path: Path
) -> None:
    regrid(rasters, transform, crs)
    told = record(run, sizes, tmp_path)
    with refuses(RunError, rasters / "2021/s2.tif", crs, *found, "--any-pixel-size"):
        translate(told, [rasters], tmp_path / "out.tif", window=128, device="cpu", progress=Unheard())
    translate(told, [rasters], tmp_path / "out.tif", window=128, device="cpu", any_pixel_size=True)


@pytest.mark.parametrize("size", [10.0, 10.05, 9.95])
def test_pixels_within_a_hundredth_are_taken(size: float, run: Path, rasters: Path, tmp_path: Path) -> None:
    regrid(rasters, Affine(size, 0, 200_000, 0, -size, 7_000_000), "EPSG:32631")
    notes: list[str] = []
    told = record(run, [20.0, 10.0], tmp_path)
    translate(told, [rasters], tmp_path / "out.tif", window=128, device="cpu", note=notes.append)
    assert len(notes) == 1  # of the missing pixels
    for best in (told / "checkpoints" / "best", told):
        assert trained_pixel_sizes(best) == (() if best != told else (20.0, 10.0))


@pytest.mark.parametrize("tells", [False, None])
def test_an_older_run_makes_a_note(tells: bool | None, run: Path, rasters: Path, tmp_path: Path) -> None:
    regrid(rasters, Affine(20, 0, 500_000, 0, -20, 4_600_000), "EPSG:32631")
    notes: list[str] = []
    older = run if tells is None else record(run, None, tmp_path)
    translate(older, [rasters], tmp_path / "out.tif", window=128, device="cpu", note=notes.append)
    assert "does not say on which pixel size it was trained" in notes[0]


def test_a_raster_without_a_place_makes_a_note(run: Path, rasters: Path, tmp_path: Path) -> None:
    regrid(rasters, GRID, 'LOCAL_CS["a drawing",UNIT["metre",1]]')
    notes: list[str] = []
    told = record(run, [10.0], tmp_path)
    translate(told, [rasters], tmp_path / "out.tif", window=128, device="cpu", note=notes.append)
    assert "does not say where on Earth it lies" in notes[0]


# --- names of bands


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("VV", "VH"), (1, 2)),
        (("vh", "vv", "angle"), (2, 1)),
        (("VV_db", "VH_dB"), (1, 2)),
        (("Gamma0_VV", "Gamma0_VH"), (1, 2)),
        (("Sigma0_VH_db", "Sigma0_VV_db"), (2, 1)),
        (("sigma0 VV", "VH (dB)"), (1, 2)),
        (("VV", "VH", "VV_linear"), (1, 2)),
    ],
)
def test_names_of_radar_bands(names: tuple[str, ...], wanted: tuple[int, ...]) -> None:
    assert find_bands(RADAR, names, "file") == wanted


@pytest.mark.parametrize(
    "names",
    [
        ("B2", "B8", "B8A"),
        ("B02", "B08", "B8A"),
        ("blue", "nir", "nir08"),
        ("b2", "B08_10m", "b8a"),
        ("Blue", "NIR", "B8A_20m"),
    ],
)
def test_names_of_optical_bands(names: tuple[str, ...]) -> None:
    assert find_bands(OPTICAL, (None, *names), "file") == (2, 3, 4)


def test_unknown_names_are_listed_with_those_wanted() -> None:
    with refuses(RunError, "file", "VH", "VV, cross, unnamed", "VV, VH", "gamma0_vh_db"):
        find_bands(RADAR, ("VV", "cross", None), "file")


@pytest.mark.parametrize(
    ("names", "first_other"),
    [(("VV", "VH", "vv"), 2), (("Sigma0_VV", "Sigma0_VV_db", "VH"), 1), (("VV", "VV", "VH"), 1)],
)
def test_two_bands_that_could_be_one_are_refused(names: tuple[str, ...], first_other: int) -> None:
    with refuses(RunError, "file", 2, *(f"{names[i]} (band {i + 1})" for i in (0, first_other)), "VV"):
        find_bands(RADAR, names, "file")


def test_no_name_means_two_bands() -> None:
    """Every band is known by its own name, and by no other band's: a dictionary would hide that."""
    from models.translate.bands import _names

    for name, band in _names():
        assert BAND_OF_NAME[name] == band


def test_other_names_give_the_same_result(run: Path, rasters: Path, tmp_path: Path) -> None:
    plain = translate(run, [rasters], tmp_path / "plain.tif", window=128, device="cpu", progress=Silence())
    with rasterio.open(rasters / "2019/s1.tif", "r+") as raster:
        raster.descriptions = ("Gamma0_VV_dB", "Gamma0_VH_dB", "count")
    with rasterio.open(rasters / "2021/s2.tif", "r+") as raster:
        raster.descriptions = ("blue", "green", "red", "nir", "B11_20m", "swir22", "clear")
    named = translate(run, [rasters], tmp_path / "named.tif", window=128, device="cpu")
    assert Path(named).read_bytes() == Path(plain).read_bytes()
