"""What a STAC item says, in our words: scenes to choose from and rasters to read, for the catalogues we know."""

import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely.geometry
from pystac.utils import make_absolute_href
from shapely.geometry.base import BaseGeometry

from .. import geometry
from ..acquisition import OpticalScene
from ..bands import REFLECTANCE_SCALE, S1_POLARISATIONS, S2_BANDS, S2_NODATA, SCL_NO_DATA, asset_names
from ..errors import S1S2Error, SourceError
from ..recipe import OrbitPass
from .reading import Raster

OFFSET_BASELINE = (4, 0)
"""From this processing baseline on, L2A values are stored 1000 too high."""
OFFSET_DATE = dt.datetime(2022, 1, 25, tzinfo=dt.UTC)
"""No image taken before had that baseline unless it was processed again."""
_OFFSET = -0.1

_STRIP = re.compile(r"_S(\d{8}T\d{6})_")
_ANNOTATION = "schema-product-"
_WANTED = {name for band in (*S2_BANDS, *S1_POLARISATIONS, "SCL", "angle") for name in asset_names(band)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """The part of a STAC item that we use."""

    id: str
    collection: str
    properties: Mapping[str, Any]
    assets: Mapping[str, Mapping[str, Any]]
    geometry: Mapping[str, Any]
    href: str
    """Where it was read from: a path or URL, to which asset paths are relative."""

    def fault(self, problem: str) -> SourceError:
        """Return an error that names this item."""
        return SourceError(f"item {self.id} ({self.href}): {problem}")

    def required(self, name: str) -> Any:
        """Return a property that must be there.

        Raises:
            SourceError: It is not.
        """
        value = self.properties.get(name)
        if value is None:
            raise self.fault(f"the property `{name}` is missing")
        return value

    @property
    def footprint(self) -> BaseGeometry:
        """Ground the item holds data for, lon/lat."""
        return shapely.geometry.shape(dict(self.geometry))

    @property
    def acquired_at(self) -> dt.datetime:
        """Acquisition time, UTC: `datetime`, or `start_datetime` where that is null."""
        text = self.properties.get("datetime") or self.required("start_datetime")
        try:
            time = dt.datetime.fromisoformat(text)
        except (TypeError, ValueError) as error:
            raise self.fault(f"datetime {text!r} is no ISO 8601 time") from error
        return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)


def item_from_json(value: object, *, href: str, collection: str | None = None) -> Item:
    """Check the outline of a STAC item and keep what we use of it.

    Args:
        value: Parsed JSON.
        href: Where it was read from.
        collection: Collection it was found in, where the item does not say.

    Raises:
        SourceError: It is no STAC item.
    """
    if not isinstance(value, dict) or value.get("type") != "Feature" or not isinstance(value.get("id"), str):
        raise SourceError(f"{href}: no STAC item (a GeoJSON Feature with an id)")
    properties, assets, outline = value.get("properties"), value.get("assets"), value.get("geometry")
    if not isinstance(properties, dict) or not isinstance(assets, dict):
        raise SourceError(f"{href}: item {value['id']} has no `properties` or no `assets`")
    try:
        valid = isinstance(outline, dict) and not shapely.geometry.shape(outline).is_empty
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, shapely.errors.ShapelyError):
        valid = False
    if not isinstance(outline, dict) or not valid:
        raise SourceError(
            f"{href}: item {value['id']} has no usable `geometry`; without a footprint no ROI can be matched"
        )
    kept = {
        key: asset
        for key, asset in assets.items()
        if isinstance(asset, dict) and (key in _WANTED or key.startswith(_ANNOTATION))
    }
    return Item(
        id=value["id"],
        collection=str(value.get("collection") or collection or ""),
        properties=properties,
        assets=kept,
        geometry=outline,
        href=href,
    )


# --- Sentinel-2 ---------------------------------------------------------------------------------------------------------


def optical_scene(item: Item) -> OpticalScene:
    """Read what decides about a Sentinel-2 item.

    Raises:
        SourceError: It lacks what is needed.
    """
    properties = item.properties
    strip = _STRIP.search(str(properties.get("s2:datastrip_id", "")))
    return OpticalScene(
        id=item.id,
        acquired_at=item.acquired_at,
        platform=platform(item),
        relative_orbit=_integer(item, "sat:relative_orbit"),
        datatake_id=properties.get("s2:datatake_id"),
        tile=_tile(properties),
        strip=strip.group(1) if strip else "",
        processed=_processed(properties),
        footprint=item.footprint,
    )


