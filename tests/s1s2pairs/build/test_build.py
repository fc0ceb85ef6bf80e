"""A build that nothing disturbs: what it writes, and that it writes the same each time."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from rich.console import Console
from shapely.geometry import box, mapping

from s1s2pairs.build.build import BuildReport, plan_only
from s1s2pairs.build.despeckle import GRD_LOOKS, despeckle, to_db
from s1s2pairs.dataset.columns import COLUMNS
from s1s2pairs.dataset.dataset import open_dataset
from s1s2pairs.errors import DatasetError, RecipeError
from s1s2pairs.plan.choices import Plan
from s1s2pairs.plan.lock import dump_lock, parse_lock
from s1s2pairs.progress import Bar, Lines, Silence, make_progress
from s1s2pairs.recipe.settings import Recipe
from tests.refusals import refuses
from tests.s1s2pairs.conftest import TWO, Built, tiny_recipe, tree
from tests.s1s2pairs.fake_source import FakeOpener, FakeSource, calls

Run = Callable[..., BuildReport]


def test_the_files_are_those_of_the_layout(built: Built) -> None:
    files = set(tree(built.root))
    index = open_dataset(built.root).index
    assert {path for path in files if "/" not in path} == {"dataset.json", "index.parquet", "recipe.lock.geojson"}
    assert {path for path in files if path.startswith("rasters/")} == {
        f"rasters/{roi}/{period}/{sensor}.tif"
        for roi in ("north", "south")
        for period in ("2019", "2020")
        for sensor in ("s1", "s2")
    }
    assert {path for path in files if path.startswith("patches/")} == {*index["s1_path"], *index["s2_path"]}
    assert list(index.columns) == list(COLUMNS)
    assert set(index["split"]) == {"train", "test"}
    assert built.report.failed == ()
    assert [(outcome.roi, outcome.fetched, outcome.kept) for outcome in built.report.rois] == [
        ("north", 4, 0),
        ("south", 4, 0),
    ]


def test_a_row_says_what_its_files_hold(built: Built) -> None:
    for row in open_dataset(built.root).index.itertuples():
        window = rasterio.windows.Window(row.col_off, row.row_off, row.width, row.height)
        for sensor in ("s1", "s2"):
            path = getattr(row, f"{sensor}_path")
            assert path == f"patches/{row.split}/{row.roi}/{row.patch_id}/{row.period}_{sensor}.tif"
            with (
                rasterio.open(built.root / path) as patch,
                rasterio.open(built.root / "rasters" / row.roi / row.period / f"{sensor}.tif") as raster,
            ):
                pixels = patch.read()
                np.testing.assert_array_equal(pixels, raster.read(window=window))
                assert patch.transform == raster.window_transform(window)
                assert list(patch.transform)[:6] == list(row.transform)
                assert patch.crs.to_string() == row.crs
                assert patch.descriptions == raster.descriptions
                assert list(patch.descriptions[:-1]) == list(getattr(row, f"{sensor}_bands"))
                valid = np.isfinite(pixels[0]) if sensor == "s1" else pixels[0] > 0
                assert getattr(row, f"{sensor}_valid_fraction") == valid.mean()
                outline = gpd.GeoSeries([row.geometry], crs="EPSG:4326").to_crs(row.crs).iloc[0]
                assert outline.equals_exact(box(*patch.bounds), tolerance=0.01)
    first = open_dataset(built.root).index.iloc[0]
    assert first["relative_orbit"] == 37
    assert first["orbit_pass"] == "ascending"
    assert first["mean_incidence_deg"] == 39.25
    assert first["s1_count"] == 10
    assert len(first["s1_scene_ids"]) == 20
    assert first["lag_days"] == pytest.approx((first["s1_mean_time"] - first["s2_mean_time"]).total_seconds() / 86400)
    assert first["s1_valid_fraction"] == 1 - 15 / 256


@pytest.mark.parametrize("speckle", ["none", "lee", "refined_lee"])
def test_rasters_are_the_sources_pixels_in_db_after_the_filter(run: Run, tmp_path: Path, speckle: str) -> None:
    report = run(tiny_recipe({"north": {}}, s1_speckle=speckle))
    plan = report.plan.rois[0].choices
    assert plan is not None
    scenes = [acquisition.scene_ids for acquisition in plan.periods[0].sar]
    mean = FakeSource(tmp_path / "source").mean_sar(scenes, polarisations=("VV", "VH"), grid=plan.grid)
    linear = despeckle(mean.linear, looks=GRD_LOOKS * np.maximum(mean.count, 1).astype(float), method=speckle)  # type: ignore[arg-type]
    with rasterio.open(tmp_path / "out" / "rasters" / "north" / "2019" / "s1.tif") as file:
        np.testing.assert_array_equal(file.read([1, 2]), to_db(linear))
        np.testing.assert_array_equal(file.read(3), mean.count)
        assert file.shape == plan.grid.shape


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_equal_bytes_whatever_the_workers(run: Run, built: Built, tmp_path: Path, workers: int) -> None:
    run(built.recipe, workers=workers)
    assert tree(tmp_path / "out") == tree(built.root)


def test_the_lock_builds_the_same_without_searching(run: Run, built: Built, source: Path, tmp_path: Path) -> None:
    text = (built.root / "recipe.lock.geojson").read_text()
    run(parse_lock(text, file="recipe.lock.geojson"))
    assert tree(tmp_path / "out") == tree(built.root)
    assert {call.split()[0] for call in calls(source)} == {"mean_sar", "composite_optical"}


def test_a_lock_of_another_source_is_refused(run: Run, built: Built) -> None:
    text = (built.root / "recipe.lock.geojson").read_text().replace("catalogue:fake", "catalogue:elsewhere")
    with refuses(RecipeError, "tiny", "catalogue:elsewhere", "catalogue:fake", "--source"):
        run(parse_lock(text, file="recipe.lock.geojson"))


def test_building_again_does_nothing(run: Run, built: Built, source: Path, tmp_path: Path) -> None:
    run(built.recipe)
    before, made = tree(tmp_path / "out"), calls(source)
    changed = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    report = run(built.recipe)
    assert tree(tmp_path / "out") == before
    assert calls(source) == made
    assert {path: path.stat().st_mtime_ns for path in changed} == changed
    assert [(outcome.fetched, outcome.kept) for outcome in report.rois] == [(0, 4), (0, 4)]


def test_what_was_deleted_is_made_again_and_nothing_else(run: Run, built: Built, source: Path, tmp_path: Path) -> None:
    run(built.recipe)
    before, made = tree(tmp_path / "out"), calls(source)
    (tmp_path / "out/rasters/north/2019/s1.tif").unlink()
    next((tmp_path / "out/patches/test/south").rglob("2020_s2.tif")).unlink()
    run(built.recipe)
    assert tree(tmp_path / "out") == before
    assert calls(source) - made == {"mean_sar north": 1}


def test_planning_first_fetches_no_pixels_and_is_taken_up(run: Run, built: Built, source: Path, tmp_path: Path) -> None:
    plan = plan_only(built.recipe, opener=FakeOpener(folder=str(source)), out=str(tmp_path / "out"))
    assert (tmp_path / "out/recipe.lock.geojson").read_bytes() == dump_lock(plan)
    assert list(tree(tmp_path / "out")) == ["recipe.lock.geojson"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["recipe.lock.geojson"]
    searched = calls(source)
    assert {call.split()[0] for call in searched} == {"find_sar", "find_optical"}
    run(built.recipe)
    assert tree(tmp_path / "out") == tree(built.root)
    assert {call.split()[0] for call in calls(source) - searched} == {"mean_sar", "composite_optical"}


def test_what_is_only_planned_may_change(run: Run, source: Path, tmp_path: Path) -> None:
    def plan(recipe: Recipe) -> Plan:
        return plan_only(recipe, opener=FakeOpener(folder=str(source)), out=str(tmp_path / "out"))

    plan(tiny_recipe(TWO))
    searched = calls(source)
    changed = tiny_recipe({"north": {"s1_acquisitions": [2, 2]}, "south": {"split": "test"}}, name="other")
    north, _ = plan(changed).rois
    assert north.roi.settings.s1_acquisitions == (2, 2)
    assert north.choices is not None
    assert {len(period.sar) for period in north.choices.periods} == {2}
    assert all(call.endswith("north") for call in calls(source) - searched)  # the plan of the other one stands
    assert not run(changed).failed
    with refuses(DatasetError, "north", "s1_acquisitions", "[2, 2]", "[8, 10]", "--out"):
        plan(tiny_recipe(TWO, name="other"))


def test_a_recipe_may_grow(run: Run, built: Built, source: Path, tmp_path: Path) -> None:
    run(tiny_recipe({"north": {}}))
    made = calls(source)
    run(tiny_recipe(TWO))
    assert tree(tmp_path / "out") == tree(built.root)
    assert not [call for call in calls(source) - made if call.endswith("north")]


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (tiny_recipe(TWO, name="other"), ("tiny", "other")),
        (tiny_recipe({"north": {}}), ("south",)),
        (tiny_recipe(TWO, s1_speckle="lee"), ("north", "s1_speckle", "none", "lee")),
        (tiny_recipe({"north": {}, "south": {"split": "val"}}), ("south", "split", "test", "val")),
        (tiny_recipe({"south": {"split": "test"}, "north": {}}), ("north", "polygon")),
    ],
)
def test_two_datasets_are_never_mixed(
    run: Run, built: Built, tmp_path: Path, other: Recipe, named: tuple[str, ...]
) -> None:
    run(built.recipe)
    with refuses(DatasetError, *named, "--out", tmp_path / "out/recipe.lock.geojson"):
        run(other)
    assert tree(tmp_path / "out") == tree(built.root)


def test_without_its_lock_a_dataset_is_rebuilt_in_place(run: Run, source: Path, tmp_path: Path) -> None:
    run(tiny_recipe(TWO))
    made = calls(source)
    (tmp_path / "out/recipe.lock.geojson").unlink()
    other = tiny_recipe({"north": {}, "west": {}}, s1_speckle="lee")
    run(other)
    assert calls(source) - made == {
        **{f"{find} {roi}": 1 for find in ("find_optical", "find_sar") for roi in ("north", "west")},
        "mean_sar north": 2,  # the filter changes the radar rasters only
        **{f"{fetch} west": 2 for fetch in ("mean_sar", "composite_optical")},
    }
    run(other, out="fresh")
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


def test_a_folder_of_other_things_is_left_alone(run: Run, built: Built, tmp_path: Path) -> None:
    (tmp_path / "out/rasters/north/2019").mkdir(parents=True)
    (tmp_path / "out/rasters/north/2019/s1.tif").write_bytes(b"precious")
    with refuses(DatasetError, tmp_path / "out", "rasters/north/2019/s1.tif", "--out"):
        run(built.recipe)
    assert list(tree(tmp_path / "out")) == ["rasters/north/2019/s1.tif"]


def test_any_fsspec_url_will_do(run: Run, built: Built, source: Path) -> None:
    import fsspec

    from s1s2pairs.build.build import build

    build(built.recipe, opener=FakeOpener(folder=str(source)), out="memory://bucket/tiny")
    memory = fsspec.filesystem("memory")
    found = {path.removeprefix("/bucket/tiny/"): memory.cat_file(path) for path in memory.find("/bucket/tiny")}
    assert found == {path: (built.root / path).read_bytes() for path in tree(built.root)}


@pytest.mark.parametrize(
    ("terminal", "quiet", "kind"), [(True, False, Bar), (False, False, Lines), (True, True, Silence)]
)
def test_progress_suits_where_it_goes(run: Run, terminal: bool, quiet: bool, kind: type[Any]) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    progress = make_progress(console, quiet=quiet)
    assert isinstance(progress, kind)
    run(tiny_recipe({"north": {}}), progress=progress)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    if quiet:
        assert shown == ""
    else:
        assert "choosing scenes" in shown
        assert "4/4" in shown
    if kind is Lines:
        assert shown.splitlines()[-1].startswith("building rasters: 4/4 rasters/north/")


def test_the_lock_is_a_recipe_with_the_choices_in_it(built: Built) -> None:
    lock = json.loads((built.root / "recipe.lock.geojson").read_text())
    assert [feature["properties"]["name"] for feature in lock["features"]] == ["north", "south"]
    assert lock["features"][0]["geometry"] == json.loads(json.dumps(mapping(built.recipe.rois[0].polygon)))
