"""STAC items: the part that we use, checked, and the rasters of their assets."""

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import shapely
import shapely.geometry
from pystac.utils import make_absolute_href
from shapely.geometry.base import BaseGeometry

from ...errors import SourceError
from ...sensors import S1_POLARISATIONS, S2_BANDS, asset_names
from ...untrusted import cut, shown
from ..grouping import is_on_earth
from .properties import Asset, Properties, asset_of_json, properties_of
from .raster import Raster

LONGEST_OVERFLIGHT = dt.timedelta(minutes=30)
"""A slice takes half a minute, a whole data take up to 25 minutes."""
ANNOTATION = "schema-product-"
_OF_CONTENT = (
    *("file:checksum", "checksum:multihash", "file:size"),
    *("raster:bands", "bands", "raster:scale", "raster:offset", "nodata", "unit"),
)
"""Fields of an asset that say what its file holds."""
_NAMES_SHOWN = 12
"""Of an item's assets, in messages."""
_MOST_ID_CHARACTERS = 1000
"""Real ones have up to 100."""
_SATELLITE = re.compile(r"S([12][A-D])_")
_WANTED = {name for band in (*S2_BANDS, *S1_POLARISATIONS, "SCL", "angle") for name in asset_names(band)}


class Outline(NamedTuple):
    """What tells whom an item concerns, before anything else in it is believed."""

    id: str
    collection: str
    footprint: BaseGeometry
    """Ground it holds data for, lon/lat."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """The part of a STAC item that we use."""

    id: str
    collection: str
    properties: Properties
    stated: Mapping[str, object]
    """Its assets that we may read, as its text has them: `asset` makes sense of one."""
    others: tuple[str, ...]
    """Names of its other assets."""
    footprint: BaseGeometry
    """Ground it holds data for, lon/lat."""
    href: str
    """Where it was read from: a path or URL, to which asset paths are relative."""
    schemes: Mapping[str, str]
    """`storage:schemes`: name -> URL of an object storage with an endpoint of its own."""
    version: str
    """Changes when the item is updated, or says something else of what its files hold; not when they are moved."""

    def fault(self, problem: str) -> SourceError:
        """Return an error that names this item."""
        return SourceError(f"item {self.id} ({self.href}): {problem}")

    def missing(self, name: str) -> SourceError:
        """Return an error that names a property which must be there."""
        return self.fault(f"the property `{name}` is missing")

    def asset(self, key: str) -> Asset:
        """Return one of the assets that we may read.

        Raises:
            SourceError: Something in it is of another type than it should be.
        """
        try:
            return asset_of_json(self.stated[key])
        except ValueError as error:
            raise self.fault(f"asset {key}: {error}") from error

    def address(self, href: str) -> str:
        """Return an address or path of the item's text as one that can be read from anywhere.

        Raises:
            SourceError: It is neither.
        """
        try:
            return make_absolute_href(href, self.href)
        except ValueError as error:
            raise self.fault(f"`href` is {shown(href)}: {error}") from error

    @property
    def acquired_at(self) -> dt.datetime:
        """Acquisition time, UTC: `datetime`, or `start_datetime` where that is null."""
        time = self.properties.datetime or self.properties.start_datetime
        if time is None:
            raise self.missing("start_datetime")
        return time

    @property
    def started_at(self) -> dt.datetime:
        """When recording began, UTC: `start_datetime`, or `datetime`, which of a radar slice is often the middle.

        An item that spans more than an overflight is a mean over time, and its `datetime` tells where that lies.
        """
        start, middle = self.properties.start_datetime, self.acquired_at
        return start if start is not None and middle - start <= LONGEST_OVERFLIGHT else middle


def outline_from_json(value: object, *, href: str, collection: str | None = None) -> Outline:
    """Check that something is a STAC item, and return what tells whom it concerns.

    Args:
        value: Parsed JSON.
        href: Where it was read from.
        collection: Collection it was found in, where the item does not say.

    Raises:
        SourceError: It is no STAC item, or nothing tells where it lies.
    """
    if not isinstance(value, dict) or value.get("type") != "Feature" or not isinstance(value.get("id"), str):
        raise SourceError(f"{href}: expected a STAC item (a GeoJSON Feature with an id)")
    if len(value["id"]) > _MOST_ID_CHARACTERS:
        raise SourceError(f"{href}: the id {cut(value['id'])} is too long; at most {_MOST_ID_CHARACTERS} are allowed")
    if not isinstance(value.get("properties"), dict) or not isinstance(value.get("assets"), dict):
        raise SourceError(f"{href}: item {value['id']} has no `properties` or no `assets`")
    footprint = _footprint(value.get("geometry"))
    if footprint.is_empty:
        raise SourceError(
            f"{href}: item {value['id']} has no usable `geometry`; without a footprint no ROI can be matched"
        )
    return Outline(value["id"], str(value.get("collection") or collection or ""), footprint)


def item_from_json(value: object, *, href: str, collection: str | None = None) -> Item:
    """Check a STAC item and keep what we use of it. Arguments as for `outline_from_json`.

    Raises:
        SourceError: It is no STAC item, or a property is of another type than it should be.
    """
    outline = outline_from_json(value, href=href, collection=collection)
    whole: Mapping[str, Any] = value  # type: ignore[assignment] # it has an outline
    try:
        properties = properties_of(whole["properties"])
    except ValueError as error:
        raise SourceError(f"item {outline.id} ({href}): {error}") from error
    assets = whole["assets"]
    kept = {key: asset for key, asset in assets.items() if key in _WANTED or key.startswith(ANNOTATION)}
    return Item(
        id=outline.id,
        collection=outline.collection,
        properties=properties,
        stated=kept,
        others=tuple(sorted(assets.keys() - kept.keys())),
        footprint=outline.footprint,
        href=href,
        schemes=_schemes(whole["properties"].get("storage:schemes")),
        version=_version(whole["properties"], kept),
    )


def _version(properties: Mapping[str, Any], assets: Mapping[str, object]) -> str:
    held = {
        key: {name: asset.get(name) for name in _OF_CONTENT}
        for key, asset in assets.items()
        if isinstance(asset, Mapping)
    }
    facts = [properties.get("updated"), properties.get("datetime"), held]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _footprint(outline: object) -> BaseGeometry:
    """Return a geometry of GeoJSON, empty where it is none. Empty parts, which real items have, are left out."""
    if not isinstance(outline, dict):
        return shapely.Point()
    if outline.get("type") == "MultiPolygon" and isinstance(outline.get("coordinates"), list):
        outline = outline | {"coordinates": [part for part in outline["coordinates"] if part and part[0]]}
    try:
        footprint = shapely.force_2d(shapely.geometry.shape(outline))
        usable = footprint.is_empty or is_on_earth(footprint)
        return (
            shapely.make_valid(footprint)
            if usable and not footprint.is_valid
            else footprint
            if usable
            else shapely.Point()
        )
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError, shapely.errors.ShapelyError):
        return shapely.Point()


def _schemes(stated: object) -> dict[str, str]:
    if not isinstance(stated, Mapping):
        return {}
    return {
        str(name): str(scheme.get("platform", ""))
        for name, scheme in stated.items()
        if isinstance(scheme, Mapping) and scheme.get("type") == "custom-s3"
    }


def platform(item: Item) -> str:
    """Return the satellite, e.g. `sentinel-1a`: the property, else as ESA's names begin, else `unknown`."""
    if stated := item.properties.platform:
        return stated.lower()
    named = _SATELLITE.match(item.id)
    return f"sentinel-{named.group(1)}".lower() if named else "unknown"


