"""The archive as a whole: valid, complete with its flaws, the same every time, and true to its truth."""

import datetime as dt
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
import rasterio.warp
import shapely.geometry
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from s1s2pairs import s1_orbits
from s1s2pairs.acquisitions import RoiGrids, Span
from s1s2pairs.errors import S1S2Error
from s1s2pairs.grid import analysis_grid, inside, roi_grid, to_crs
from s1s2pairs.plan import lock
from s1s2pairs.plan.search import plan_roi
from s1s2pairs.recipe.parser import parse_recipe
from s1s2pairs.recipe.settings import Recipe, Roi
from s1s2pairs.simulate import render, world
from s1s2pairs.simulate.world import Options, simulate
from s1s2pairs.sources.registry import open_source
from tests.refusals import refuses
from tests.s1s2pairs.conftest import tree

from . import oracle
from .conftest import SMALL, feature

Json = dict[str, Any]


def _items(archive: Path, collection: str) -> list[Json]:
    paths = sorted((archive / collection).glob("*/*.json"))
    return [json.loads(path.read_text()) | {"folder": path.parent} for path in paths]


def _read(item: Json, asset: str) -> NDArray[Any]:
    with rasterio.open(item["folder"] / item["assets"][asset]["href"]) as dataset:
        return np.asarray(dataset.read(1))


def test_catalogue_is_read_by_pystac_and_every_asset_exists(archive: Path) -> None:
    catalog = pystac.Catalog.from_file(str(archive / "catalog.json"))
    items = list(catalog.get_items(recursive=True))
    assert {child.id for child in catalog.get_children()} == {"sentinel-1-grd", "sentinel-2-l2a"}
    assert len(items) == len(list(archive.glob("sentinel-*/*/*.json"))) > 50
    for item in items:
        again = pystac.Item.from_dict(item.to_dict())
        assert again.bbox is not None
        assert shapely.geometry.shape(again.geometry).is_valid
        assert np.allclose(again.bbox, shapely.geometry.shape(again.geometry).bounds, atol=1e-7)
        assert all(Path(str(asset.get_absolute_href())).is_file() for asset in item.assets.values())


@pytest.mark.parametrize("collection", ["sentinel-1-grd", "sentinel-2-l2a"])
def test_rasters_are_cogs_on_the_grid_the_items_state(archive: Path, collection: str) -> None:
    for item in _items(archive, collection)[::7]:
        for name, asset in item["assets"].items():
            with rasterio.open(item["folder"] / asset["href"]) as dataset:
                assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                assert list(dataset.shape) == asset["proj:shape"]
                assert list(dataset.transform)[:6] == asset["proj:transform"]
                assert dataset.crs.to_string() == item["properties"]["proj:code"]
                assert dataset.dtypes[0] == asset["raster:bands"][0]["data_type"]
                assert dataset.transform.c % dataset.transform.a == 0, name


def test_two_runs_write_equal_bytes(archive: Path, recipe: Recipe, tmp_path: Path) -> None:
    simulate(recipe, tmp_path / "again", options=SMALL, workers=1)
    first, second = tree(archive), tree(tmp_path / "again")
    assert first == second
    assert len(first) > 500


def _shortened(roi: Roi) -> Roi:
    """Cut the periods of a ROI to six days."""
    periods = tuple(replace(p, end=p.start + dt.timedelta(days=6)) for p in roi.settings.periods)
    return replace(roi, settings=replace(roi.settings, periods=periods))


