"""The STAC source on tiny archives on disk, against the arrays they were written from."""

import datetime as dt
import errno
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from s1s2pairs import s1_orbits
from s1s2pairs.acquisitions import Needed, RoiGrids, Span
from s1s2pairs.errors import MissingFile, SourceError
from s1s2pairs.grid import inside
from s1s2pairs.sources import Source
from s1s2pairs.sources.registry import open_source
from s1s2pairs.sources.stac import mosaics
from s1s2pairs.sources.stac import source as stac
from tests.refusals import assert_names, refuses

if TYPE_CHECKING:
    from tests.s1s2pairs.sources.stac.conftest import TinyArchive

JUNE = (Span(start=dt.datetime(2019, 6, 1, tzinfo=dt.UTC), end=dt.datetime(2019, 7, 1, tzinfo=dt.UTC)),)
random = np.random.default_rng(7)


def power() -> NDArray[np.float32]:
    return random.gamma(4.4, 0.02, (64, 64)).astype(np.float32)


def reflectance(side: int = 64) -> NDArray[np.uint16]:
    return random.integers(1, 9000, (side, side), dtype=np.uint16)


def vegetation() -> NDArray[np.uint8]:
    return np.full((32, 32), 4, np.uint8)


def source_of(archive: "TinyArchive") -> Source:
    return open_source(str(archive.write()))


