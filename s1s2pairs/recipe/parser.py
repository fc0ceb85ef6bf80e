"""The text of a recipe, turned into frozen values; whatever is wrong in it is refused with one message.

A recipe is a GeoJSON FeatureCollection. This module reads no file and no clock.
"""

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import shapely
import shapely.geometry
from pydantic import TypeAdapter, ValidationError
from shapely.geometry.base import BaseGeometry

from ..errors import RecipeError
from ..untrusted import Unusable, cut, parse_json, shown
from .settings import PatchSettings, Period, Recipe, Roi, Settings

MEMBERS = ("type", "features", "name", "s1s2", "id", "bbox", "crs", "title", "description", "license", "attribution")
"""Members a recipe's FeatureCollection may have."""
FEATURE_MEMBERS = ("type", "properties", "geometry", "id", "bbox")
SAFE_NAME = re.compile(r"[a-z0-9_-]{1,100}")
"""File systems end names at 255 bytes; a patch's name adds its place to the ROI's."""
FIRST_S2_YEAR = 2015
"""Sentinel-2 has no images before."""


@dataclass(frozen=True, slots=True)
class _Location:
    """Where in which file a value stands, for messages."""

    file: str
    path: str = ""

    def at(self, step: str | int) -> Self:
        path = f"{self.path}[{step}]" if isinstance(step, int) else f"{self.path}.{step}".lstrip(".")
        return replace(self, path=path)

    def refuse(self, problem: str) -> RecipeError:
        where = f" at {self.path}" if self.path else ""
        return RecipeError(f"{self.file}{where}: {problem}")


def parse_recipe(
    text: str,
    *,
    file: str,
    today: dt.date,
    default_name: str,
    years: Sequence[int] = (),
    default_years: Sequence[int] = (),
) -> Recipe:
    """Check the text of a recipe and resolve every ROI's settings.

    Args:
        text: GeoJSON FeatureCollection, lon/lat.
        file: Name of the file, for messages.
        today: Periods that start later are refused.
        default_name: Name of the recipe where the file gives none.
        years: The years asked for. Each is the listed period with that label, else made from the season. Without years
            the listed periods are built.
        default_years: The years of ROIs that list no periods, where no years are asked for.

    Raises:
        RecipeError: Anything at all is wrong; the text says what, where, the value and what is allowed.
    """
    location, years = _Location(file), sorted(set(years))
    collection = _load(text, location)
    _check_years(years, today)
    name = collection.get("name", default_name)
    _check_name(name, location.at("name"))
    shared = dict(_mapping(collection.get("s1s2", {}), location.at("s1s2")))
    overlap_allowed = shared.pop("allow_split_overlap", False)
    if not isinstance(overlap_allowed, bool):
        raise (
            location.at("s1s2").at("allow_split_overlap").refuse(f"{shown(overlap_allowed)} is neither true nor false")
        )
    _settings(shared, {}, location.at("s1s2"))
    features = collection.get("features")
    if not isinstance(features, list) or not features:
        raise location.at("features").refuse("a recipe needs a list of at least one feature")
    rois = tuple(
        _roi(feature, shared, (years, default_years), today, location.at("features").at(i))
        for i, feature in enumerate(features)
    )
    _check_unique(rois, location)
    if not overlap_allowed:
        _check_leakage(rois, location)
    return Recipe(name=name, rois=rois)


def _load(text: str, location: _Location) -> Mapping[str, Any]:
    try:
        collection = parse_json(text, constants=False)
    except Unusable as error:
        raise location.refuse(str(error)) from error
    if not isinstance(collection, dict) or collection.get("type") != "FeatureCollection":
        got = collection.get("type") if isinstance(collection, dict) else type(collection).__name__
        raise location.refuse(f"a recipe is a GeoJSON FeatureCollection; this is {shown(got)}")
    for key in collection:
        if key not in MEMBERS:
            raise location.at(key).refuse(f"unknown member; allowed are {', '.join(MEMBERS)}")
    crs = collection.get("crs")
    if crs is not None and "CRS84" not in json.dumps(crs) and "4326" not in json.dumps(crs):
        raise location.at("crs").refuse(
            f"{shown(crs)}: GeoJSON coordinates are lon/lat (RFC 7946); remove `crs` and reproject"
        )
    return collection


def _mapping(value: object, location: _Location) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise location.refuse(f"{shown(value)}: expected an object")
    return value


def _check_years(years: Sequence[int], today: dt.date) -> None:
    for year in years:
        if not FIRST_S2_YEAR <= year <= today.year:
            raise RecipeError(f"--years {year}: Sentinel-2 has images from {FIRST_S2_YEAR} to {today.year}")


def _check_name(name: object, location: _Location) -> None:
    if not isinstance(name, str) or not SAFE_NAME.fullmatch(name):
        raise location.refuse(f"invalid name {shown(name)}: use at most 100 of a-z 0-9 _ - (it names a folder)")


_SETTINGS: TypeAdapter[Settings] = TypeAdapter(Settings)
SETTING_NAMES = tuple(f.name for f in fields(Settings))


