"""A STAC API, over HTTP."""

import datetime as dt
import threading
from collections.abc import Iterable, Iterator, Sequence
from http.client import responses
from typing import Any
from urllib.parse import urlsplit

import pystac
import pystac_client
import shapely.geometry
from pystac.errors import STACError, STACTypeError
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError
from pystac_client.warnings import DoesNotConformTo
from requests import RequestException
from shapely.geometry.base import BaseGeometry
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util import Retry

from ...acquisitions import Span
from ...errors import MissingFile, SourceError, SourceUnreachable
from ...untrusted import cut, redacted
from .bounded_io import BoundedIO
from .collection import lists_amplitudes
from .items import Item, item_from_json
from .locations import Locations

PLANETARY_COMPUTER = "planetarycomputer.microsoft.com"
RAW_GRD_HOSTS = (PLANETARY_COMPUTER, "earth-search.aws.element84.com")
"""Public APIs whose `sentinel-1-grd` is ESA's product as delivered: digital numbers located by control points, no backscatter."""
_PAGE = 100
"""Items asked for at once."""
_TIMEOUT_S = (10.0, 120.0)
"""To connect, and to wait for an answer."""
_RETRIES = Retry(
    total=5,
    connect=2,  # who cannot be reached at all will not be a minute later; this takes two seconds
    backoff_factor=1.0,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=None,
    raise_on_status=False,
)


