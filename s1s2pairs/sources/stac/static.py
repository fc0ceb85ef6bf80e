"""A static STAC catalogue: `catalog.json` on disk with its collections and items."""

import datetime as dt
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pystac
from pystac.errors import STACError, STACTypeError
from shapely.geometry.base import BaseGeometry

from ...acquisitions import Span
from ...errors import MissingFile, SourceError
from ...untrusted import MAX_JSON_BYTES, MAX_TEXT_BYTES, Unusable, parse_json, read_regular
from .collection import lists_amplitudes
from .items import Item, item_from_json, outline_from_json
from .locations import Locations
from .s3 import SCHEME as S3

MAX_CATALOGUES: Final = 100_000
"""Catalogues and collections of one catalogue; real ones have a folder a year, month or tile."""
MAX_DEPTH: Final = 100
"""Catalogues within each other."""


class _Entry(NamedTuple):
    """Just enough of an item on disk to find it by: thousands of whole items would fill the memory."""

    id: str
    href: str
    acquired_at: dt.datetime | None
    """None where `fault` says why."""
    bounds: tuple[float, float, float, float]
    """West, south, east, north of the footprint."""
    fault: SourceError | None = None
    """Why it cannot be used; said to those only whom it concerns."""


class StaticCatalogue:
    """A `catalog.json` on disk with its collections and items."""

    is_remote = False

    def __init__(self, path: Path, *, allowed: Iterable[str] = ()) -> None:
        try:
            file = path / "catalog.json" if path.is_dir() or path.suffix != ".json" else path
            is_there = file.is_file()
        except OSError as error:  # a name too long, a folder that may not be entered
            raise SourceError(f"{path}: cannot be read ({error.strerror}); give the folder of a catalogue") from error
        if not is_there:
            raise SourceError(
                f"{path}: no STAC catalogue here (no {file.name}); give the folder of one, stac:URL, or earthengine"
            )
        self._file = file.resolve()
        self._locations = Locations.of(self._file.parent, allowed)
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
        """List the items that touch `roi` within any of the spans.

        Raises:
            SourceError: One that touches `roi` cannot be used.
        """
        west, south, east, north = roi.bounds
        found = []
        for entry in self._index()[collection]:
            if not (entry.bounds[0] <= east and entry.bounds[2] >= west):
                continue
            if not (entry.bounds[1] <= north and entry.bounds[3] >= south):
                continue
            time = entry.acquired_at
            if time is None:
                raise entry.fault or SourceError(entry.href)
            if any(span.start <= time < span.end for span in spans):
                found.append(self._read_item(entry.href, collection))
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
        """Return the path itself.

        Raises:
            SourceError: It lies outside the catalogue's folder and what the user allows.
        """
        return self._locations.check(href)

    def text(self, href: str) -> str:
        """Read a text file an item points to."""
        path = self.signed(href)
        if "://" in path:
            raise MissingFile(f"{href}: is not on disk; of a catalogue on disk only images are read from elsewhere")
        try:
            return read_regular(Path(path), most_bytes=MAX_TEXT_BYTES).decode()
        except FileNotFoundError as error:
            raise MissingFile(f"{href}: is not there") from error
        except (OSError, ValueError) as error:
            raise SourceError(f"{href}: cannot be read ({error})") from error

    def _index(self) -> dict[str, list[_Entry]]:
        with self._lock:
            if self._entries is None:
                self._entries = self._walk()
            return self._entries

    def _walk(self) -> dict[str, list[_Entry]]:
        found: dict[str, dict[str, _Entry]] = {}
        for href, default in self._item_links():
            collection, entry = self._entry(href, default)
            entries = found.setdefault(collection, {})
            if entry.id in entries:
                raise SourceError(f"{href}: {entries[entry.id].href} has the id {entry.id} too; ids must be unique")
            entries[entry.id] = entry
        return {collection: list(entries.values()) for collection, entries in found.items()}

    def _entry(self, href: str, collection: str | None) -> tuple[str, _Entry]:
        value = self._json(href)
        outline = outline_from_json(value, href=href, collection=collection)
        time, fault = None, None
        try:
            time = item_from_json(value, href=href, collection=collection).acquired_at
        except SourceError as error:
            fault = error
        return outline.collection, _Entry(outline.id, href, time, outline.footprint.bounds, fault)

    def _item_links(self) -> Iterator[tuple[str, str | None]]:
        """Yield every item, by catalogue, with the collection it is in."""
        seen = {str(self._file)}
        waiting: list[tuple[str, str | None, int]] = [(str(self._file), None, 0)]
        while waiting:
            href, collection, depth = waiting.pop()
            catalog = self._read_catalog(href)
            if isinstance(catalog, pystac.Collection):
                collection = catalog.id
                if lists_amplitudes(catalog.extra_fields.get("item_assets")):
                    self._uncalibrated.add(collection)
            for link in catalog.get_item_links():
                yield str(link.get_absolute_href()), collection
            children = [str(link.get_absolute_href()) for link in catalog.get_child_links()]
            new = [child for child in dict.fromkeys(children) if child not in seen]
            seen.update(new)
            if new and (depth == MAX_DEPTH or len(seen) > MAX_CATALOGUES):
                raise SourceError(
                    f"{href}: more than {MAX_DEPTH} catalogues within each other, or {MAX_CATALOGUES:,} in all; a catalogue of "
                    "Sentinel scenes has some ten and some hundred"
                )
            waiting += [(child, collection, depth + 1) for child in reversed(new)]

    def _read_catalog(self, href: str) -> pystac.Catalog:
        value = self._json(href)
        kind: type[pystac.Catalog] = pystac.Catalog
        if isinstance(value, dict) and value.get("type") == "Collection":
            kind = pystac.Collection
        try:
            return kind.from_dict(value, href=href, migrate=True)
        except (STACError, STACTypeError, LookupError, TypeError, ArithmeticError, ValueError, AttributeError) as error:
            raise SourceError(f"{href}: expected a STAC catalog or collection ({error})") from error

    def _read_item(self, href: str, collection: str | None) -> Item:
        return item_from_json(self._json(href), href=href, collection=collection)

    def _json(self, href: str) -> Any:
        if href.startswith(("http://", "https://", S3)):
            raise SourceError(f"{href}: is not on disk; of a catalogue on disk only images are read from elsewhere")
        path = Path(self._locations.check(href))
        try:
            return parse_json(read_regular(path, most_bytes=MAX_JSON_BYTES))
        except Unusable as error:
            raise SourceError(f"{href}: {error}") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SourceError(f"{href}: cannot be read ({reason}); the catalogue links to it") from error
