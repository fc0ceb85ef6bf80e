"""What the source asks of a STAC catalogue, wherever it is."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from shapely.geometry.base import BaseGeometry

from ...acquisitions import Span
from .items import Item
from .raster import Raster


class Catalogue(Protocol):
    """Something that can be asked for items; safe to use from several threads."""

    name: str
    """Goes into the plan."""
    is_remote: bool

    def has_collection(self, collection: str) -> bool:
        """Tell whether there is such a collection."""

    def is_uncalibrated(self, collection: str) -> bool:
        """Tell whether a radar collection is known to hold amplitudes as delivered, which are no backscatter."""

    def search(self, collection: str, roi: BaseGeometry, spans: Sequence[Span]) -> list[Item]:
        """List the items that touch `roi` (lon/lat) within any of the spans, each once."""

    def items(self, collection: str, ids: Iterable[str]) -> dict[str, Item]:
        """Fetch items by id; ids that do not exist are left out."""

    def some(self, collection: str, most: int) -> list[Item]:
        """Fetch any few items of a collection."""

    def signed(self, href: str) -> str:
        """Return the URL or path under which an asset can be read now.

        Raises:
            SourceError: It lies where this catalogue's files may not, or no signature was given.
        """

    def text(self, href: str) -> str:
        """Fetch a text file an item points to.

        Raises:
            MissingFile: It is not there.
            SourceError: It cannot be read.
        """


def readable(raster: Raster, catalogue: Catalogue) -> Raster:
    """Return a raster under the URL by which it can be read now."""
    return replace(raster, href=catalogue.signed(raster.href))