class ApiCatalogue:
    """A STAC API."""

    is_remote = True

    def __init__(self, url: str, *, allowed: Iterable[str] = ()) -> None:
        try:
            scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
        except ValueError:  # brackets that hold no address
            scheme, host = "", None
        if scheme not in ("http", "https") or not host:
            raise SourceError(f"stac:{url}: no URL; give e.g. stac:https://{PLANETARY_COMPUTER}/api/stac/v1")
        self.name = redacted(f"stac:{url}")
        self._url = url
        self._locations = Locations.of(host, allowed)
        self._has_raw_grd = host in RAW_GRD_HOSTS
        self._signs = host == PLANETARY_COMPUTER
        self._io = BoundedIO(max_retries=_RETRIES, timeout=_TIMEOUT_S, check=self._locations.check)
        self._lock = threading.Lock()
        self._opened: pystac_client.Client | None = None
        self._known: dict[tuple[str, str], Item] = {}

    def has_collection(self, collection: str) -> bool:
        """Tell whether there is such a collection."""
        return self._collection(collection) is not None

    def is_uncalibrated(self, collection: str) -> bool:
        """Tell whether the collection's `item_assets` list amplitudes, or the host is known for them."""
        found = self._collection(collection)
        known = collection == "sentinel-1-grd" and self._has_raw_grd
        return known or (found is not None and lists_amplitudes(found.extra_fields.get("item_assets")))

    def search(self, collection: str, roi: BaseGeometry, spans: Sequence[Span]) -> list[Item]:
        """List the items that touch `roi` within any of the spans, each once."""
        outline = shapely.geometry.mapping(roi)
        found: dict[str, Item] = {}
        for span in spans:
            times = f"{_rfc3339(span.start)}/{_rfc3339(span.end)}"
            items = self._fetch(collection, intersects=outline, datetime=times)
            found.update((item.id, item) for item in items if span.start <= item.acquired_at < span.end)
        return [item for item in found.values() if item.footprint.intersects(roi)]

    def items(self, collection: str, ids: Iterable[str]) -> dict[str, Item]:
        """Fetch items by id, those seen before from memory."""
        wanted = list(dict.fromkeys(ids))
        unknown = [id_ for id_ in wanted if (collection, id_) not in self._known]
        for start in range(0, len(unknown), _PAGE):
            chunk = unknown[start : start + _PAGE]
            self._fetch(collection, ids=chunk)
        return {id_: self._known[collection, id_] for id_ in wanted if (collection, id_) in self._known}

    def some(self, collection: str, most: int) -> list[Item]:
        """Fetch the first few items that the server gives."""
        return self._fetch(collection, max_items=most, limit=most)

    def signed(self, href: str) -> str:
        """Return the URL of an asset, signed anew where the host wants that: signatures last less than an hour."""
        href = self._locations.check(href)
        if not self._signs:
            return href
        import planetary_computer  # noqa: PLC0415 - only one host needs it

        try:
            return str(planetary_computer.sign_url(href))
        except (RequestException, ValueError) as error:
            if _no_connection(error):
                raise SourceUnreachable(
                    f"{href}: the Planetary Computer, which signs it, cannot be reached: {error}"
                ) from error
            raise SourceError(f"{href}: the Planetary Computer did not sign it ({error})") from error

    def text(self, href: str) -> str:
        """Fetch a text file an item points to."""
        try:
            return str(self._io.read_text(self.signed(href)))
        except (APIError, OSError) as error:
            if _no_connection(error):
                raise SourceUnreachable(f"{href}: cannot be reached ({error}); check the network") from error
            if (refused := _refused(error)) is not None:
                raise SourceError(f"{href}: leads elsewhere: {refused}") from error
            if getattr(error, "status_code", None) in (404, 410):
                raise MissingFile(f"{href}: is not there") from error
            raise SourceError(f"{href}: cannot be read ({error})") from error

    def _client(self) -> pystac_client.Client:
        with self._lock:
            if self._opened is None:
                try:
                    self._opened = pystac_client.Client.open(self._url, stac_io=self._io)
                except _BAD_ANSWER as error:
                    raise self._fault(error) from error
            return self._opened

    def _collection(self, collection: str) -> pystac.Collection | None:
        try:
            return self._client().get_collection(collection)
        except _BAD_ANSWER as error:
            if getattr(error, "status_code", None) == 404:  # newer versions of pystac-client give None themselves
                return None
            raise self._fault(error) from error

    def _fetch(self, collection: str, **query: Any) -> list[Item]:
        try:
            search = self._client().search(collections=[collection], **{"limit": _PAGE, **query})
            values = list(search.items_as_dicts())
        except _BAD_ANSWER as error:
            raise self._fault(error) from error
        items = [item_from_json(value, href=_self_link(value) or self._url, collection=collection) for value in values]
        self._known.update(((collection, item.id), item) for item in items)
        return items

    def _fault(self, error: Exception) -> SourceError:
        said = _said(error)
        if _no_connection(error):
            return SourceUnreachable(
                f"the STAC API {self._url} cannot be reached: {said}; check the URL and the network"
            )
        if (refused := _refused(error)) is not None:
            return SourceError(f"the STAC API {self._url} leads elsewhere: {refused}")
        return SourceError(f"the STAC API {self._url} cannot be used: {said}; check the URL and the network")


def _said(error: Exception) -> str:
    """Return what an error says, the status first where the server's answer has one."""
    status = getattr(error, "status_code", None)
    text = " ".join(str(error).split())
    if status is None:
        return cut(text or type(error).__name__)
    meaning = responses.get(status, "")
    return cut(" ".join(word for word in (f"it answers {status}", meaning, text) if word))


_BAD_ANSWER = (
    *(APIError, STACError, STACTypeError, ClientTypeError, DoesNotConformTo, RequestException),
    *(LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError),
)
"""Everything pystac-client raises when a server is out of reach, refuses, or answers something that is no STAC."""


def _no_connection(error: BaseException) -> bool:
    """Tell whether an error came of not getting a connection."""
    return any(isinstance(one, NewConnectionError | ConnectTimeoutError) for one in _causes(error))


def _refused(error: BaseException) -> SourceError | None:
    """Return why `Locations` refused an address, where an error came of that."""
    return next((one for one in _causes(error) if isinstance(one, SourceError)), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from: pystac-client hides there what happened."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _rfc3339(time: dt.datetime) -> str:
    return time.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _self_link(value: object) -> str | None:
    links = value.get("links") if isinstance(value, dict) else None
    stated = [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []
    return next((str(link["href"]) for link in stated if link.get("rel") == "self" and "href" in link), None)