def _tile(properties: Mapping[str, Any]) -> str:
    if tile := properties.get("s2:mgrs_tile"):
        return str(tile)
    if code := properties.get("grid:code"):
        return str(code).removeprefix("MGRS-")
    parts = [properties.get(f"mgrs:{part}", "") for part in ("utm_zone", "latitude_band", "grid_square")]
    return "".join(str(part) for part in parts)


def _processed(properties: Mapping[str, Any]) -> str:
    major, minor = _baseline(properties) or (0, 0)
    made = ("s2:generation_time", "processing:datetime", "created", "updated")
    time = next((str(properties[name]) for name in made if properties.get(name)), "")
    return f"{major:02d}.{minor:02d} {time} {properties.get('s2:sequence', '')}".rstrip()


def _baseline(properties: Mapping[str, Any]) -> tuple[int, int] | None:
    for name in ("s2:processing_baseline", "processing:version"):
        if found := re.fullmatch(r"(\d+)\.(\d+)", str(properties.get(name, ""))):
            return int(found.group(1)), int(found.group(2))
    return None


def reflectance_raster(item: Item, band: str) -> Raster:
    """Return the raster of a Sentinel-2 band with the scale and offset that turn its values into reflectance.

    The catalogue's own scale and offset count. Two traps are known: Earth Search lists an offset which has been taken off its
    files already, as another property says; the Planetary Computer lists none, and the processing baseline tells.

    Raises:
        SourceError: The asset is missing, or nothing tells its offset.
    """
    key, asset = _asset(item, band)
    fields = _band_fields(asset)
    scale, offset = fields.get("scale"), fields.get("offset")
    if item.properties.get("earthsearch:boa_offset_applied") is True:
        offset = 0.0
    elif offset is None:
        offset = 0.0 if scale is not None else _offset_by_baseline(item)
    return _raster(
        item,
        key,
        nodata=_number(item, key, fields.get("nodata"), S2_NODATA),
        scale=_number(item, key, scale, 1 / REFLECTANCE_SCALE),
        offset=_number(item, key, offset, 0.0),
    )


def _offset_by_baseline(item: Item) -> float:
    baseline = _baseline(item.properties)
    if baseline is not None:
        return _OFFSET if baseline >= OFFSET_BASELINE else 0.0
    if item.acquired_at < OFFSET_DATE:
        return 0.0
    raise item.fault(
        "neither `raster:bands` nor `s2:processing_baseline` tell whether its values are stored 1000 too high; add one of them"
    )


def scl_raster(item: Item) -> Raster:
    """Return the raster of a Sentinel-2 item's scene classes.

    Raises:
        SourceError: The asset is missing.
    """
    return _raster(item, _asset(item, "SCL")[0], nodata=SCL_NO_DATA)


# --- Sentinel-1 ---------------------------------------------------------------------------------------------------------


def is_wanted_sar(item: Item, polarisations: Sequence[str]) -> bool:
    """Tell whether an item is an IW image with all wanted polarisations.

    Raises:
        SourceError: It does not say.
    """
    held = item.properties.get("sar:polarizations")
    if held is None:
        held = [name for name in S1_POLARISATIONS if any(key in item.assets for key in asset_names(name))]
    return item.required("sar:instrument_mode") == "IW" and set(polarisations) <= set(held)


def orbit_pass(item: Item) -> OrbitPass:
    """Return whether an item was taken northbound or southbound.

    Raises:
        SourceError: It does not say.
    """
    state = str(item.required("sat:orbit_state")).lower()
    if state == "ascending":
        return "ascending"
    if state == "descending":
        return "descending"
    raise item.fault(f"`sat:orbit_state` is {state!r}; allowed are ascending, descending")


def relative_orbit(item: Item) -> int:
    """Return the relative orbit, worked out from the absolute one where it is not given.

    Raises:
        SourceError: Neither is given.
    """
    given = _integer(item, "sat:relative_orbit")
    if given is not None:
        return given
    absolute = absolute_orbit(item)
    if absolute is None:
        raise item.fault("the property `sat:relative_orbit` is missing")
    try:
        return geometry.relative_orbit(absolute, platform(item))
    except S1S2Error as error:
        raise item.fault(f"no `sat:relative_orbit`, and {error}") from error


