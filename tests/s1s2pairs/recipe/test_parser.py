"""Every way a recipe can be wrong, and that the shipped ones are right."""

import copy
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from s1s2pairs.errors import RecipeError
from s1s2pairs.plan.choices import shared_ground
from s1s2pairs.recipe.parser import parse_recipe
from s1s2pairs.recipe.settings import Recipe
from tests.refusals import refuses

TODAY = dt.date(2026, 11, 1)
ROIS = Path(__file__).parents[3] / "rois"


def square(lon: float, lat: float, size: float = 0.02) -> dict[str, Any]:
    return {
        "type": "Polygon",
        "coordinates": [[*map(list, shapely.box(lon, lat, lon + size, lat + size).exterior.coords)]],
    }


def feature(
    name: str = "here", split: str = "train", lon: float = 3.0, lat: float = 50.8, **settings: Any
) -> dict[str, Any]:
    return {"type": "Feature", "properties": {"name": name, "split": split, **settings}, "geometry": square(lon, lat)}


def collection(*features: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features) or [feature()], **members}


def parse(value: Any, *, years: tuple[int, ...] = (2019, 2021)) -> Recipe:
    text = value if isinstance(value, str) else json.dumps(value)
    return parse_recipe(text, file="places.geojson", today=TODAY, default_name="places", years=years)


def test_defaults() -> None:
    recipe = parse(collection())
    (roi,) = recipe.rois
    assert recipe.name == "places"
    assert [p.label for p in roi.settings.periods] == ["2019", "2021"]
    assert (roi.settings.periods[0].start, roi.settings.periods[0].end) == (dt.date(2019, 6, 1), dt.date(2019, 7, 1))
    assert roi.settings.s2_bands == ("B2", "B3", "B4", "B8", "B11", "B12")
    assert roi.settings.s1_acquisitions == (8, 10)
    assert (roi.settings.patch.size, roi.settings.patch.stride) == (256, None)


def test_a_roi_overrides_the_recipe() -> None:
    recipe = parse(
        collection(
            feature(max_cloud_fraction=0.2, s1_orbit=59), feature("there", lon=4.0), s1s2={"max_cloud_fraction": 0.1}
        )
    )
    assert [roi.settings.max_cloud_fraction for roi in recipe.rois] == [0.2, 0.1]
    assert [roi.settings.s1_orbit for roi in recipe.rois] == [59, "max_incidence"]


def test_a_listed_period_is_taken_before_the_season() -> None:
    listed = [{"label": "2019", "start": "2019-08-07", "end": "2019-09-07"}]
    (roi,) = parse(collection(feature(periods=listed))).rois
    assert [p.start for p in roi.settings.periods] == [dt.date(2019, 8, 7), dt.date(2021, 6, 1)]


def test_listed_periods_need_no_years() -> None:
    listed = [
        {"label": "dry", "start": "2019-01-01", "end": "2019-03-01"},
        {"label": "wet", "start": "2019-06-01", "end": "2019-08-01"},
    ]
    (roi,) = parse(collection(feature(), s1s2={"periods": listed}), years=()).rois
    assert [p.label for p in roi.settings.periods] == ["dry", "wet"]


def test_a_season_may_run_over_new_year() -> None:
    (roi,) = parse(collection(feature(season=["12-01", "02-29"])), years=(2018, 2019)).rois
    assert [(p.start, p.end) for p in roi.settings.periods] == [
        (dt.date(2018, 12, 1), dt.date(2019, 2, 28)),
        (dt.date(2019, 12, 1), dt.date(2020, 2, 29)),
    ]


BOWTIE = {"type": "Polygon", "coordinates": [[[3, 50], [3.1, 50.1], [3.1, 50], [3, 50.1], [3, 50]]]}


def with_geometry(geometry: Any) -> dict[str, Any]:
    return collection({**feature(), "geometry": geometry})


