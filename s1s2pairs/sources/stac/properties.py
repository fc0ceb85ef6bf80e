"""The properties of STAC items and assets that we use, turned into our types: nothing past here meets another."""

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ...untrusted import shown

_FIRST_YEAR, _LAST_YEAR = 2000, 2100
"""No image of the Sentinels was or will be taken outside these; far years cannot be shifted by months or time zones."""
_MOST: Final = 10**9
"""No whole number that we use, an orbit or an EPSG code, is larger."""
_MOST_SCALE: Final = 1e6
_MOST_NODATA: Final = 2**63
"""No pixel holds a larger whole number."""
_NOT_FINITE: Final = ("nan", "inf", "-inf")
"""As STAC writes them, JSON having no such numbers."""


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("expected text")
    return shown(value)


def _whole(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MOST:
        raise ValueError("expected a whole number")
    return value


def number(value: object) -> float | None:
    """Return a finite number; an int stays one.

    Raises:
        ValueError: It is something else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MOST_SCALE:
        raise ValueError(f"expected a number of at most {_MOST_SCALE:g}")
    return value


def _nodata(value: object) -> float | None:
    if isinstance(value, str) and value.lower() in _NOT_FINITE:
        return float(value)
    if value is None:
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("no number")
        return value if abs(value) < _MOST_NODATA else float(value)
    except (ValueError, OverflowError) as error:
        raise ValueError("expected a number, or nan, inf, -inf as text") from error


def _time(value: object) -> dt.datetime | None:
    if value is None:
        return None
    try:
        time = dt.datetime.fromisoformat(value)  # type: ignore[arg-type] # takes a blank for the T, as real items have it
    except (TypeError, ValueError) as error:
        raise ValueError("expected an ISO 8601 time") from error
    if not _FIRST_YEAR <= time.year <= _LAST_YEAR:
        raise ValueError(f"expected a time from {_FIRST_YEAR} to {_LAST_YEAR}")
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)


def _texts(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError("expected a list of texts")
    return tuple(value)


Text = Annotated[str | None, BeforeValidator(_text)]
Whole = Annotated[int | None, BeforeValidator(_whole)]
Number = Annotated[int | float | None, BeforeValidator(number)]
Nodata = Annotated[int | float | None, BeforeValidator(_nodata)]
Time = Annotated[dt.datetime | None, BeforeValidator(_time)]
Texts = Annotated[tuple[str, ...] | None, BeforeValidator(_texts)]
Flag = Annotated[bool, BeforeValidator(lambda value: value is True)]


class Fields(BaseModel):
    """The fields of one kind, by the names they have in STAC."""

    model_config = ConfigDict(extra="ignore", frozen=True, arbitrary_types_allowed=True)


class Properties(Fields):
    """Of an item; None where it does not say."""

    datetime: Time = None
    start_datetime: Time = None
    platform: Text = None
    proj_code: Text = Field(None, alias="proj:code")
    proj_epsg: Whole = Field(None, alias="proj:epsg")
    proj_wkt2: Text = Field(None, alias="proj:wkt2")
    relative_orbit: Whole = Field(None, alias="sat:relative_orbit")
    absolute_orbit: Whole = Field(None, alias="sat:absolute_orbit")
    orbit_state: Text = Field(None, alias="sat:orbit_state")
    instrument_mode: Text = Field(None, alias="sar:instrument_mode")
    polarizations: Texts = Field(None, alias="sar:polarizations")
    incidence_angle: Number = Field(None, alias="view:incidence_angle")
    s2_datatake_id: Text = Field(None, alias="s2:datatake_id")
    eopf_datatake_id: Text = Field(None, alias="eopf:datatake_id")
    s2_datastrip_id: Text = Field(None, alias="s2:datastrip_id")
    eopf_datastrip_id: Text = Field(None, alias="eopf:datastrip_id")
    s2_mgrs_tile: Text = Field(None, alias="s2:mgrs_tile")
    grid_code: Text = Field(None, alias="grid:code")
    mgrs_utm_zone: Text = Field(None, alias="mgrs:utm_zone")
    mgrs_latitude_band: Text = Field(None, alias="mgrs:latitude_band")
    mgrs_grid_square: Text = Field(None, alias="mgrs:grid_square")
    sentinel_utm_zone: Text = Field(None, alias="sentinel:utm_zone")
    sentinel_latitude_band: Text = Field(None, alias="sentinel:latitude_band")
    sentinel_grid_square: Text = Field(None, alias="sentinel:grid_square")
    s2_processing_baseline: Text = Field(None, alias="s2:processing_baseline")
    processing_version: Text = Field(None, alias="processing:version")
    sentinel_processing_baseline: Text = Field(None, alias="sentinel:processing_baseline")
    s2_generation_time: Text = Field(None, alias="s2:generation_time")
    processing_datetime: Text = Field(None, alias="processing:datetime")
    created: Text = None
    updated: Text = None
    s2_sequence: Text = Field(None, alias="s2:sequence")
    sentinel_sequence: Text = Field(None, alias="sentinel:sequence")
    earthsearch_boa_offset_applied: Flag = Field(False, alias="earthsearch:boa_offset_applied")
    sentinel_boa_offset_applied: Flag = Field(False, alias="sentinel:boa_offset_applied")


class Asset(Fields):
    """Of an item; what is said of its only band stands beside the rest. None where it does not say."""

    href: Text = None
    description: Text = None
    roles: Texts = None
    storage_refs: Texts = Field(None, alias="storage:refs")
    proj_code: Text = Field(None, alias="proj:code")
    proj_epsg: Whole = Field(None, alias="proj:epsg")
    proj_wkt2: Text = Field(None, alias="proj:wkt2")
    scale: Number = None
    offset: Number = None
    nodata: Nodata = None
    unit: Text = None
    data_type: Text = None


_BAND_FIELDS: Final = ("scale", "offset", "nodata", "unit", "data_type")


def properties_of(value: Mapping[str, Any]) -> Properties:
    """Keep the properties that we use.

    Raises:
        ValueError: One is of another type than ours; says which.
    """
    return _checked(Properties, value)


def asset_of_json(value: object) -> Asset:
    """Keep what we use of an asset, and of its only band: from `raster:bands`, from STAC 1.1 `bands`, or from beside them.

    Raises:
        ValueError: It is no asset, or something in it is of another type than ours; says what.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{shown(value)}: expected an object")
    fields = dict(value)
    for source in (value, _first_band(value, "bands"), _first_band(value, "raster:bands")):
        for name in _BAND_FIELDS:
            for key in (f"raster:{name}", name):
                if source.get(key) is not None:
                    fields[name] = source[key]
    return _checked(Asset, fields)


def _first_band(asset: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    bands = asset.get(key)
    if not bands:
        return {}
    if not isinstance(bands, list) or not isinstance(bands[0], Mapping):
        raise ValueError(f"`{key}` is {shown(bands)}; expected a list of objects")
    return bands[0]


_Kind = TypeVar("_Kind", bound=Fields)


def _checked(kind: type[_Kind], value: Mapping[str, Any]) -> _Kind:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        wanted = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"`{first['loc'][0]}` is {shown(first['input'])}; {wanted}") from error
