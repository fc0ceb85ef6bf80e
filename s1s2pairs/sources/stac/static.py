"""A static STAC catalogue: `catalog.json` on disk with its collections and items."""

import datetime as dt
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pystac
from pystac.errors import STACError, STACTypeError
from shapely.geometry.base import BaseGeometry

from ...acquisitions import Span
from ...errors import MissingFile, SourceError
from .catalogue import lists_amplitudes
from .items import Item, item_from_json


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
        self._uncalibrated: set[str] = set()

    def has_collection(self, collection: str) -> bool:
        """Tell whether there is such a collection."""
        return collection in self._index()

    def is_uncalibrated(self, collection: str) -> bool:
        """Tell whether the collection's `item_assets` list amplitudes."""
        self._index()
        return collection in self._uncalibrated

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

    def some(self, collection: str, most: int) -> list[Item]:
        """Read the first few items of a collection."""
        return [self._read_item(entry.href, collection) for entry in self._index()[collection][:most]]

    def signed(self, href: str) -> str:
        """Return the path itself."""
        return href

    def text(self, href: str) -> str:
        """Read a text file an item points to."""
        try:
            return str(pystac.StacIO.default().read_text(href))
        except FileNotFoundError as error:
            raise MissingFile(f"{href}: is not there") from error
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
            if lists_amplitudes(catalog.extra_fields.get("item_assets")):
                self._uncalibrated.add(collection)
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