def test_a_killed_run_leaves_no_catalogue_and_is_taken_up(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    little = Options(optical_margin_months=0, sar_margin_days=0, orbits_per_pass=1)
    recipe = replace(recipe, rois=tuple(_shortened(roi) for roi in recipe.rois[:1]))
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"

    def breaks(work: render.SiteYear) -> render.Written:
        if work.year == 2021:
            raise OSError("disk full")
        return render.render(work)

    with monkeypatch.context() as patch:
        patch.setattr(world, "render", breaks)
        with pytest.raises(OSError, match="disk full"):
            simulate(recipe, killed, options=little, workers=1)
    assert (killed / "sentinel-1-grd").is_dir()
    assert not (killed / "catalog.json").exists()
    simulate(recipe, killed, options=little)
    simulate(recipe, undisturbed, options=little)
    assert tree(killed) == tree(undisturbed)


def test_a_finished_archive_is_left_alone_and_another_refused(archive: Path, recipe: Recipe, tmp_path: Path) -> None:
    before = (archive / "catalog.json").stat().st_mtime_ns
    assert simulate(recipe, archive, options=SMALL) == archive / "catalog.json"
    assert (archive / "catalog.json").stat().st_mtime_ns == before
    with refuses(S1S2Error, archive):
        simulate(recipe, archive, seed=1, options=SMALL)
    (tmp_path / "thesis.txt").write_text("years of work")
    with refuses(S1S2Error, tmp_path, "thesis.txt"):
        simulate(recipe, tmp_path, options=SMALL)
    assert (tmp_path / "thesis.txt").exists()


def test_folders_that_cannot_be_used_are_named(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with refuses(S1S2Error, out):
            simulate(recipe, out, options=SMALL)
    for name in ("binary", "folder"):
        (tmp_path / name).mkdir()
    (tmp_path / "binary" / "catalog.json").write_bytes(b"\xff\xfe\0")
    (tmp_path / "folder" / "catalog.json").mkdir()
    for name in ("binary", "folder"):
        with refuses(S1S2Error, tmp_path / name, "catalogue"):
            simulate(recipe, tmp_path / name, options=SMALL)


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1])
def test_a_seed_out_of_range_is_refused(seed: int, recipe: Recipe, tmp_path: Path) -> None:
    with refuses(S1S2Error, seed, 2**63 - 1):
        simulate(recipe, tmp_path, seed=seed, options=SMALL)
    assert not list(tmp_path.iterdir())


def test_a_place_smaller_than_a_pixel_is_measured_where_it_touches(tmp_path: Path) -> None:
    collection = {
        "type": "FeatureCollection",
        "name": "dot",
        "s1s2": {"patch": {"size": 16}, "season": ["06-01", "06-11"]},
        "features": [feature("dot", 3.57, 50.505, 0.00001)],
    }
    text = json.dumps(collection)
    recipe = parse_recipe(text, file="dot", today=dt.date(2026, 1, 1), default_name="dot", years=[2019])
    few = Options(optical_margin_months=0, sar_margin_days=0, orbits_per_pass=1)
    simulate(recipe, tmp_path / "world", seed=-1, options=few, workers=1)
    rows = json.loads((tmp_path / "world" / "truth.json").read_text())["rois"]["dot"]["optical"]
    polygon = recipe.rois[0].polygon
    grid = roi_grid(polygon, pixel_size_m=10, min_pixels=16)
    place = RoiGrids(name="dot", polygon=polygon, grid=grid, analysis_grid=analysis_grid(polygon, grid))
    june = Span(start=dt.datetime(2019, 6, 1, tzinfo=dt.UTC), end=dt.datetime(2019, 6, 11, tzinfo=dt.UTC))
    measured = open_source(str(tmp_path / "world")).find_optical(place, [june])
    assert len(rows) == len(measured) > 0
    assert [row["coverage_fraction"] for row in rows] == [found.coverage_fraction for found in measured]
    assert [row["cloud_fraction"] for row in rows] == [found.cloud_fraction for found in measured]


def test_the_archive_has_the_flaws_of_real_ones(archive: Path) -> None:
    sar, optical = _items(archive, "sentinel-1-grd"), _items(archive, "sentinel-2-l2a")
    slices = defaultdict(list)
    for item in sar:
        slices[item["properties"]["sat:absolute_orbit"]].append(shapely.geometry.shape(item["geometry"]))
    cut = [parts for parts in slices.values() if len(parts) == 2]
    assert cut
    assert any(len(parts) == 1 for parts in slices.values())
    # The slices meet in a strip about 130 m wide.
    assert all(a.intersects(b) and not a.within(b) and not b.within(a) for a, b in cut)
    takes: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for item in optical:
        key = (item["properties"]["sat:absolute_orbit"], item["properties"]["grid:code"])
        takes[key].append(item["properties"])
    assert {tile for _, tile in takes} == {"MGRS-31UER", "MGRS-31UES"}
    duplicates = [pair for pair in takes.values() if len(pair) == 2]
    assert len(duplicates) == 4  # one overflight a period, two tiles
    for older, newer in duplicates:
        assert older["s2:generation_time"] < newer["s2:generation_time"]
        assert older["s2:processing_baseline"] < newer["s2:processing_baseline"] == "05.00"
    offsets = {item["assets"]["red"]["raster:bands"][0]["offset"] for item in optical}
    assert offsets == {0.0, -0.1}