def absolute_orbit(item: Item) -> int | None:
    """Return the absolute orbit where it is known."""
    return _integer(item, "sat:absolute_orbit")


def platform(item: Item) -> str:
    """Return the satellite, e.g. `sentinel-1a`.

    Raises:
        SourceError: The item does not say.
    """
    return str(item.required("platform")).lower()


def backscatter_raster(item: Item, polarisation: str) -> Raster:
    """Return the raster of one polarisation.

    Raises:
        SourceError: The asset is missing, or its values are uncalibrated.
    """
    key, asset = _asset(item, polarisation)
    fields = _band_fields(asset)
    decibel = str(fields.get("unit", "")).lower() == "db"
    if str(fields.get("data_type", "")).startswith(("uint", "int")) and not decibel and fields.get("scale") is None:
        raise item.fault(
            f"asset {key} holds {fields['data_type']} without unit or scale: uncalibrated amplitudes; wanted is backscatter, "
            "linear or in dB"
        )
    return _raster(
        item,
        key,
        nodata=_number(item, key, fields.get("nodata"), None),
        scale=_number(item, key, fields.get("scale"), 1.0),
        offset=_number(item, key, fields.get("offset"), 0.0),
        decibel=decibel,
    )


def angle_raster(item: Item) -> Raster | None:
    """Return the raster of incidence angles, None where the item has none."""
    if not any(name in item.assets for name in asset_names("angle")):
        return None
    key, asset = _asset(item, "angle")
    return _raster(item, key, nodata=_number(item, key, _band_fields(asset).get("nodata"), None))


def annotation_href(item: Item) -> str | None:
    """Return where the product's annotation lies, None where the item does not list it."""
    for key, asset in sorted(item.assets.items(), reverse=True):
        if key.startswith(_ANNOTATION):
            return make_absolute_href(str(asset.get("href")), item.href)
    return None


# --- both ---------------------------------------------------------------------------------------------------------------


def _asset(item: Item, band: str) -> tuple[str, Mapping[str, Any]]:
    names = tuple(dict.fromkeys(asset_names(band)))
    for name in names:
        if name in item.assets:
            return name, item.assets[name]
    raise item.fault(
        f"no asset for {band} (looked for {', '.join(names)}); it has {', '.join(sorted(item.assets)) or 'none'}"
    )


def _band_fields(asset: Mapping[str, Any]) -> dict[str, Any]:
    """Collect what an asset says of its only band: in `raster:bands`, in STAC 1.1 `bands`, or beside them."""
    fields: dict[str, Any] = {}
    for source in (asset, *(asset.get("bands") or [])[:1], *(asset.get("raster:bands") or [])[:1]):
        for name in ("scale", "offset", "nodata", "unit", "data_type"):
            for key in (f"raster:{name}", name):
                if source.get(key) is not None:
                    fields[name] = source[key]
    return fields


def _raster(
    item: Item, key: str, *, nodata: float | None, scale: float = 1.0, offset: float = 0.0, decibel: bool = False
) -> Raster:
    asset = item.assets[key]
    href = asset.get("href")
    if not isinstance(href, str) or not href:
        raise item.fault(f"asset {key} has no `href`")
    return Raster(
        label=f"item {item.id}, asset {key}",
        href=make_absolute_href(href, item.href),
        crs=_crs(item, key, asset),
        nodata=nodata,
        scale=scale,
        offset=offset,
        decibel=decibel,
    )


def _crs(item: Item, key: str, asset: Mapping[str, Any]) -> str:
    for source in (asset, item.properties):
        if code := source.get("proj:code"):
            return str(code)
        if epsg := source.get("proj:epsg"):
            return f"EPSG:{epsg}"
        if wkt := source.get("proj:wkt2"):
            return str(wkt)
    raise item.fault(
        f"asset {key} has no CRS (`proj:code`); only images on a map grid can be read, not ones in radar geometry"
    )


def _number(item: Item, key: str, value: object, default: Any) -> Any:
    if value is None:
        return default
    if isinstance(value, str) and value.lower() in ("nan", "inf", "-inf"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise item.fault(f"asset {key}: {value!r} is no number")
    return value if math.isfinite(value) else float(value)


def _integer(item: Item, name: str) -> int | None:
    value = item.properties.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise item.fault(f"`{name}` is {value!r}; a whole number is wanted")
    return value