def asset_of(item: Item, band: str) -> tuple[str, Asset]:
    """Return the name and the fields of the asset that holds a band (`B2`, `VV`, `SCL`, `angle`).

    Raises:
        SourceError: There is none, or something in it is of another type than it should be.
    """
    names = tuple(dict.fromkeys(asset_names(band)))
    for name in names:
        if name in item.stated:
            return name, item.asset(name)
    raise item.fault(
        f"no asset for {band} (looked for {', '.join(names)}); it has {_some_of([*item.stated, *item.others])}"
    )


def _some_of(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - _NAMES_SHOWN} more" if len(listed) > _NAMES_SHOWN else ""
    return (", ".join(listed[:_NAMES_SHOWN]) or "none") + more


def raster_of(
    item: Item,
    key: str,
    asset: Asset,
    *,
    nodata: float | None,
    scale: float = 1.0,
    offset: float = 0.0,
    decibel: bool = False,
) -> Raster:
    """Return an asset of an item as a raster to read.

    Raises:
        SourceError: It has no file or no CRS, or a scale of 0.
    """
    if not asset.href:
        raise item.fault(f"asset {key} has no `href`")
    if scale == 0:
        raise item.fault(f"asset {key}: the scale is 0, which makes all values alike")
    return Raster(
        label=f"item {item.id}, asset {key}",
        href=item.address(asset.href),
        crs=_crs(item, key, asset),
        nodata=nodata,
        scale=scale,
        offset=offset,
        decibel=decibel,
        endpoint=_endpoint(item, asset),
    )


def _endpoint(item: Item, asset: Asset) -> str:
    """Return the URL of the object storage that an asset lies in: the first that it refers to, if any."""
    return next((item.schemes[ref] for ref in asset.storage_refs or () if ref in item.schemes), "")


def _crs(item: Item, key: str, asset: Asset) -> str:
    for source in (asset, item.properties):
        if source.proj_code:
            return source.proj_code
        if source.proj_epsg:
            return f"EPSG:{source.proj_epsg}"
        if source.proj_wkt2:
            return source.proj_wkt2
    raise item.fault(
        f"asset {key} has no CRS (`proj:code`); only images on a map grid can be read, not ones in radar geometry"
    )
