"""Where STAC items come from: a static catalogue on disk, or a STAC API."""

import datetime as dt
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import pystac
import pystac_client
import shapely.geometry
from pystac.errors import STACError, STACTypeError
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from requests import RequestException
from shapely.geometry.base import BaseGeometry
from urllib3.util import Retry

from ..errors import SourceError
from . import Span
from .raster import Raster
from .stac_items import Item, item_from_json

PLANETARY_COMPUTER = "planetarycomputer.microsoft.com"
RAW_GRD_HOSTS = (PLANETARY_COMPUTER, "earth-search.aws.element84.com")
"""Public APIs whose `sentinel-1-grd` is ESA's product as delivered: digital numbers located by control points, no backscatter."""
_PAGE = 100
"""Items asked for at once."""
_TIMEOUT_S = (20.0, 120.0)
"""To connect, and to wait for an answer."""
_RETRIES = Retry(
    total=5, backoff_factor=1.0, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None, raise_on_status=False
)


class Catalogue(Protocol):
    """Something that can be asked for items; safe to use from several threads."""

    name: str
    """Goes into the plan."""
    is_remote: bool
    has_raw_grd: bool
    """Whether its `sentinel-1-grd` is known to hold uncalibrated amplitudes in radar geometry."""

    def has_collection(self, collection: str) -> bool:
        """Tell whether there is such a collection."""

    def search(self, collection: str, roi: BaseGeometry, spans: Sequence[Span]) -> list[Item]:
        """List the items that touch `roi` (lon/lat) within any of the spans, each once."""

    def items(self, collection: str, ids: Iterable[str]) -> dict[str, Item]:
        """Fetch items by id; ids that do not exist are left out."""

    def signed(self, href: str) -> str:
        """Return the URL or path under which an asset can be read now."""

    def text(self, href: str) -> str:
        """Fetch a text file an item points to."""


def readable(raster: Raster, catalogue: Catalogue) -> Raster:
    """Return a raster under the URL by which it can be read now."""
    return replace(raster, href=catalogue.signed(raster.href))


def open_catalogue(name: str) -> Catalogue:
    """Open `stac:URL`, or the catalogue at a path.

    Raises:
        SourceError: There is none, or it cannot be read.
    """
    if name.startswith("stac:"):
        return ApiCatalogue(name.removeprefix("stac:"))
    return StaticCatalogue(Path(name))


class _Entry(NamedTuple):
    """Just enough of an item on disk to find it by: thousands of whole items would fill the memory."""

    id: str
    href: str
    acquired_at: dt.datetime
    bounds: tuple[float, float, float, float]
    """West, south, east, north of the footprint."""