WRONG: dict[str, tuple[Any, tuple[object, ...]]] = {
    "broken JSON": ('{"type": "FeatureCollection", ', ("JSON", 1, 31)),
    "no collection": ({"type": "Feature"}, ("FeatureCollection", "Feature")),
    "a list": ([], ("FeatureCollection", "list")),
    "no features": ({"type": "FeatureCollection", "features": []}, ("features", "list", "one")),
    "unknown member": (collection(sls2={}), ("sls2", "type", "features", "name", "s1s2")),
    "projected": (collection(crs={"properties": {"name": "EPSG:3857"}}), ("crs", "EPSG:3857", "lon/lat")),
    "unknown setting": (
        collection(s1s2={"max_clouds": 1}),
        ("s1s2.max_clouds", "periods", "season", "max_cloud_fraction"),
    ),
    "unknown property": (
        collection(feature(orbit=59)),
        ("features[0].properties.orbit", "name", "split", "s1_orbit"),
    ),
    "wrong type": (
        collection(feature(max_cloud_fraction="little")),
        ("features[0].properties.max_cloud_fraction", "little", "number"),
    ),
    "out of range": (collection(feature(max_cloud_fraction=5)), ("features[0].properties.max_cloud_fraction", 5, 1)),
    "unknown band": (
        collection(s1s2={"s2_bands": ["B2", "B10"]}),
        ("s1s2", "s2_bands", "['B2', 'B10']", "B1", "B8A", "B12"),
    ),
    "no such orbit": (
        collection(feature(s1_orbit=176)),
        ("features[0].properties.s1_orbit", 176, "max_incidence", 175),
    ),
    "pass": (
        collection(feature(s1_pass="north")),
        ("features[0].properties.s1_pass", "north", "ascending", "descending", "any"),
    ),
    "patch": (
        collection(s1s2={"patch": {"size": 64, "steps": 3}}),
        ("s1s2.patch.steps", "size", "min_overlap", "stride"),
    ),
    "gaps": (collection(s1s2={"patch": {"size": 64, "stride": 100}}), ("s1s2.patch", "stride", 100, "size", 64)),
    "both strides": (
        collection(s1s2={"patch": {"stride": 100, "min_overlap": 3}}),
        ("s1s2.patch", "stride", "min_overlap"),
    ),
    "least above most": (
        collection(feature(s1_acquisitions=[10, 8])),
        ("features[0].properties", "s1_acquisitions", "[10, 8]"),
    ),
    "lag of a mean": (
        collection(feature(s1_max_lag_days=5)),
        ("features[0].properties", "s1_max_lag_days", "s1_acquisitions", "[1, 1]"),
    ),
    "reversed window": (
        collection(feature(periods=[{"label": "2019", "start": "2019-07-01", "end": "2019-06-01"}])),
        ("features[0].properties.periods[0]", "2019-07-01", "2019-06-01"),
    ),
    "periods out of order": (
        collection(
            feature(periods=[{"label": y, "start": f"{y}-06-01", "end": f"{y}-07-01"} for y in ("2021", "2019")])
        ),
        ("features[0].properties", "periods", "['2021', '2019']"),
    ),
    "unsafe label": (
        collection(feature(periods=[{"label": "../19", "start": "2019-06-01", "end": "2019-07-01"}])),
        ("features[0].properties.periods[0].label", "../19"),
    ),
    "future window": (
        collection(feature(periods=[{"label": "2019", "start": "2030-06-01", "end": "2030-07-01"}])),
        ("features[0].properties.periods", 2019, "2030-06-01"),
    ),
    "no such day": (
        collection(s1s2={"season": ["06-31", "07-15"]}),
        ("s1s2", "season", "06-31"),
    ),
    "empty season": (collection(s1s2={"season": ["06-01", "06-01"]}), ("s1s2", "season", "['06-01', '06-01']")),
    "reversed season": (collection(s1s2={"season": ["07-01", "06-01"]}), ("s1s2", "season", "['07-01', '06-01']", 184)),
    "flag as text": (collection(s1s2={"season_lock": "no"}), ("s1s2.season_lock", "no", "boolean")),
    "number as text": (collection(s1s2={"max_cloud_fraction": "0.1"}), ("s1s2.max_cloud_fraction", "0.1", "number")),
    "flag as number": (collection(s1s2={"max_shift_months": True}), ("s1s2.max_shift_months", "true", "integer")),
    "no number": (
        '{"type": "FeatureCollection", "features": [], "s1s2": {"pixel_size_m": NaN}}',
        ("JSON", "NaN"),
    ),
    "bottomless": ("[" * 100_000, ("64",)),
    "settings beside the properties": (
        collection({**feature(), "s1s2": {"s1_orbit": 59}}),
        ("features[0].s1s2", "type", "properties", "geometry"),
    ),
    "endless name": (collection(feature("a" * 101)), ("features[0].properties.name", "a" * 101, 100)),
    "endless label": (
        collection(feature(periods=[{"label": "x" * 101, "start": "2019-06-01", "end": "2019-07-01"}])),
        ("features[0].properties.periods[0].label", "x" * 101, 100),
    ),
    "duplicate name": (
        collection(feature(), feature(lon=5.0)),
        ("features[1].properties.name", "here", "features[0]"),
    ),
    "unsafe name": (
        collection(feature("../../x")),
        ("features[0].properties.name", "../../x", 100),
    ),
    "unsafe recipe name": (collection(name="a/b"), ("name", "a/b", 100)),
    "no name": (
        collection({**feature(), "properties": {"split": "train"}}),
        ("features[0].properties.name", "None", 100),
    ),
    "split": (collection(feature(split="dev")), ("features[0].properties.split", "dev", "train", "val", "test")),
    "no polygon": (
        with_geometry({"type": "Point", "coordinates": [3, 50]}),
        ("features[0].geometry.type", "Point", "Polygon", "MultiPolygon"),
    ),
    "no geometry": (with_geometry(None), ("features[0].geometry", "None")),
    "bad coordinates": (
        with_geometry({"type": "Polygon", "coordinates": [[[3, 50], ["x", 1], [3, 51], [3, 50]]]}),
        ("features[0].geometry.coordinates", "'x'"),
    ),
    "self-crossing": (
        with_geometry(BOWTIE),
        ("features[0].geometry.coordinates", "Self-intersection", "[3.05 50.05]"),
    ),
    "empty": (with_geometry({"type": "Polygon", "coordinates": []}), ("features[0].geometry.coordinates", "empty")),
    "flat": (
        with_geometry({"type": "Polygon", "coordinates": [[[3, 50], [4, 50], [3, 50], [3, 50]]]}),
        ("features[0].geometry.coordinates", "Too few points", "[3 50]"),
    ),
    "metres": (
        with_geometry(square(500000, 5600000, 100)),
        ("features[0].geometry.coordinates", 500000, 500100, "-180..180", "-90..90"),
    ),
    "too large": (with_geometry(square(3, 40, 8)), ("features[0].geometry.coordinates", "8.0", "UTM", 6)),
    "leakage": (
        collection(feature(), feature("there", "test", lon=3.01)),
        ("features[1]", "there", "test", "here", "train", "s1s2.allow_split_overlap"),
    ),
    "flag": (collection(s1s2={"allow_split_overlap": "yes"}), ("s1s2.allow_split_overlap", "yes", "true", "false")),
}


