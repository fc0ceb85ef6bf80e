"""Earth Engine source and STAC source on the same scenes: the same plan, the same rasters."""

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from s1s2pairs.build.build import build
from s1s2pairs.build.opener import SourceOpener
from s1s2pairs.plan.choices import PeriodPlan, Plan, RoiPlan, place
from s1s2pairs.plan.search import plan_roi
from s1s2pairs.recipe.parser import parse_recipe
from s1s2pairs.recipe.settings import Recipe
from s1s2pairs.simulate.world import Options, simulate
from s1s2pairs.sources import Source
from s1s2pairs.sources.earthengine import EarthEngineSource, survey
from s1s2pairs.sources.stac.source import StacSource

from . import assumptions, world
from .conftest import QUICK, ImpatientOpener, Server

Ask = Callable[..., Server]
Entry = dict[str, Any]
MONTH = dt.timedelta(days=31)


@dataclass(frozen=True)
class Subject:
    """An archive and a recipe for it."""

    archive: Path
    recipe: Recipe


def _real(folder: Path) -> Subject:
    archive = folder / "worldcereal-9b424a"
    text = json.loads((archive / "recipe-two.geojson").read_text())
    text["s1s2"] = {**text.get("s1s2", {}), "season": ["08-01", "09-01"], "patch": {"size": 32}}
    recipe = parse_recipe(
        json.dumps(text), file="recipe-two", today=dt.date(2026, 1, 1), default_name="real", years=(2017, 2018)
    )
    return Subject(archive, recipe)