def to_grid(image: NDArray[np.generic]) -> NDArray[np.generic]:
    return image.repeat(64 // len(image), axis=0).repeat(64 // len(image), axis=1)


# --- Sentinel-1 ---------------------------------------------------------------------------------------------------------


def test_mean_is_numpy_s(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    vv, vh = [power() for _ in range(4)], [power() for _ in range(4)]
    vv[1][3, 4] = np.nan
    vh[2][5, 6] = 0
    for day in range(4):
        archive.sar(f"S{day}", f"2019-06-{day + 1:02}T17:00:00Z", vv[day], vh[day])
    mean = source_of(archive).mean_sar(
        [(f"S{d}",) for d in range(4)], polarisations=("VV", "VH"), grid=make_place().grid
    )
    stack = np.stack([np.stack(vv), np.stack(vh)]).astype(np.float64)
    stack[:, 1, 3, 4] = stack[:, 2, 5, 6] = np.nan
    np.testing.assert_allclose(mean.linear, np.nanmean(stack, axis=1), rtol=1e-6)
    assert mean.count[3, 4] == mean.count[5, 6] == 3
    assert mean.count.sum() == 4 * 64 * 64 - 2


def test_small_tiles_give_the_same_pixels(
    archive: "TinyArchive", make_place: Callable[..., RoiGrids], monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(3):
        archive.sar(f"S{day}", f"2019-06-{day + 1:02}T17:00:00Z", power(), power())
        scl = random.choice(np.array([4, 9], np.uint8), (32, 32), p=[0.7, 0.3])
        archive.optical(
            f"O{day}", f"2019-06-{day + 1:02}T10:00:00Z", scl, {"blue": reflectance(), "swir16": reflectance(32)}
        )
    # Blocks of 16 pixels, so that even these images can be cut.
    for path in archive.root.rglob("*.tif"):
        with rasterio.open(path) as dataset:
            values, profile = dataset.read(), dataset.profile
        with rasterio.open(
            path, "w", **(profile | {"driver": "GTiff", "tiled": True, "blockxsize": 16, "blockysize": 16})
        ) as file:
            file.write(values)
    source, grid = source_of(archive), make_place().grid
    radar, light = [(f"S{d}",) for d in range(3)], [(f"O{d}",) for d in range(3)]

    def both() -> tuple[NDArray[np.generic], ...]:
        mean = source.mean_sar(radar, polarisations=("VV", "VH"), grid=grid)
        image = source.composite_optical(light, bands=("B2", "B11"), method="median", grid=grid)
        return mean.linear, mean.count, image.reflectance, image.clear

    whole = both()
    cuts = []
    tiles = stac.tiles

    def spy(*args: object, **keywords: object) -> object:
        cuts.append(tiles(*args, **keywords))  # type: ignore[arg-type]
        return cuts[-1]

    monkeypatch.setattr(stac, "tiles", spy)
    monkeypatch.setattr(stac, "TILE_BYTES", 16 * 1024)
    for one, other in zip(whole, both(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [len(cut) > 3 for cut in cuts] == [True, True]


def test_slices_of_one_pass_are_laid_side_by_side(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    north, south = power(), power()
    north[40:] = np.nan  # the first slice ends here; the second begins twenty rows farther up
    archive.sar("A", "2019-06-01T17:00:00Z", north, sat__absolute_orbit=7, angle=np.full((32, 32), 40.0))
    archive.sar("B", "2019-06-01T17:00:25Z", south, sat__absolute_orbit=7, angle=np.full((32, 32), 42.0))
    source, place = source_of(archive), make_place()
    (acquisition,) = source.find_sar(place, JUNE, polarisations=("VV", "VH"))
    assert acquisition.scene_ids == ("A", "B")
    assert acquisition.incidence_deg == pytest.approx(41)
    mean = source.mean_sar([acquisition.scene_ids], polarisations=("VV",), grid=place.grid)
    np.testing.assert_array_equal(mean.linear[0], np.where(np.arange(64)[:, None] < 40, north, south))
    turned = source.mean_sar([("B", "A")], polarisations=("VV",), grid=place.grid)
    np.testing.assert_array_equal(turned.linear[0], south)


def test_a_decibel_archive_equals_a_linear_one(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    image = power()
    archive.sar("L", "2019-06-01T17:00:00Z", image)
    archive.sar("D", "2019-06-01T17:00:00Z", 10 * np.log10(image), band={"unit": "dB", "nodata": "nan"})
    source, grid = source_of(archive), make_place().grid
    linear, decibel = (source.mean_sar([(id_,)], polarisations=("VV",), grid=grid).linear for id_ in "LD")
    np.testing.assert_allclose(decibel, linear, rtol=1e-5)


def test_only_wanted_radar_items_are_listed(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.sar("in", "2019-06-30T23:59:59Z", power(), view__incidence_angle=40.0)
    archive.sar("late", "2019-07-01T00:00:00Z", power(), view__incidence_angle=40.0)
    archive.sar("ew", "2019-06-02T00:00:00Z", power(), sar__instrument_mode="EW")
    archive.sar("hh", "2019-06-02T00:00:00Z", power(), sar__polarizations=["HH"])
    archive.sar("far", "2019-06-02T00:00:00Z", power(), left=600_000.0)
    found = source_of(archive).find_sar(make_place(), JUNE, polarisations=("VV", "VH"))
    assert [a.scene_ids for a in found] == [("in",)]


def test_grd_is_preferred_and_never_mixed_with_rtc(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.sar("rtc", "2019-06-01T17:00:00Z", power(), collection="sentinel-1-rtc", view__incidence_angle=40.0)
    assert source_of(archive).backscatter() == "gamma0"
    archive.sar("grd", "2019-06-02T17:00:00Z", power(), view__incidence_angle=40.0)
    both = source_of(archive)
    assert both.backscatter() == "sigma0"
    assert [a.scene_ids for a in both.find_sar(make_place(), JUNE, polarisations=("VV",))] == [("grd",)]
    with refuses(SourceError, "catalogue:tiny", "sentinel-1-grd", "rtc"):
        both.mean_sar([("grd",), ("rtc",)], polarisations=("VV",), grid=make_place().grid)


# --- incidence angle ----------------------------------------------------------------------------------------------------


def test_angle_raster_is_averaged_over_the_roi_only(
    archive: "TinyArchive", make_place: Callable[..., RoiGrids]
) -> None:
    angle = (30 + 0.01 * np.arange(32) * np.ones((32, 1))).astype(np.float32)
    angle[20:], angle[0, :4] = 60, np.nan
    archive.sar("S", "2019-06-01T17:00:00Z", power(), angle=angle, view__incidence_angle=12.0)
    place = make_place(size_m=320)
    (acquisition,) = source_of(archive).find_sar(place, JUNE, polarisations=("VV",))
    assert inside(place.polygon, place.analysis_grid).all()
    assert acquisition.incidence_deg == pytest.approx(angle[1:16, :16].astype(np.float64).mean(), abs=1e-4)
    assert acquisition.incidence_source == "raster"


def test_without_a_raster_the_property_counts(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.sar("S", "2019-06-01T17:00:00Z", power(), view__incidence_angle=38.25)
    (acquisition,) = source_of(archive).find_sar(make_place(), JUNE, polarisations=("VV",))
    assert (acquisition.incidence_deg, acquisition.incidence_source) == (38.25, "property")


ANNOTATION = """<?xml version="1.0"?><product><geolocationGrid><geolocationGridPointList count="{count}">{points}
</geolocationGridPointList></geolocationGrid></product>"""


def annotation(points: list[tuple[float, float, float]]) -> str:
    return ANNOTATION.format(
        count=len(points),
        points="".join(
            f"<geolocationGridPoint><line>0</line><latitude>{lat:.15e}</latitude><longitude>{lon:.15e}</longitude>"
            f"<incidenceAngle>{angle:.15e}</incidenceAngle></geolocationGridPoint>"
            for lon, lat, angle in points
        ),
    )


def test_then_the_annotation_grid(
    archive: "TinyArchive", make_place: Callable[..., RoiGrids], caplog: pytest.LogCaptureFixture
) -> None:
    """Angles that rise linearly: interpolation must give the value at the ROI's middle."""
    archive.sar("S", "2019-06-01T17:00:00Z", power())["assets"]["schema-product-vv"] = {"href": "./vv.xml"}
    file = archive.root / "sentinel-1-grd" / "S" / "vv.xml"
    place = make_place()
    nodes = [(lon, lat) for lon in np.arange(2.0, 4.5, 0.3) for lat in np.arange(49.5, 51.5, 0.2)]
    file.write_text(annotation([(lon, lat, 35 + 2 * (lon - 3) - (lat - 50.5)) for lon, lat in nodes]))
    (acquisition,) = source_of(archive).find_sar(place, JUNE, polarisations=("VV",))
    middle = place.polygon.centroid
    assert acquisition.incidence_deg == pytest.approx(35 + 2 * (middle.x - 3) - (middle.y - 50.5), abs=1e-3)
    assert acquisition.incidence_source == "annotation"
    for text, named in (
        ("<x>", ("annotation", "line 1")),
        (annotation([(3, 50, 40)]), (1, "points")),
        (annotation([(10, 50, 40), (11, 50, 40), (10, 51, 40)]), ("ROI roi",)),
    ):
        file.write_text(text)
        with refuses(SourceError, file, *named):
            source_of(archive).find_sar(place, JUNE, polarisations=("VV",))
    file.unlink()
    (acquisition,) = source_of(archive).find_sar(place, JUNE, polarisations=("VV",))
    assert acquisition.incidence_source == "model"
    assert_names(caplog.text, file)


def test_a_pass_begins_at_the_start_of_its_first_slice(
    archive: "TinyArchive", make_place: Callable[..., RoiGrids]
) -> None:
    for name, middle, start in (("A", "17:00:12", "17:00:00"), ("B", "17:00:37", "17:00:25")):
        archive.sar(name, f"2019-06-01T{middle}Z", power(), start_datetime=f"2019-06-01 {start}+00:00")
    (acquisition,) = source_of(archive).find_sar(make_place(), JUNE, polarisations=("VV",))
    assert acquisition.acquired_at == dt.datetime(2019, 6, 1, 17, tzinfo=dt.UTC)


def test_a_mean_over_months_has_its_time_in_the_middle(
    archive: "TinyArchive", make_place: Callable[..., RoiGrids]
) -> None:
    """As archives of composites have it; the first day of three months is no time of acquisition."""
    whole = {"start_datetime": "2019-05-01T00:00:00Z", "end_datetime": "2019-08-01T00:00:00Z"}
    archive.sar("S", "2019-06-15T17:00:00Z", power(), view__incidence_angle=40.0, **whole)
    (found,) = source_of(archive).find_sar(make_place(), JUNE, polarisations=("VV",))
    assert found.acquired_at == dt.datetime(2019, 6, 15, 17, tzinfo=dt.UTC)


def test_a_collection_of_amplitudes_on_disk_is_refused(archive: "TinyArchive") -> None:
    archive.sar("S", "2019-06-01T17:00:00Z", power())
    root = archive.write()
    file = root / "sentinel-1-grd" / "collection.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"item_assets": {"vv": {"data_type": "uint16"}}}))
    with refuses(SourceError, "catalogue:tiny", "sentinel-1-grd", "sentinel-1-rtc", "amplitudes", "--radar-source"):
        open_source(str(root)).backscatter()


def test_then_the_orbit_model(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.sar("S", "2019-06-01T17:00:00Z", power())
    place = make_place()
    (acquisition,) = source_of(archive).find_sar(place, JUNE, polarisations=("VV",))
    middle = place.polygon.centroid
    modelled = float(s1_orbits.incidence_deg(59, "ascending", middle.x, middle.y))
    assert acquisition.incidence_deg == pytest.approx(modelled, abs=0.01)
    assert acquisition.incidence_source == "model"
    archive.items["S"]["properties"]["sat:orbit_state"] = "descending"
    with refuses(SourceError, "item S", "59 descending", "ROI roi"):
        source_of(archive).find_sar(place, JUNE, polarisations=("VV",))


def test_a_slice_without_a_pixel_in_the_roi_has_no_say(
    archive: "TinyArchive", make_place: Callable[..., RoiGrids]
) -> None:
    nowhere = np.full((32, 32), np.nan, np.float32)
    archive.sar("A", "2019-06-01T17:00:00Z", power(), sat__absolute_orbit=7, angle=np.full((32, 32), 41.0))
    archive.sar("B", "2019-06-01T17:00:25Z", power(), sat__absolute_orbit=7, angle=nowhere, view__incidence_angle=30.0)
    (acquisition,) = source_of(archive).find_sar(make_place(), JUNE, polarisations=("VV",))
    assert (acquisition.incidence_deg, acquisition.incidence_source) == (41.0, "raster")


# --- Sentinel-2 ---------------------------------------------------------------------------------------------------------


def test_fractions_are_counted_over_the_roi(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    scl = vegetation()
    scl[:2] = 0
    scl[2, :8], scl[3, :6], scl[4, :5], scl[5, :4], scl[6, :7] = 3, 8, 9, 10, 11
    archive.optical("O", "2019-06-01T10:00:00Z", scl, {"blue": reflectance()})
    (acquisition,) = source_of(archive).find_optical(make_place(), JUNE)
    assert acquisition.coverage_fraction == 30 / 32
    assert acquisition.cloud_fraction == 23 / 960
    assert acquisition.snow_fraction == 7 / 960


def test_an_empty_scene_counts_as_cloud(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.optical("O", "2019-06-01T10:00:00Z", 0 * vegetation(), {"blue": reflectance()})
    (acquisition,) = source_of(archive).find_optical(make_place(), JUNE)
    assert (acquisition.coverage_fraction, acquisition.cloud_fraction, acquisition.snow_fraction) == (0.0, 1.0, 0.0)


def test_granules_of_one_datatake_and_a_reprocessed_one(
    archive: "TinyArchive", make_place: Callable[..., RoiGrids]
) -> None:
    west, east = vegetation(), vegetation()
    west[:, 16:] = 0
    east[:, :10] = 0
    east[:, 10:20] = 9  # where both have a value, the first granule's counts
    blue_w, blue_e = reflectance(), reflectance()
    datatake = "GS2A_20190601T105031_020585_N02.12"
    archive.optical("W", "2019-06-01T10:50:00Z", west, {"blue": blue_w}, s2__datatake_id=datatake)
    common = {"s2__datatake_id": datatake, "grid__code": "MGRS-31UFS"}
    archive.optical("X", "2019-06-01T10:50:10Z", east, {"blue": 0 * blue_e}, s2__processing_baseline="02.12", **common)
    archive.optical(
        "E",
        "2019-06-01T10:50:10Z",
        east,
        {"blue": blue_e},
        s2__processing_baseline="05.00",
        **(common | {"s2__datatake_id": datatake.replace("02.12", "05.00")}),
    )
    source, place = source_of(archive), make_place()
    (acquisition,) = source.find_optical(place, JUNE)
    assert acquisition.scene_ids == ("E", "W")
    assert acquisition.acquired_at == dt.datetime(2019, 6, 1, 10, 50, tzinfo=dt.UTC)
    assert acquisition.coverage_fraction == 1.0
    assert acquisition.cloud_fraction == 10 / 32
    image = source.composite_optical([("W", "E")], bands=("B2",), method="least_cloudy", grid=place.grid)
    cloudy = np.broadcast_to((np.arange(64) >= 32) & (np.arange(64) < 40), (64, 64))
    expected = np.where(np.arange(64) < 32, blue_w, blue_e)
    np.testing.assert_array_equal(image.reflectance[0], np.where(cloudy, 0, expected))
    np.testing.assert_array_equal(image.clear, ~cloudy)


def test_median_of_clear_pixels_is_numpy_s(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    scls = [random.choice(np.array([0, 4, 5, 9], np.uint8), (32, 32), p=[0.1, 0.4, 0.3, 0.2]) for _ in range(5)]
    blues, swirs = [reflectance() for _ in scls], [reflectance(32) for _ in scls]
    swirs[0][:8] = 0  # missing in one band: missing in all
    for day, (scl, blue, swir) in enumerate(zip(scls, blues, swirs, strict=True)):
        archive.optical(f"O{day}", f"2019-06-{day + 1:02}T10:00:00Z", scl, {"blue": blue, "swir16": swir})
    ids = [(f"O{day}",) for day in range(5)]
    image = source_of(archive).composite_optical(ids, bands=("B2", "B11"), method="median", grid=make_place().grid)
    clear = np.stack(
        [np.isin(to_grid(scl), (4, 5)) & (to_grid(swir) != 0) for scl, swir in zip(scls, swirs, strict=True)]
    )
    np.testing.assert_array_equal(image.clear, clear.sum(axis=0))
    for mine, images in zip(image.reflectance, (blues, swirs), strict=True):
        stack = np.ma.array(np.stack([to_grid(i) for i in images]).astype(np.float64), mask=~clear)
        np.testing.assert_array_equal(mine, np.floor(np.ma.median(stack, axis=0).filled(0) + 0.5))


def test_offset_and_another_nodata_value(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    raw = np.full((64, 64), 3000, np.uint16)
    raw[0, :3] = 1000, 900, 0  # reflectance 0, below 0, and a raw zero which is a value here
    raw[1, 0] = 65_535
    band = {"scale": 0.0001, "offset": -0.1, "nodata": 65_535}
    archive.optical("O", "2023-06-01T10:00:00Z", vegetation(), {"blue": raw}, band=band)
    image = source_of(archive).composite_optical([("O",)], bands=("B2",), method="least_cloudy", grid=make_place().grid)
    assert image.reflectance[0, 0, :4].tolist() == [1, 1, 1, 2000]
    assert (image.reflectance[0, 1, 0], image.clear[1, 0]) == (0, 0)


def test_an_offset_that_makes_many_pixels_negative_is_remarked_on(
    archive: "TinyArchive", make_place: Callable[..., RoiGrids], caplog: pytest.LogCaptureFixture
) -> None:
    band = {"scale": 0.0001, "offset": -0.1}
    for id_, value in (("dark", 700), ("bright", 3000)):
        archive.optical(
            id_, "2023-06-01T10:00:00Z", vegetation(), {"blue": np.full((64, 64), value, np.uint16)}, band=band
        )
        source_of(archive).composite_optical([(id_,)], bands=("B2",), method="least_cloudy", grid=make_place().grid)
    (record,) = caplog.records
    assert_names(record.getMessage(), "item dark, asset blue", "100 %")


def test_planetary_computer_names_and_baseline(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.optical(
        "O",
        "2023-06-01T10:00:00Z",
        vegetation(),
        {"B02": np.full((64, 64), 1500, np.uint16)},
        band=None,
        scl_name="SCL",
        s2__processing_baseline="05.09",
    )
    image = source_of(archive).composite_optical([("O",)], bands=("B2",), method="least_cloudy", grid=make_place().grid)
    assert (image.reflectance == 500).all()


def test_a_scene_that_ends_within_the_grid(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.sar("S", "2019-06-01T17:00:00Z", power(), left=500_320.0, angle=np.full((32, 32), 40.0))
    archive.optical("O", "2019-06-01T10:00:00Z", vegetation(), {"blue": reflectance()}, left=500_320.0)
    source, place = source_of(archive), make_place()
    (radar,), (light,) = source.find_sar(place, JUNE, polarisations=("VV",)), source.find_optical(place, JUNE)
    assert radar.coverage_fraction == pytest.approx(0.5, abs=2e-3)
    assert light.coverage_fraction == pytest.approx(0.5)
    mean = source.mean_sar([("S",)], polarisations=("VV",), grid=place.grid)
    image = source.composite_optical([("O",)], bands=("B2",), method="median", grid=place.grid)
    np.testing.assert_array_equal(mean.count, np.broadcast_to(np.arange(64) >= 32, (64, 64)))
    np.testing.assert_array_equal(image.clear, mean.count)
    assert np.isnan(mean.linear[0, :, :32]).all()
    assert (image.reflectance[0, :, :32] == 0).all()


def test_least_cloudy_takes_one_acquisition(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.optical("O", "2019-06-01T10:00:00Z", vegetation(), {"blue": reflectance()})
    with refuses(ValueError, "least_cloudy", 2):
        source_of(archive).composite_optical(
            [("O",), ("O",)], bands=("B2",), method="least_cloudy", grid=make_place().grid
        )


# --- the catalogue ------------------------------------------------------------------------------------------------------


def test_scene_classes_are_read_once_however_often_one_asks(
    archive: "TinyArchive", make_place: Callable[..., RoiGrids], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.optical("O", "2019-06-01T10:00:00Z", vegetation(), {"blue": reflectance()})
    read = []
    monkeypatch.setattr(mosaics, "read_classes", lambda raster, _: read.append(raster) or vegetation())
    source = source_of(archive)
    first, second = (source.find_optical(make_place(), JUNE) for _ in range(2))
    assert first == second
    assert len(read) == 1


def test_threads_may_share_a_source(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    for day in range(6):
        archive.sar(f"S{day}", f"2019-06-{day + 1:02}T17:00:00Z", power(), angle=np.full((32, 32), 40.0))
    source, place = source_of(archive), make_place()
    ids = [(f"S{day}",) for day in range(6)]

    def work(_: int) -> bytes:
        found = source.find_sar(place, JUNE, polarisations=("VV",))
        assert [a.scene_ids for a in found] == ids
        return source.mean_sar(ids, polarisations=("VV", "VH"), grid=place.grid).linear.tobytes()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(work, range(16)))) == 1


def test_the_name_does_not_tell_where_the_archive_lies(archive: "TinyArchive", tmp_path: Path) -> None:
    archive.sar("S", "2019-06-01T17:00:00Z", power())
    root = archive.write()
    shutil.copytree(root, tmp_path / "elsewhere")
    names = {open_source(str(path)).name for path in (root, root / "catalog.json", tmp_path / "elsewhere")}
    assert names == {"catalogue:tiny"}


def test_nested_catalogues_are_walked(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.sar("S", "2019-06-01T17:00:00Z", power(), view__incidence_angle=40.0)
    del archive.items["S"]["collection"]
    root = archive.root
    archive.items["S"]["collection"] = "sentinel-1-grd"
    archive.write()
    collection = json.loads((root / "sentinel-1-grd" / "collection.json").read_text())
    links, collection["links"] = collection["links"], [{"rel": "child", "href": "./2019.json"}]
    (root / "sentinel-1-grd" / "collection.json").write_text(json.dumps(collection))
    year = {"type": "Catalog", "id": "2019", "stac_version": "1.1.0", "description": "x", "links": links}
    (root / "sentinel-1-grd" / "2019.json").write_text(json.dumps(year))
    item = json.loads((root / "sentinel-1-grd" / "S" / "S.json").read_text())
    del item["collection"]
    (root / "sentinel-1-grd" / "S" / "S.json").write_text(json.dumps(item))
    assert len(open_source(str(root)).find_sar(make_place(), JUNE, polarisations=("VV",))) == 1


# --- bad archives -------------------------------------------------------------------------------------------------------


def test_no_catalogue(tmp_path: Path) -> None:
    with refuses(SourceError, tmp_path, "catalog.json", "stac:URL", "earthengine"):
        open_source(str(tmp_path))
    with refuses(SourceError, tmp_path / "missing", "catalog.json", "stac:URL", "earthengine"):
        open_source(str(tmp_path / "missing"))
    (tmp_path / "catalog.json").write_text("{")
    with refuses(SourceError, tmp_path / "catalog.json", "JSON"):
        open_source(str(tmp_path))
    (tmp_path / "catalog.json").write_text("[]")
    with refuses(SourceError, tmp_path / "catalog.json", "STAC", but_not=("JSON",)):
        open_source(str(tmp_path))


def test_collections_that_are_not_there(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.optical("O", "2019-06-01T10:00:00Z", vegetation(), {"blue": reflectance()})
    only_optical = source_of(archive)
    with refuses(
        SourceError, "catalogue:tiny", "sentinel-1-grd", "sentinel-1-rtc", "--radar-source", but_not=("amplitudes",)
    ):
        only_optical.backscatter()
    with refuses(
        SourceError, "catalogue:tiny", "sentinel-1-grd", "sentinel-1-rtc", "--radar-source", but_not=("amplitudes",)
    ):
        only_optical.find_sar(make_place(), JUNE, polarisations=("VV",))


def test_a_broken_item_does_not_vanish(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.sar("good", "2019-06-01T17:00:00Z", power(), view__incidence_angle=40.0)
    archive.sar("bad", "2019-06-07T17:00:00Z", power(), view__incidence_angle=40.0)
    root = archive.write()
    file = root / "sentinel-1-grd" / "bad" / "bad.json"
    whole = file.read_text()
    changes: dict[tuple[object, ...], Callable[[dict], object]] = {
        ("asset vv", "CRS", "proj:code"): lambda item: item["properties"].pop("proj:code"),
        ("VV", "vv, VV, gamma0_vv", "vh"): lambda item: item["assets"].pop("vv"),
        ("asset vh", "href"): lambda item: item["assets"]["vh"].pop("href"),
        ("sat:orbit_state", "missing"): lambda item: item["properties"].pop("sat:orbit_state"),
        ("sat:orbit_state", "up", "ascending", "descending"): lambda item: item["properties"].update(
            {"sat:orbit_state": "up"}
        ),
        ("view:incidence_angle", 400, 0, 90): lambda item: item["properties"].update({"view:incidence_angle": 400}),
        ("geometry",): lambda item: item.update(geometry=None),
        ("datetime", "x", "ISO 8601"): lambda item: item["properties"].update(datetime="x"),
    }
    for named, change in changes.items():
        item = json.loads(whole)
        change(item)
        file.write_text(json.dumps(item))
        with refuses(SourceError, file, "item bad", *named):
            open_source(str(root)).find_sar(make_place(), JUNE, polarisations=("VV", "VH"))
    file.write_text(whole[:100])
    with refuses(SourceError, file, "JSON"):
        open_source(str(root)).find_sar(make_place(), JUNE, polarisations=("VV", "VH"))
    file.unlink()
    with refuses(SourceError, file, os.strerror(errno.ENOENT)):
        open_source(str(root)).find_sar(make_place(), JUNE, polarisations=("VV", "VH"))


def test_one_id_twice_is_refused(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.sar("one", "2019-06-01T17:00:00Z", power())
    archive.sar("two", "2019-06-07T17:00:00Z", power())
    root = archive.write()
    file = root / "sentinel-1-grd" / "two" / "two.json"
    file.write_text(file.read_text().replace('"two"', '"one"'))
    with refuses(SourceError, file, file.parents[1] / "one/one.json", "id"):
        open_source(str(root)).find_sar(make_place(), JUNE, polarisations=("VV",))


def test_a_broken_optical_item_does_not_vanish(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.optical("O", "2019-06-01T10:00:00Z", vegetation(), {"blue": reflectance()})
    source = source_of(archive)
    with refuses(SourceError, "item O", "B12", "swir22, B12, B12_20m", "blue, scl"):
        source.composite_optical([("O",)], bands=("B2", "B12"), method="least_cloudy", grid=make_place().grid)
    del archive.items["O"]["assets"]["scl"]
    with refuses(SourceError, "item O", "SCL", "scl, SCL, SCL_20m", "blue"):
        source_of(archive).find_optical(make_place(), JUNE)


def test_a_truncated_or_lost_file_is_named(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.sar("S", "2019-06-01T17:00:00Z", power(), angle=np.full((32, 32), 40.0))
    archive.optical("O", "2019-06-01T10:00:00Z", vegetation(), {"blue": reflectance()})
    source, place = source_of(archive), make_place()
    for path in archive.root.rglob("*.tif"):
        path.write_bytes(path.read_bytes()[:-200])
    with refuses(SourceError, "item S, asset angle", archive.root / "sentinel-1-grd/S/angle.tif"):
        source.find_sar(place, JUNE, polarisations=("VV",))
    with refuses(SourceError, "item S, asset vv", archive.root / "sentinel-1-grd/S/vv.tif"):
        source.mean_sar([("S",)], polarisations=("VV",), grid=place.grid)
    with refuses(SourceError, "item O, asset scl", archive.root / "sentinel-2-l2a/O/scl.tif"):
        source.find_optical(place, JUNE)
    (archive.root / "sentinel-2-l2a" / "O" / "scl.tif").unlink()
    with refuses(
        MissingFile, "item O, asset scl", archive.root / "sentinel-2-l2a/O/scl.tif", os.strerror(errno.ENOENT)
    ):
        source.composite_optical([("O",)], bands=("B2",), method="least_cloudy", grid=place.grid)


def test_a_missing_file_costs_an_acquisition_and_is_named(
    archive: "TinyArchive", make_place: Callable[..., RoiGrids], caplog: pytest.LogCaptureFixture
) -> None:
    for day in (1, 7):
        archive.sar(f"S{day}", f"2019-06-{day:02}T17:00:00Z", power(), angle=np.full((32, 32), 40.0))
        archive.optical(
            f"O{day}", f"2019-06-{day:02}T10:00:00Z", vegetation(), {"blue": reflectance(), "nir": reflectance()}
        )
    source, place = source_of(archive), make_place()
    (archive.root / "sentinel-2-l2a" / "O1" / "scl.tif").unlink()
    (archive.root / "sentinel-1-grd" / "S1" / "angle.tif").unlink()
    assert [a.scene_ids for a in source.find_optical(place, JUNE)] == [("O7",)]
    radar = source.find_sar(place, JUNE, polarisations=("VV",))
    assert [(a.scene_ids, a.incidence_source) for a in radar] == [(("S1",), "model"), (("S7",), "model")]
    for named in ("item O1, asset scl: ", "item S1, asset angle: "):
        assert len({r.getMessage() for r in caplog.records if r.getMessage().startswith(named)}) == 1


@pytest.mark.parametrize(
    ("file", "scene"), [("sentinel-1-grd/S1/vh.tif", "S1"), ("sentinel-2-l2a/O7/nir.tif", "O7"), (None, None)]
)
def test_a_plan_s_files_are_looked_for(
    archive: "TinyArchive", caplog: pytest.LogCaptureFixture, file: str | None, scene: str | None
) -> None:
    for day in (1, 7):
        archive.sar(f"S{day}", f"2019-06-{day:02}T17:00:00Z", power())
        archive.optical(
            f"O{day}", f"2019-06-{day:02}T10:00:00Z", vegetation(), {"blue": reflectance(), "nir": reflectance()}
        )
    source = source_of(archive)
    if file is not None:
        (archive.root / file).unlink()
    sar, optical = (("S1",), ("S7",)), (("O1",), ("O7",))
    needed = Needed(sar=sar, optical=optical, polarisations=("VV", "VH"), bands=("B2", "B8"))
    assert source.unreadable(needed) == (frozenset() if scene is None else {scene})
    assert len(caplog.records) == (scene is not None)
    (archive.root / "sentinel-2-l2a" / "O1" / "blue.tif").write_bytes(b"no image")
    with refuses(SourceError, "item O1, asset blue", archive.root / "sentinel-2-l2a/O1/blue.tif"):
        source.unreadable(needed)


def test_a_scene_of_the_plan_that_is_gone(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.sar("S", "2019-06-01T17:00:00Z", power())
    with refuses(SourceError, "catalogue:tiny", "sentinel-1-grd", "A", 1):
        source_of(archive).mean_sar([("S",), ("A",), ("B",)], polarisations=("VV",), grid=make_place().grid)