@pytest.mark.parametrize("case", WRONG)
def test_refused_at_the_door(case: str) -> None:
    value, named = WRONG[case]
    with refuses(RecipeError, *named) as caught:
        parse(copy.deepcopy(value))
    assert str(caught.value).startswith("places.geojson")
    assert str(caught.value).count("\n") <= 1


@pytest.mark.parametrize(
    ("years", "named"),
    [
        ((2030,), (2030, 2015, 2026)),
        ((1999,), (1999, 2015, 2026)),
    ],
)
def test_wrong_years(years: tuple[int, ...], named: tuple[object, ...]) -> None:
    with refuses(RecipeError, "--years", *named):
        parse(collection(), years=years)


def test_years_may_be_in_any_order() -> None:
    assert parse(collection(), years=(2021, 2019, 2021)) == parse(collection(), years=(2019, 2021))


def test_periods_of_other_ages_are_refused() -> None:
    """Far years cannot be shifted by months."""
    for start, end in (("0001-01-01", "2019-07-01"), ("2019-06-01", "9999-12-31")):
        with refuses(RecipeError, start, end, 2000, 2100):
            parse(collection(s1s2={"periods": [{"label": "far", "start": start, "end": end}]}), years=())


def test_a_recipe_needs_periods_from_somewhere() -> None:
    with refuses(RecipeError, "features[0].properties", "periods", "--years"):
        parse(collection(), years=())


def test_shared_ground_within_a_split_or_with_leave() -> None:
    assert len(parse(collection(feature(), feature("there", lon=3.01))).rois) == 2
    crossing = collection(feature(), feature("there", "test", lon=3.01), s1s2={"allow_split_overlap": True})
    assert len(parse(crossing).rois) == 2


def test_neighbours_that_only_touch_share_no_ground() -> None:
    assert len(parse(collection(feature(), feature("there", "test", lon=3.02))).rois) == 2


@given(
    shifts=st.lists(
        st.tuples(st.floats(0, 0.2), st.floats(0, 0.2), st.sampled_from(["train", "val", "test"])),
        min_size=2,
        max_size=6,
    )
)
def test_no_accepted_recipe_shares_ground_across_splits(shifts: list[tuple[float, float, str]]) -> None:
    features = [feature(f"roi{i}", split, 3 + x, 50 + y) for i, (x, y, split) in enumerate(shifts)]
    polygons = [(shapely.geometry.shape(f["geometry"]), f["properties"]["split"]) for f in features]
    shares = any(
        one.intersection(other).area > 0
        for i, (one, s) in enumerate(polygons)
        for other, t in polygons[i + 1 :]
        if s != t
    )
    if shares:
        with refuses(RecipeError, "s1s2.allow_split_overlap"):
            parse(collection(*features))
    else:
        assert len(parse(collection(*features)).rois) == len(features)


def test_oscd() -> None:
    recipe = parse((ROIS / "oscd.geojson").read_text(encoding="utf-8"))
    splits = [roi.split for roi in recipe.rois]
    assert (recipe.name, len(splits), splits.count("train"), splits.count("test")) == ("oscd", 46, 30, 16)
    assert shared_ground(recipe.rois) == ()
    passes = [roi.settings.s1_pass for roi in recipe.rois]
    assert (passes.count("ascending"), passes.count("descending")) == (9, 37)
    beihai = next(roi for roi in recipe.rois if roi.name == "beihai")
    assert [p.start for p in beihai.settings.periods] == [dt.date(2019, 3, 7), dt.date(2021, 6, 7)]


def test_small() -> None:
    recipe = parse((ROIS / "small.geojson").read_text(encoding="utf-8"))
    assert {roi.split for roi in recipe.rois} == {"train", "val", "test"}
    assert shared_ground(recipe.rois) == ()