class StaticCatalogue:
    """A `catalog.json` on disk with its collections and items."""

    is_remote = False
    has_raw_grd = False

    def __init__(self, path: Path) -> None:
        file = path / "catalog.json" if path.is_dir() or path.suffix != ".json" else path
        if not file.is_file():
            raise SourceError(
                f"{path}: no STAC catalogue here (no {file.name}); give the folder of one, stac:URL, or earthengine"
            )
        self._file = file.resolve()
        self.name = f"catalogue:{self._read_catalog(str(self._file)).id}"
        self._lock = threading.Lock()
        self._entries: dict[str, list[_Entry]] | None = None

    def has_collection(self, collection: str) -> bool:
        """Tell whether there is such a collection."""
        return collection in self._index()

    def search(self, collection: str, roi: BaseGeometry, spans: Sequence[Span]) -> list[Item]:
        """List the items that touch `roi` within any of the spans."""
        west, south, east, north = roi.bounds
        found = [
            self._read_item(entry.href, collection)
            for entry in self._index()[collection]
            if entry.bounds[0] <= east
            and entry.bounds[2] >= west
            and entry.bounds[1] <= north
            and entry.bounds[3] >= south
            and any(span.start <= entry.acquired_at < span.end for span in spans)
        ]
        return [item for item in found if item.footprint.intersects(roi)]

    def items(self, collection: str, ids: Iterable[str]) -> dict[str, Item]:
        """Fetch items by id."""
        wanted = set(ids)
        return {
            entry.id: self._read_item(entry.href, collection)
            for entry in self._index()[collection]
            if entry.id in wanted
        }

    def signed(self, href: str) -> str:
        """Return the path itself."""
        return href

    def text(self, href: str) -> str:
        """Read a text file an item points to."""
        try:
            return str(pystac.StacIO.default().read_text(href))
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{href}: cannot be read ({error})") from error

    def _index(self) -> dict[str, list[_Entry]]:
        with self._lock:
            if self._entries is None:
                self._entries = self._walk()
            return self._entries

    def _walk(self) -> dict[str, list[_Entry]]:
        found: dict[str, dict[str, _Entry]] = {}
        for href, collection in self._item_links(str(self._file), None, set()):
            item = self._read_item(href, collection)
            entries = found.setdefault(item.collection, {})
            if item.id in entries:
                raise SourceError(f"{href}: {entries[item.id].href} has the id {item.id} too; ids must be unique")
            entries[item.id] = _Entry(item.id, href, item.acquired_at, item.footprint.bounds)
        return {collection: list(entries.values()) for collection, entries in found.items()}

    def _item_links(self, href: str, collection: str | None, seen: set[str]) -> Iterator[tuple[str, str | None]]:
        if href in seen:
            return
        seen.add(href)
        catalog = self._read_catalog(href)
        if isinstance(catalog, pystac.Collection):
            collection = catalog.id
        for link in catalog.get_item_links():
            yield str(link.get_absolute_href()), collection
        for link in catalog.get_child_links():
            yield from self._item_links(str(link.get_absolute_href()), collection, seen)

    def _read_catalog(self, href: str) -> pystac.Catalog:
        value = _json(href)
        kind: type[pystac.Catalog] = pystac.Catalog
        if isinstance(value, dict) and value.get("type") == "Collection":
            kind = pystac.Collection
        try:
            return kind.from_dict(value, href=href, migrate=True)
        except (STACError, STACTypeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise SourceError(f"{href}: no STAC catalog or collection ({error})") from error

    def _read_item(self, href: str, collection: str | None) -> Item:
        return item_from_json(_json(href), href=href, collection=collection)


def _json(href: str) -> Any:
    try:
        return json.loads(Path(href).read_bytes())
    except OSError as error:
        raise SourceError(f"{href}: cannot be read ({error.strerror}); the catalogue links to it") from error
    except ValueError as error:
        raise SourceError(f"{href}: no valid JSON ({error})") from error


class ApiCatalogue:
    """A STAC API."""

    is_remote = True

    def __init__(self, url: str) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise SourceError(f"stac:{url}: no URL; give e.g. stac:https://{PLANETARY_COMPUTER}/api/stac/v1")
        self.name = f"stac:{url}"
        self._url = url
        host = urlsplit(url).hostname
        self.has_raw_grd = host in RAW_GRD_HOSTS
        self._signs = host == PLANETARY_COMPUTER
        self._io = StacApiIO(max_retries=_RETRIES, timeout=_TIMEOUT_S)
        self._lock = threading.Lock()
        self._opened: pystac_client.Client | None = None
        self._known: dict[tuple[str, str], Item] = {}

    def has_collection(self, collection: str) -> bool:
        """Tell whether there is such a collection."""
        try:
            return self._client().get_collection(collection) is not None
        except _BAD_ANSWER as error:
            raise self._fault(error) from error

    def search(self, collection: str, roi: BaseGeometry, spans: Sequence[Span]) -> list[Item]:
        """List the items that touch `roi` within any of the spans, each once."""
        outline = shapely.geometry.mapping(roi)
        found: dict[str, Item] = {}
        for span in spans:
            times = f"{_rfc3339(span.start)}/{_rfc3339(span.end)}"
            query = self._client().search(collections=[collection], intersects=outline, datetime=times, limit=_PAGE)
            found.update(
                (item.id, item) for item in self._fetch(query, collection) if span.start <= item.acquired_at < span.end
            )
        return [item for item in found.values() if item.footprint.intersects(roi)]

    def items(self, collection: str, ids: Iterable[str]) -> dict[str, Item]:
        """Fetch items by id, those seen before from memory."""
        wanted = list(dict.fromkeys(ids))
        unknown = [id_ for id_ in wanted if (collection, id_) not in self._known]
        for start in range(0, len(unknown), _PAGE):
            chunk = unknown[start : start + _PAGE]
            self._fetch(self._client().search(collections=[collection], ids=chunk, limit=_PAGE), collection)
        return {id_: self._known[collection, id_] for id_ in wanted if (collection, id_) in self._known}

    def signed(self, href: str) -> str:
        """Return the URL of an asset, signed anew where the host wants that: signatures last less than an hour."""
        if not self._signs:
            return href
        import planetary_computer  # noqa: PLC0415 - only one host needs it

        try:
            return str(planetary_computer.sign_url(href))
        except (RequestException, ValueError) as error:
            raise SourceError(f"{href}: the Planetary Computer did not sign it ({error})") from error

    def text(self, href: str) -> str:
        """Fetch a text file an item points to."""
        try:
            return str(self._io.read_text(self.signed(href)))
        except (APIError, OSError) as error:
            raise SourceError(f"{href}: cannot be read ({error})") from error

    def _client(self) -> pystac_client.Client:
        with self._lock:
            if self._opened is None:
                try:
                    self._opened = pystac_client.Client.open(self._url, stac_io=self._io)
                except _BAD_ANSWER as error:
                    raise self._fault(error) from error
            return self._opened

    def _fetch(self, query: pystac_client.ItemSearch, collection: str) -> list[Item]:
        try:
            values = list(query.items_as_dicts())
        except _BAD_ANSWER as error:
            raise self._fault(error) from error
        items = [item_from_json(value, href=_self_link(value) or self._url, collection=collection) for value in values]
        self._known.update(((collection, item.id), item) for item in items)
        return items

    def _fault(self, error: Exception) -> SourceError:
        return SourceError(
            f"the STAC API {self._url} cannot be used: {str(error) or type(error).__name__}; check the URL and the network"
        )


_BAD_ANSWER = (APIError, STACError, STACTypeError, ClientTypeError, RequestException, KeyError, TypeError, ValueError)
"""Everything pystac-client raises when a server is out of reach, refuses, or answers something that is no STAC."""


def _rfc3339(time: dt.datetime) -> str:
    return time.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _self_link(value: dict[str, Any]) -> str | None:
    return next((link.get("href") for link in value.get("links", ()) if link.get("rel") == "self"), None)
