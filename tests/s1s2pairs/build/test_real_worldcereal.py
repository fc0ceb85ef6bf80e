"""The STAC source and the rules of selection on real scenes, against what was computed apart from them."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from s1s2pairs.acquisitions import RoiGrids, Span
from s1s2pairs.build.build import build
from s1s2pairs.build.opener import SourceOpener
from s1s2pairs.dataset.dataset import open_dataset
from s1s2pairs.plan.choices import place
from s1s2pairs.plan.optical import choose_optical, is_clear
from s1s2pairs.plan.radar import choose_orbit
from s1s2pairs.recipe.parser import parse_recipe
from s1s2pairs.recipe.settings import Recipe, Roi
from s1s2pairs.sources import Source
from s1s2pairs.sources.registry import open_source

PERIODS = [
    {"label": "2017", "start": "2017-08-01", "end": "2017-12-01"},
    {"label": "2018", "start": "2018-08-01", "end": "2018-12-01"},
]
ALL = (Span(start=dt.datetime(2017, 1, 1, tzinfo=dt.UTC), end=dt.datetime(2019, 1, 1, tzinfo=dt.UTC)),)


@pytest.fixture(scope="module")
def archive(real_data: Path) -> Path:
    return real_data / "worldcereal-9b424a"


@pytest.fixture(scope="module")
def expected(archive: Path) -> dict[str, Any]:
    return json.loads((archive / "expected.json").read_text())


@pytest.fixture(scope="module")
def source(archive: Path) -> Source:
    return open_source(str(archive))


def rois(archive: Path, recipe: str = "recipe.geojson", **settings: Any) -> list[Roi]:
    text = json.loads((archive / recipe).read_text())
    text["s1s2"] = {"patch": {"size": 64}, "periods": PERIODS, **settings}
    parsed = parse_recipe(json.dumps(text), file=recipe, today=dt.date(2026, 1, 1), default_name="real")
    return list(parsed.rois)


@pytest.fixture(scope="module")
def whole(archive: Path) -> RoiGrids:
    return place(rois(archive)[0])


def test_the_grid_is_the_archive_s_own(whole: RoiGrids, expected: dict[str, Any]) -> None:
    grid = expected["grid"]
    assert str(whole.grid.crs) == f"EPSG:{grid['epsg']}"
    assert whole.grid.shape == tuple(grid["shape_10m"])
    assert whole.analysis_grid.shape == tuple(grid["shape_20m"])
    assert (whole.grid.transform.c, whole.grid.transform.f) == (grid["left"], grid["top"])


def test_cloud_and_coverage_of_every_date(
    source: Source, whole: RoiGrids, expected: dict[str, Any], archive: Path
) -> None:
    settings = rois(archive)[0].settings
    found = {a.scene_ids[0]: a for a in source.find_optical(whole, ALL)}
    assert len(found) == len(expected["s2"]["dates"])
    for date in expected["s2"]["dates"]:
        acquisition = found[date["id"]]
        assert acquisition.cloud_fraction == pytest.approx(date["cloud_fraction"], abs=1e-6)
        assert acquisition.coverage_fraction == date["coverage_fraction"]
        assert acquisition.acquired_at == dt.datetime.fromisoformat(date["datetime"])
        snow = date["scl_histogram"].get("11", 0) / date["valid_pixels"]
        assert acquisition.snow_fraction == pytest.approx(snow)
        assert is_clear(acquisition, settings) == (date["cloud_fraction"] <= 0.01 and snow <= 0.05)


def test_every_radar_acquisition_with_its_angle(source: Source, whole: RoiGrids, expected: dict[str, Any]) -> None:
    # These angle rasters were modelled by an orbit 0.3 degrees too far west: 1.3 degrees too high on both orbits, in the right
    # order. What an archive says of itself counts.
    found = source.find_sar(whole, ALL, polarisations=("VV", "VH"))
    for orbit, group in expected["s1"]["groups"].items():
        mine = [a for a in found if a.relative_orbit == int(orbit)]
        assert [a.scene_ids for a in mine] == [(id_,) for id_ in group["ids"]]
        assert {a.incidence_source for a in mine} == {"raster"}
        assert {a.coverage_fraction for a in mine} == {1.0}
        for acquisition in mine:
            assert acquisition.incidence_deg == pytest.approx(group["mean_angle_deg"], abs=1e-4)
    assert source.backscatter() == "sigma0"


def test_highest_orbit_and_nearest_dates_are_chosen(source: Source, whole: RoiGrids, archive: Path) -> None:
    settings = rois(archive)[0].settings
    optical = choose_optical(source.find_optical(whole, ALL), settings=settings, reach=6)
    assert optical is not None
    assert {choice.month_shift for choice in optical.values()} == {0}
    centres = {label: choice.mean_time for label, choice in optical.items()}
    found = source.find_sar(whole, ALL, polarisations=("VV", "VH"))
    choice = choose_orbit(found, centres=centres, settings=settings)
    assert choice.relative_orbit == 59
    assert [c.relative_orbit for c in choice.candidates] == [59, 161]
    assert all(candidate.eligible for candidate in choice.candidates)


def test_dates_around_a_single_optical_image(
    source: Source, whole: RoiGrids, archive: Path, expected: dict[str, Any]
) -> None:
    anchor = expected["anchors"][0]
    for most in (8, 9, 10):
        settings = rois(archive, s1_acquisitions=[8, most])[0].settings
        centres = {"anchor": dt.datetime.fromisoformat(anchor["s2_datetime"])}
        found = source.find_sar(whole, ALL, polarisations=("VV", "VH"))
        choice = choose_orbit(found, centres=centres, settings=settings)
        nearest = anchor["per_orbit"]["59"][f"nearest_{most}"]
        assert {a.scene_ids[0] for a in choice.dates["anchor"]} == set(nearest["ids"])


@pytest.mark.parametrize("anchor", [0, 1])
@pytest.mark.parametrize("orbit", ["59", "161"])
@pytest.mark.parametrize("pixel_size_m", [10, 20])
def test_linear_mean_in_db(
    source: Source, archive: Path, expected: dict[str, Any], anchor: int, orbit: str, pixel_size_m: int
) -> None:
    grid = place(rois(archive, pixel_size_m=pixel_size_m, patch={"size": 32})[0]).grid
    assert grid.shape == ((64, 64) if pixel_size_m == 10 else (32, 32))
    for count in (8, 10):
        nearest = expected["anchors"][anchor]["per_orbit"][orbit][f"nearest_{count}"]
        mean = source.mean_sar([(id_,) for id_ in nearest["ids"]], polarisations=("VV", "VH"), grid=grid)
        assert (mean.count == count).all()
        for band, name in zip(mean.linear.astype(np.float64), ("VV", "VH"), strict=True):
            db = 10 * np.log10(band)
            assert db.mean() == pytest.approx(nearest[name]["mean_db"], abs=1e-3)
            assert db.std() == pytest.approx(nearest[name]["std_db"], abs=1e-3)
            assert band.mean() == pytest.approx(nearest[name]["roi_linear_mean"], rel=1e-5)


def test_halves_are_windows_of_the_whole(
    source: Source, whole: RoiGrids, archive: Path, expected: dict[str, Any]
) -> None:
    """Half ROIs are padded to a patch, so that they see ground outside themselves: only their own pixels may count."""
    nearest = expected["anchors"][0]["per_orbit"]["59"]["nearest_8"]["ids"]
    full = source.mean_sar([(id_,) for id_ in nearest], polarisations=("VV",), grid=whole.grid)
    for roi in rois(archive, "recipe-two.geojson"):
        half = place(roi)
        assert half.grid.shape == (64, 64)
        mean = source.mean_sar([(id_,) for id_ in nearest], polarisations=("VV",), grid=half.grid)
        shift = round((half.grid.transform.c - whole.grid.transform.c) / 10)
        ours, theirs = slice(max(0, -shift), 64 - max(0, shift)), slice(max(0, shift), 64 - max(0, -shift))
        np.testing.assert_array_equal(mean.linear[..., ours], full.linear[..., theirs])
        outside = np.ones(64, bool)
        outside[ours] = False
        assert (mean.count[:, outside] == 0).all()
        assert np.isnan(mean.linear[..., outside]).all()
        acquisition = source.find_optical(half, ALL)[0]
        assert acquisition.coverage_fraction == 1.0


def test_reflectance_is_the_archive_s(source: Source, whole: RoiGrids, expected: dict[str, Any]) -> None:
    clear = next(date for date in expected["s2"]["dates"] if date["cloud_fraction"] == 0)
    bands = {"B2": "blue", "B8": "nir", "B8A": "nir08", "B12": "swir22"}
    image = source.composite_optical([(clear["id"],)], bands=tuple(bands), method="least_cloudy", grid=whole.grid)
    assert (image.clear == 1).all()
    for band, name in zip(image.reflectance, bands.values(), strict=True):
        assert band.mean() == pytest.approx(clear["bands"][name]["mean_dn"], abs=1e-6)


@pytest.mark.parametrize("recipe", ["recipe.geojson", "recipe-two.geojson"])
def test_a_whole_build(archive: Path, expected: dict[str, Any], tmp_path: Path, recipe: str) -> None:
    """Rasters, patches and index of `build` on the real archive, with one optical image a period so that the dates are known."""
    parsed = Recipe(name="real", rois=tuple(rois(archive, recipe, s2_composite="least_cloudy")))
    report = build(parsed, opener=SourceOpener(name=str(archive)), out=str(tmp_path / "real"))
    assert not report.failed
    index = open_dataset(tmp_path / "real").index
    assert len(index) == len(parsed.rois) * len(PERIODS)
    assert set(index["relative_orbit"]) == {59}
    assert set(index["incidence_source"]) == {"raster"}
    assert set(index["month_shift"]) == {0}
    dates = {date["id"]: date for date in expected["s2"]["dates"]}
    for row in index.to_dict("records"):
        image = dates[row["s2_scene_ids"][0]]
        if recipe == "recipe.geojson":
            assert row["cloud_fraction"] == pytest.approx(image["cloud_fraction"], abs=1e-6)
            assert row["mean_incidence_deg"] == pytest.approx(
                expected["s1"]["groups"]["59"]["mean_angle_deg"], abs=1e-3
            )
        # Nearest ten of orbit 59 by exact time, counted here from the archive's list.
        centre = dt.datetime.fromisoformat(image["datetime"])
        times = {id_: acquired(id_) for id_ in expected["s1"]["groups"]["59"]["ids"]}
        nearest = sorted(times, key=lambda id_: (abs(times[id_] - centre), times[id_]))
        chosen = set(row["s1_scene_ids"])
        assert 8 <= len(chosen) <= 10
        assert chosen == set(nearest[: len(chosen)])
        with rasterio.open(tmp_path / "real" / row["s1_path"]) as patch:
            db, count = patch.read([1, 2]).astype(np.float64), patch.read(3)
            window = patch.window(*patch.bounds)
        assert (window.height, window.width) == (64, 64)
        linear = np.mean([vv_and_vh(archive, id_) for id_ in sorted(chosen)], axis=0)
        truth = 10 * np.log10(linear).repeat(2, axis=1).repeat(2, axis=2)
        left = round((row["transform"][2] - expected["grid"]["left"]) / 10)
        mine, theirs = slice(max(0, -left), 64 - max(0, left)), slice(max(0, left), 64 - max(0, -left))
        np.testing.assert_allclose(db[..., mine], truth[..., theirs], atol=1e-3)
        assert (count[..., mine] == len(chosen)).all()


def acquired(id_: str) -> dt.datetime:
    return dt.datetime.strptime(id_.split("_")[4], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)


def vv_and_vh(archive: Path, id_: str) -> np.ndarray:
    images = []
    for name in ("vv", "vh"):
        with rasterio.open(archive / "sentinel-1-grd" / id_ / f"{name}.tif") as file:
            images.append(file.read(1).astype(np.float64))
    return np.stack(images)