def test_both_processings_show_the_same_ground_once_the_offset_is_honoured(archive: Path) -> None:
    pairs: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for item in _items(archive, "sentinel-2-l2a"):
        pairs[(item["properties"]["sat:absolute_orbit"], item["properties"]["grid:code"])].append(item)
    for older, newer in (pair for pair in pairs.values() if len(pair) == 2):
        red = [
            _read(item, "red") * band["scale"] + band["offset"]
            for item in (older, newer)
            for band in item["assets"]["red"]["raster:bands"]
        ]
        assert not np.array_equal(red[0], red[1])
        assert np.allclose(red[0], red[1], atol=2e-4, rtol=0.005)


def test_footprints_are_the_ground_that_holds_data(archive: Path) -> None:
    for item in _items(archive, "sentinel-1-grd"):
        valid = ~np.isnan(_read(item, "vv"))
        ground = to_crs(shapely.geometry.shape(item["geometry"]), item["properties"]["proj:code"])
        assert valid.sum() * 100.0 == pytest.approx(ground.area, rel=0.02, abs=8000.0)


def test_one_orbit_covers_the_place_only_in_part(archive: Path, recipe: Recipe) -> None:
    (partial,) = {
        (item["properties"]["sat:relative_orbit"], item["properties"]["sat:orbit_state"])
        for item in _items(archive, "sentinel-1-grd")
        if item["properties"]["view:incidence_angle"] > 46.0
    }
    assert partial == (37, "descending")
    expected = oracle.expected(recipe.rois[0], oracle.read_records(archive, "callenelle"))
    best, *others = expected["orbits"]
    assert (best["relative_orbit"], best["eligible"]) == (37, False)
    assert others[0]["relative_orbit"] == expected["relative_orbit"] == 59