def _settings(shared: Mapping[str, Any], own: Mapping[str, Any], location: _Location) -> Settings:
    try:
        return _SETTINGS.validate_json(json.dumps({**shared, **own}), strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # A value that fits no branch of a union gives one problem a branch; they share the key, and belong in one message.
        same = [problem for problem in problems if problem["loc"][:1] == problems[0]["loc"][:1]]
        branches = len(same) > 1 and all(problem["input"] == same[0]["input"] for problem in same)
        for step in problems[0]["loc"][: 1 if branches else None]:
            location = location.at(step)
        raise location.refuse(_reason(same if branches else same[:1])) from error


_KEYS = {(): SETTING_NAMES, ("patch",): tuple(f.name for f in fields(PatchSettings))}
"""Place of an object in the settings -> its keys."""


def _reason(problems: Sequence[Any]) -> str:
    first = problems[0]
    messages = [problem["msg"].removeprefix("Value error, ") for problem in problems]
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        keys = _KEYS.get(first["loc"][:-1], tuple(f.name for f in fields(Period)))
        return f"unknown key; allowed are {', '.join(keys)}"
    if first["type"] == "value_error":
        return str(messages[0])
    return f"{cut(json.dumps(first['input']))}: {' or '.join(messages)}"


def _roi(
    feature: object,
    shared: Mapping[str, Any],
    years: tuple[Sequence[int], Sequence[int]],
    today: dt.date,
    location: _Location,
) -> Roi:
    feature = _mapping(feature, location)
    if feature.get("type") != "Feature":
        raise location.at("type").refuse(f"{shown(feature.get('type'))}: each entry of a recipe is a Feature")
    for key in feature:
        if key not in FEATURE_MEMBERS:
            raise location.at(key).refuse(
                f"unknown member; allowed are {', '.join(FEATURE_MEMBERS)}: a ROI's settings stand in `properties`"
            )
    inner = location.at("properties")
    properties = dict(_mapping(feature.get("properties") or {}, inner))
    name, split = properties.pop("name", None), properties.pop("split", None)
    _check_name(name, inner.at("name"))
    if split not in ("train", "val", "test"):
        raise inner.at("split").refuse(f"{shown(split)}; allowed are train, val, test")
    for key in properties:
        if key not in SETTING_NAMES:
            raise inner.at(key).refuse(f"unknown key; allowed are name, split, {', '.join(SETTING_NAMES)}")
    settings = _settings(shared, properties, inner)
    asked, default = years
    if asked or (default and not settings.periods):
        periods = tuple(settings.period_of(year) for year in asked or default)
    elif settings.periods:
        periods = settings.periods
    else:
        raise inner.refuse("no periods: list them under `periods`, or name years with --years 2019 2021")
    for period in periods:
        if period.start >= today:
            raise inner.at("periods").refuse(f"period {period.label} starts {period.start}, which is not in the past")
    polygon = _polygon(feature.get("geometry"), location.at("geometry"))
    return Roi(name=name, split=split, polygon=polygon, settings=replace(settings, periods=periods))


def _polygon(geometry: object, location: _Location) -> BaseGeometry:
    geometry = _mapping(geometry, location)
    if geometry.get("type") not in ("Polygon", "MultiPolygon"):
        raise location.at("type").refuse(f"{shown(geometry.get('type'))}; allowed are Polygon and MultiPolygon")
    try:
        polygon = shapely.force_2d(shapely.geometry.shape(dict(geometry)))
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError, shapely.errors.ShapelyError) as error:
        raise location.at("coordinates").refuse(
            f"no polygon can be made of these coordinates: {cut(str(error))}"
        ) from error
    if polygon.is_empty:
        raise location.at("coordinates").refuse("the polygon is empty")
    west, south, east, north = polygon.bounds
    if not (west >= -180 and east <= 180 and south >= -90 and north <= 90):
        raise location.at("coordinates").refuse(
            f"bounds {west:g} {south:g} {east:g} {north:g} lie outside lon -180..180, lat -90..90; GeoJSON is lon/lat degrees"
        )
    if not polygon.is_valid:
        raise location.at("coordinates").refuse(f"the polygon is not valid: {shapely.is_valid_reason(polygon)}")
    if east - west > 6 or north - south > 6:
        raise location.at("coordinates").refuse(
            f"the polygon spans {east - west:.1f} x {north - south:.1f} degrees; a ROI fits in one UTM zone (6 degrees): split it"
        )
    return polygon


def _check_unique(rois: Sequence[Roi], location: _Location) -> None:
    seen: dict[str, int] = {}
    for i, roi in enumerate(rois):
        if roi.name in seen:
            here = location.at("features").at(i).at("properties").at("name")
            raise here.refuse(f"{roi.name!r} is already the name of features[{seen[roi.name]}]; names must be unique")
        seen[roi.name] = i


def _check_leakage(rois: Sequence[Roi], location: _Location) -> None:
    tree = shapely.STRtree([roi.polygon for roi in rois])
    near = tree.query([roi.polygon for roi in rois], predicate="intersects").T
    for i, j in sorted((int(i), int(j)) for i, j in near if i < j):
        one, other = rois[i], rois[j]
        if one.split != other.split and one.polygon.intersection(other.polygon).area > 0:
            raise (
                location.at("features")
                .at(j)
                .refuse(
                    f"{other.name} ({other.split}) shares ground with {one.name} ({one.split}): training would see what it "
                    "is tested on; give both one split, or set s1s2.allow_split_overlap"
                )
            )