def _simulated(folder: Path) -> Subject:
    """One place where two tiles overlap, four weeks of one year, half the usual detail: a world of a few seconds."""
    ring = [[3.1, 50.83], [3.104, 50.83], [3.104, 50.8325], [3.1, 50.8325], [3.1, 50.83]]
    feature = {
        "type": "Feature",
        "properties": {"name": "harelbeke", "split": "train"},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    settings = {
        "patch": {"size": 24},
        "season": ["06-01", "06-16"],
        "s1_acquisitions": [2, 3],
        "max_cloud_fraction": 0.5,
    }
    text = json.dumps({"type": "FeatureCollection", "name": "sim", "s1s2": settings, "features": [feature]})
    recipe = parse_recipe(text, file="sim", today=dt.date(2026, 1, 1), default_name="sim", years=(2021,))
    options = Options(optical_margin_months=0, sar_margin_days=16, orbits_per_pass=1, pixel_m=20.0)
    simulate(recipe, folder, options=options)
    return Subject(folder, recipe)


@pytest.fixture(scope="module", params=["awkward", "simulated", "real"])
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    if request.param == "awkward":
        return Subject(request.getfixturevalue("awkward"), world.recipe())
    if request.param == "simulated":
        return _simulated(tmp_path_factory.mktemp("simulated") / "archive")
    return _real(request.getfixturevalue("real_data"))


def test_both_sources_choose_the_same_and_give_the_same_pixels(subject: Subject, ask: Ask) -> None:
    server = ask(subject.archive)
    ours, theirs = EarthEngineSource(retry_policy=QUICK), StacSource(str(subject.archive))
    assert ours.backscatter() == theirs.backscatter()
    for roi in subject.recipe.rois:
        plan = plan_roi(theirs, roi)
        assert plan.choices is not None, plan.failure
        assert plan_roi(ours, roi) == plan
        for period in plan.choices.periods:
            assert_same_pixels(ours, theirs, plan, period)
    search, pixels = told_apart(server)
    rois, periods = len(subject.recipe.rois), len(subject.recipe.rois[0].settings.periods)
    # The scenes of both sensors, then what is measured of them; and one request for each raster.
    assert len(search) == 2 * rois
    assert [entry["aggregations"] for entry in search] == [0, 2] * rois
    assert len(pixels) == rois * periods * 2


def assert_same_pixels(ours: Source, theirs: Source, plan: RoiPlan, period: PeriodPlan) -> None:
    assert plan.choices is not None
    grid, settings = plan.choices.grid, plan.roi.settings
    radar = [a.scene_ids for a in period.sar]
    expected = theirs.mean_sar(radar, polarisations=settings.s1_polarisations, grid=grid)
    mean = ours.mean_sar(radar, polarisations=settings.s1_polarisations, grid=grid)
    np.testing.assert_array_equal(mean.count, expected.count)
    np.testing.assert_allclose(mean.linear, expected.linear, rtol=2e-7)  # the last bit of float32: 1e-6 dB
    optical = [a.scene_ids for a in period.optical]
    wanted = theirs.composite_optical(optical, bands=settings.s2_bands, method=period.composite, grid=grid)
    composite = ours.composite_optical(optical, bands=settings.s2_bands, method=period.composite, grid=grid)
    np.testing.assert_array_equal(composite.clear, wanted.clear)
    np.testing.assert_array_equal(composite.reflectance, wanted.reflectance)
    assert (wanted.reflectance > 0).mean() > 0.5
    assert np.isfinite(expected.linear).mean() > 0.5


def told_apart(server: Server) -> tuple[list[Entry], list[Entry]]:
    """The requests of searches, and those for pixels."""
    entries = server.requests()
    search = [entry for entry in entries if entry["path"].endswith("/value:compute")]
    return search, [entry for entry in entries if entry["path"].endswith("/image:computePixels")]


@pytest.mark.parametrize("switch", list(assumptions.others()), ids=str)
def test_whatever_nobody_has_seen_earth_engine_do_changes_nothing(
    switch: dict[str, str], awkward: Path, ask: Ask
) -> None:
    server = ask(awkward)
    server.assume(**switch)
    ours, theirs = EarthEngineSource(retry_policy=QUICK), StacSource(str(awkward))
    for roi in world.recipe().rois:
        plan = plan_roi(theirs, roi)
        assert plan_roi(ours, roi) == plan
        assert plan.choices is not None
        for period in plan.choices.periods:
            if switch == {"dark_pixels": "masked"}:
                assert_only_dark_pixels_are_missing(ours, theirs, plan, period)
            else:
                assert_same_pixels(ours, theirs, plan, period)


def assert_only_dark_pixels_are_missing(ours: Source, theirs: Source, plan: RoiPlan, period: PeriodPlan) -> None:
    """The one assumption that shows: then reflectance 0 is no value, and the pixel of that date is left out."""
    assert plan.choices is not None
    bands, grid = plan.roi.settings.s2_bands, plan.choices.grid
    optical = [a.scene_ids for a in period.optical]
    wanted = theirs.composite_optical(optical, bands=bands, method=period.composite, grid=grid)
    composite = ours.composite_optical(optical, bands=bands, method=period.composite, grid=grid)
    assert (composite.clear <= wanted.clear).all()
    single = [theirs.composite_optical([ids], bands=bands, method="least_cloudy", grid=grid) for ids in optical]
    dark = np.stack([(one.reflectance == 1).any(axis=0) for one in single])
    assert (wanted.clear - composite.clear <= dark.sum(axis=0)).all()
    untouched = ~dark.any(axis=0)
    np.testing.assert_array_equal(composite.reflectance[:, untouched], wanted.reflectance[:, untouched])
    assert untouched.any()


def test_a_search_that_moves_its_window_takes_three_requests_and_few_aggregations(awkward: Path, ask: Ask) -> None:
    server = ask(awkward)
    roi = world.recipe().rois[0]
    periods = tuple(replace(p, start=p.start - MONTH, end=p.end - MONTH) for p in roi.settings.periods)
    moved = replace(roi, settings=replace(roi.settings, periods=periods, max_shift_months=6))
    plan = plan_roi(EarthEngineSource(retry_policy=QUICK), moved)
    assert plan == plan_roi(StacSource(str(awkward)), moved)
    assert plan.choices is not None
    assert {period.month_shift for period in plan.choices.periods} == {1}
    search, _ = told_apart(server)
    assert [entry["aggregations"] for entry in search] == [0, 1, 2]


def test_scenes_by_the_hundred_are_measured_in_few_aggregations(
    awkward: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With limits so small that the tiny archive is a large one: parts stay below the most aggregations, with equal results."""
    server = ask(awkward, aggregations=3)
    monkeypatch.setattr(survey, "ACQUISITIONS_AT_ONCE", 2)
    monkeypatch.setattr(survey, "ANGLES_AT_ONCE", 3)
    monkeypatch.setattr(survey, "MAX_AGGREGATIONS", 3)
    roi = world.recipe().rois[0]
    assert plan_roi(EarthEngineSource(retry_policy=QUICK), roi) == plan_roi(StacSource(str(awkward)), roi)
    search, _ = told_apart(server)
    assert {entry["status"] for entry in search} == {200}
    assert [entry["aggregations"] for entry in search] == [0, 3, 3, 2]


def test_the_whole_build_is_the_same(subject: Subject, ask: Ask, tmp_path: Path) -> None:
    ask(subject.archive)
    ours = build(subject.recipe, opener=ImpatientOpener(), out=str(tmp_path / "ee"), workers=4)
    theirs = build(subject.recipe, opener=SourceOpener(name=str(subject.archive)), out=str(tmp_path / "stac"))
    assert ours.failed == theirs.failed == ()
    assert ours.plan.source == "earthengine"
    assert replace(ours.plan, source="") == replace(theirs.plan, source="")
    compared = 0
    for path in sorted((tmp_path / "stac").glob("rasters/*/*/*.tif")):
        with rasterio.open(path) as a, rasterio.open(tmp_path / "ee" / path.relative_to(tmp_path / "stac")) as b:
            assert (a.crs, a.transform, a.shape, a.dtypes) == (b.crs, b.transform, b.shape, b.dtypes)
            assert (a.descriptions, a.units, a.scales) == (b.descriptions, b.units, b.scales)
            expected, given = a.read(), b.read()
        np.testing.assert_array_equal(given[-1], expected[-1])
        if path.name == "s1.tif":
            np.testing.assert_array_equal(np.isnan(given), np.isnan(expected))
            np.testing.assert_allclose(given, expected, atol=1e-3, rtol=0)
        else:
            np.testing.assert_array_equal(given, expected)
        compared += 1
    assert compared == 2 * sum(len(roi.settings.periods) for roi in subject.recipe.rois)


def test_a_grid_too_large_for_one_request_is_the_same_in_parts(awkward: Path, ask: Ask) -> None:
    server = ask(awkward)
    ours, theirs = EarthEngineSource(requests=3, retry_policy=QUICK), StacSource(str(awkward))
    plan = plan_roi(theirs, world.recipe().rois[0])
    assert plan.choices is not None
    grid = place(plan.roi).grid.pad(30)
    radar = [a.scene_ids for a in plan.choices.periods[0].sar]
    expected = theirs.mean_sar(radar, polarisations=("VV", "VH"), grid=grid)
    server.set_faults(memory_px=grid.shape[0] * grid.shape[1] // 5)
    mean = ours.mean_sar(radar, polarisations=("VV", "VH"), grid=grid)
    np.testing.assert_array_equal(mean.count, expected.count)
    np.testing.assert_allclose(mean.linear, expected.linear, rtol=2e-7)
    statuses = [entry["status"] for entry in server.requests()]
    # The whole, its halves, their quarters: each asked for once, and only eighths of the grid are small enough.
    assert (statuses.count(400), statuses.count(200)) == (7, 8)


def test_a_locked_plan_names_scenes_as_any_copy_of_the_archive_does(awkward: Path, ask: Ask) -> None:
    ask(awkward)
    source = EarthEngineSource(retry_policy=QUICK)
    plan = Plan(name="awkward", source=source.name, rois=(plan_roi(source, world.recipe().rois[0]),))
    assert plan.rois[0].choices is not None
    ids = {
        id_ for period in plan.rois[0].choices.periods for a in (*period.sar, *period.optical) for id_ in a.scene_ids
    }
    assert ids <= {path.parent.name for path in awkward.glob("*/*/*.json")}
