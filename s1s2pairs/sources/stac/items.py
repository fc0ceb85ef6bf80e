"""STAC items: the part that we use, checked, and the rasters of their assets."""

import datetime as dt
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import shapely
import shapely.geometry
from pystac.utils import make_absolute_href
from shapely.geometry.base import BaseGeometry

from ...errors import SourceError
from ...sensors import S1_POLARISATIONS, S2_BANDS, asset_names
from .raster import Raster

ANNOTATION = "schema-product-"
_NAMES_SHOWN = 12
"""Of an item's assets, in messages."""
_SATELLITE = re.compile(r"S([12][A-D])_")
_WANTED = {name for band in (*S2_BANDS, *S1_POLARISATIONS, "SCL", "angle") for name in asset_names(band)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """The part of a STAC item that we use."""

    id: str
    collection: str
    properties: Mapping[str, Any]
    assets: Mapping[str, Mapping[str, Any]]
    """Those that we may read."""
    others: tuple[str, ...]
    """Names of its other assets."""
    footprint: BaseGeometry
    """Ground it holds data for, lon/lat."""
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
    def acquired_at(self) -> dt.datetime:
        """Acquisition time, UTC: `datetime`, or `start_datetime` where that is null."""
        return self._time(self.properties.get("datetime") or self.required("start_datetime"))

    @property
    def started_at(self) -> dt.datetime:
        """When recording began, UTC: `start_datetime`, or `datetime`, which of a radar slice is often the middle."""
        return self._time(self.properties.get("start_datetime") or self.required("datetime"))

    def _time(self, text: Any) -> dt.datetime:
        try:
            time = dt.datetime.fromisoformat(text)  # takes a blank for the T, as real items have it
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
    footprint = _footprint(outline)
    if footprint.is_empty:
        raise SourceError(
            f"{href}: item {value['id']} has no usable `geometry`; without a footprint no ROI can be matched"
        )
    kept = {
        key: asset
        for key, asset in assets.items()
        if isinstance(asset, dict) and (key in _WANTED or key.startswith(ANNOTATION))
    }
    return Item(
        id=value["id"],
        collection=str(value.get("collection") or collection or ""),
        properties=properties,
        assets=kept,
        others=tuple(sorted(assets.keys() - kept.keys())),
        footprint=footprint,
        href=href,
    )


def _footprint(outline: object) -> BaseGeometry:
    """Return a geometry of GeoJSON, empty where it is none. Empty parts, which real items have, are left out."""
    if not isinstance(outline, dict):
        return shapely.Point()
    if outline.get("type") == "MultiPolygon" and isinstance(outline.get("coordinates"), list):
        outline = outline | {"coordinates": [part for part in outline["coordinates"] if part and part[0]]}
    try:
        return shapely.geometry.shape(outline)
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, shapely.errors.ShapelyError):
        return shapely.Point()


def platform(item: Item) -> str:
    """Return the satellite, e.g. `sentinel-1a`: the property, else as ESA's names begin, else `unknown`."""
    if stated := item.properties.get("platform"):
        return str(stated).lower()
    named = _SATELLITE.match(item.id)
    return f"sentinel-{named.group(1)}".lower() if named else "unknown"


def asset_of(item: Item, band: str) -> tuple[str, Mapping[str, Any]]:
    """Return the name and the text of the asset that holds a band (`B2`, `VV`, `SCL`, `angle`).

    Raises:
        SourceError: There is none.
    """
    names = tuple(dict.fromkeys(asset_names(band)))
    for name in names:
        if name in item.assets:
            return name, item.assets[name]
    raise item.fault(
        f"no asset for {band} (looked for {', '.join(names)}); it has {_some_of([*item.assets, *item.others])}"
    )


def _some_of(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - _NAMES_SHOWN} more" if len(listed) > _NAMES_SHOWN else ""
    return (", ".join(listed[:_NAMES_SHOWN]) or "none") + more


def band_fields(asset: Mapping[str, Any]) -> dict[str, Any]:
    """Collect what an asset says of its only band: in `raster:bands`, in STAC 1.1 `bands`, or beside them."""
    fields: dict[str, Any] = {}
    for source in (asset, *(asset.get("bands") or [])[:1], *(asset.get("raster:bands") or [])[:1]):
        for name in ("scale", "offset", "nodata", "unit", "data_type"):
            for key in (f"raster:{name}", name):
                if source.get(key) is not None:
                    fields[name] = source[key]
    return fields


def raster_of(
    item: Item, key: str, *, nodata: float | None, scale: float = 1.0, offset: float = 0.0, decibel: bool = False
) -> Raster:
    """Return an asset of an item as a raster to read.

    Raises:
        SourceError: It has no file or no CRS.
    """
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
        endpoint=_endpoint(item, asset),
    )


def _endpoint(item: Item, asset: Mapping[str, Any]) -> str:
    """Return the URL of the object storage that an asset lies in: the first that it refers to, if any."""
    schemes = item.properties.get("storage:schemes")
    if not isinstance(schemes, Mapping):
        return ""
    named = [schemes[ref] for ref in asset.get("storage:refs") or () if isinstance(schemes.get(ref), Mapping)]
    return str(named[0].get("platform", "")) if named and named[0].get("type") == "custom-s3" else ""


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


def number_of(item: Item, key: str, value: object, default: Any) -> Any:
    """Return a number an asset states, `default` where it does not.

    Raises:
        SourceError: It states something else.
    """
    if value is None:
        return default
    if isinstance(value, str) and value.lower() in ("nan", "inf", "-inf"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise item.fault(f"asset {key}: {value!r} is no number")
    return value if math.isfinite(value) else float(value)


def integer_of(item: Item, name: str) -> int | None:
    """Return a whole-number property, None where it is missing.

    Raises:
        SourceError: It is something else.
    """
    value = item.properties.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise item.fault(f"`{name}` is {value!r}; a whole number is wanted")
    return value