def test_angles_are_the_geometry_models(archive: Path) -> None:
    for item in _items(archive, "sentinel-1-grd")[::9]:
        with rasterio.open(item["folder"] / "angle.tif") as dataset:
            angle = dataset.read(1)
            row, column = (int(v[len(v) // 2]) for v in np.nonzero(~np.isnan(angle)))
            x, y = dataset.xy(row, column)
            (lon,), (lat,) = rasterio.warp.transform(dataset.crs, "EPSG:4326", [x], [y])
        properties = item["properties"]
        modelled = s1_orbits.incidence_deg(properties["sat:relative_orbit"], properties["sat:orbit_state"], lon, lat)
        assert angle[row, column] == pytest.approx(float(modelled), abs=0.002)


def test_no_data_is_zero_in_every_optical_band_and_class(archive: Path) -> None:
    partial = 0
    for item in _items(archive, "sentinel-2-l2a"):
        missing = _read(item, "scl") == 0
        assert np.array_equal(_read(item, "nir08") == 0, missing)
        fine = _read(item, "red") == 0
        assert not (missing & ~fine[::2, ::2] & ~fine[1::2, 1::2]).any()
        partial += bool(missing.any())
    assert partial


def _scl_on(grid: GeoBox, path: Path) -> NDArray[np.uint8]:
    """Read scene classes onto a 20 m grid of the same zone; 0 outside the scene."""
    with rasterio.open(path) as dataset:
        scene, transform = dataset.read(1), dataset.transform
    rows = np.arange(grid.shape[0]) + round((transform.f - grid.transform.f) / 20)
    columns = np.arange(grid.shape[1]) - round((transform.c - grid.transform.c) / 20)
    have = (rows >= 0) & (rows < scene.shape[0]), (columns >= 0) & (columns < scene.shape[1])
    result = np.zeros(grid.shape, np.uint8)
    result[np.ix_(*have)] = scene[np.ix_(rows[have[0]], columns[have[1]])]
    return result


def test_truth_counts_what_the_rasters_show(archive: Path, recipe: Recipe) -> None:
    content = json.loads((archive / "truth.json").read_text())
    for roi in recipe.rois:
        grid = roi_grid(roi.polygon, pixel_size_m=20)
        within = inside(roi.polygon, grid)
        rows = content["rois"][roi.name]["optical"]
        assert len(rows) > 10
        for row in rows:
            paths = [archive / "sentinel-2-l2a" / name / "scl.tif" for name in row["item_ids"]]
            seen = np.max([_scl_on(grid, path) for path in paths], axis=0)[within]
            assert row["coverage_fraction"] == pytest.approx((seen > 0).mean(), abs=1e-6)
            if seen.any():
                cloud, snow = (float(np.isin(seen[seen > 0], classes).mean()) for classes in ((3, 8, 9, 10), (11,)))
                assert (row["cloud_fraction"], row["snow_fraction"]) == pytest.approx((cloud, snow), abs=1e-6)


def test_the_builder_chooses_what_the_oracle_does(archive: Path, recipe: Recipe) -> None:
    assert_chosen_as_expected(archive, recipe)


@pytest.mark.parametrize(
    "changed",
    [
        {"s2_composite": "least_cloudy"},
        {"season_lock": False, "max_cloud_fraction": 0.0},
        {"s1_pass": "ascending"},
        {"s1_acquisitions": (2, 3)},
        {"s1_acquisitions": (1, 1), "s1_max_lag_days": 2.0},
        {"max_snow_fraction": 0.0, "min_coverage_fraction": 0.5},
    ],
    ids=",".join,
)
def test_the_builder_follows_every_setting_as_the_oracle_does(
    changed: dict[str, Any], archive: Path, recipe: Recipe
) -> None:
    rois = tuple(replace(roi, settings=replace(roi.settings, **changed)) for roi in recipe.rois)
    assert_chosen_as_expected(archive, replace(recipe, rois=rois))


def test_the_builder_chooses_what_the_oracle_does_in_another_world(tiny_world: Path, tiny_recipe: Path) -> None:
    recipe = lock.load(tiny_recipe, years=(2019, 2021))
    assert isinstance(recipe, Recipe)
    assert_chosen_as_expected(tiny_world, recipe)


def assert_chosen_as_expected(archive: Path, recipe: Recipe) -> None:
    source = open_source(str(archive))
    for roi in recipe.rois:
        expected = oracle.expected(roi, oracle.read_records(archive, roi.name))
        choices = plan_roi(source, roi).choices
        assert (choices is None) == ("reason" in expected)
        if choices is None:
            continue
        assert (choices.relative_orbit, choices.orbit_pass) == (expected["relative_orbit"], expected["orbit_pass"])
        for period in choices.periods:
            wanted = expected["periods"][period.label]
            assert (period.month_shift, period.optical_mean_time) == (wanted["month_shift"], wanted["mean_time"])
            for used, listed in ((period.optical, wanted["optical"]), (period.sar, wanted["sar"])):
                assert [sorted(one.scene_ids) for one in used] == [one["item_ids"] for one in listed]
                assert [one.acquired_at for one in used] == [one["acquired_at"] for one in listed]


def test_changed_ground_is_marked_with_ones(archive: Path) -> None:
    content = json.loads((archive / "truth.json").read_text())
    for roi in content["rois"].values():
        with rasterio.open(archive / roi["changed"]["2019_2021"]) as dataset:
            assert set(np.unique(dataset.read(1))) <= {0, 1}


def test_rois_that_overlap_share_their_scenes(archive: Path) -> None:
    names = {item["id"].rsplit("_", 1)[1] for item in _items(archive, "sentinel-1-grd")}
    assert names == {"callenelle"}
