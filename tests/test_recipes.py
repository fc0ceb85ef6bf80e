"""The recipes of papers: both satellites really passed on their dates, and each builds."""

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pytest
from shapely.affinity import scale
from shapely.geometry import mapping

from s1s2pairs.build.build import build
from s1s2pairs.build.opener import SourceOpener
from s1s2pairs.plan import lock
from s1s2pairs.recipe.settings import Period, Recipe, Roi
from s1s2pairs.s1_orbits import overflights, views
from s1s2pairs.simulate.s2_orbits import SWATH_HALF_KM, datatakes, swath_offset_km
from s1s2pairs.simulate.world import Options, simulate

ROIS = Path(__file__).parents[1] / "rois"
PAPERS = ("he_yokoya", "mccgan_global", "mccgan_xinjiang", "tirsit_queensland")


def recipe(name: str) -> Recipe:
    return lock.load(ROIS / f"{name}.geojson")


def midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def points(roi: Roi) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes and latitudes of a grid of points over a place, its corners among them."""
    west, south, east, north = roi.polygon.bounds
    lon, lat = np.meshgrid(np.linspace(west, east, 15), np.linspace(south, north, 15))
    return lon.ravel(), lat.ravel()


def best_coverage(roi: Roi, period: Period) -> float:
    """Part of a place that one orbit of Sentinel-2 had in its swath on the middle day of a period."""
    lon, lat = points(roi)
    day = midnight(period.start + dt.timedelta(days=2))
    passes = datatakes(lon.mean(), lat.mean(), day, day + dt.timedelta(days=1), reach_km=100)
    swaths = [np.abs(swath_offset_km(one.relative_orbit, lon, lat)) < SWATH_HALF_KM for one in passes]
    return max((float(swath.mean()) for swath in swaths), default=0.0)


def radar_days(roi: Roi, period: Period) -> set[int]:
    """Relative orbits of Sentinel-1 that pass within five days of a period."""
    lon, lat = points(roi)
    near = dt.timedelta(days=5)
    found = views(lon.mean(), lat.mean())
    return {
        view.relative_orbit
        for view in found
        if overflights(view, midnight(period.start) - near, midnight(period.end) + near)
    }


@pytest.mark.parametrize("name", PAPERS)
def test_both_satellites_passed(name: str) -> None:
    for roi in recipe(name).rois:
        for period in roi.settings.periods:
            assert period.end - period.start == dt.timedelta(days=5)
            assert best_coverage(roi, period) >= roi.settings.min_coverage_fraction, (roi.name, period)
        orbits = [radar_days(roi, period) for period in roi.settings.periods]
        assert set.intersection(*orbits), roi.name


def test_as_printed_rockhampton_lies_in_the_ocean_and_out_of_reach() -> None:
    """The place printed for the flood was not passed on the days that the paper names."""
    days = [dt.date(2017, 4, 8), dt.date(2017, 4, 28), dt.date(2017, 8, 31)]
    passed = [
        any(
            abs(one.offset_km) < SWATH_HALF_KM
            for one in datatakes(
                105 + 28 / 60, -23 - 32 / 60, midnight(day), midnight(day + dt.timedelta(1)), reach_km=0
            )
        )
        for day in days
    ]
    assert not any(passed)
    (roi,) = (roi for roi in recipe("tirsit_queensland").rois if roi.name == "rockhampton")
    assert all(best_coverage(roi, period) == 1.0 for period in roi.settings.periods)


@pytest.mark.parametrize(
    "name", ["tirsit_queensland", *(pytest.param(n, marks=pytest.mark.torture) for n in PAPERS[:3])]
)
def test_each_builds_from_a_simulated_archive(name: str, tmp_path: Path) -> None:
    document = json.loads((ROIS / f"{name}.geojson").read_text(encoding="utf-8"))
    (roi,) = (roi for roi in recipe(name).rois if roi.name == document["features"][-1]["properties"]["name"])
    # Less ground, at coarse pixels; and more days to choose from, as the sky of the simulation is another than that of the day.
    feature = document["features"][-1]
    width = np.ptp(points(roi)[1]) * 111_320
    feature["geometry"] = mapping(scale(roi.polygon, 20_000 / width, 20_000 / width))
    for period in feature["properties"]["periods"]:
        start = dt.date.fromisoformat(period["start"])
        period |= {"start": str(start - dt.timedelta(days=12)), "end": str(start + dt.timedelta(days=18))}
    document["features"] = [feature]
    document["s1s2"] |= {
        "pixel_size_m": 80,
        "max_cloud_fraction": 0.8,
        "max_snow_fraction": 1.0,
        "min_valid_fraction": 0,
    }
    small = tmp_path / "small.geojson"
    small.write_text(json.dumps(document), encoding="utf-8")
    options = Options(optical_margin_months=0, sar_margin_days=6, orbits_per_pass=1, pixel_m=80)
    simulate(lock.load(small), tmp_path / "world", options=options)
    report = build(lock.load(small), opener=SourceOpener(name=str(tmp_path / "world")), out=str(tmp_path / "data"))
    assert [outcome.failure for outcome in report.rois] == [None]
    assert all(outcome.patches for outcome in report.rois)
