"""Where a catalogue's files may be read from: beside the catalogue, where its service keeps them, and what the user allows."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from ...errors import SourceError
from .s3 import SCHEME as S3

FILES_OF: Final = {
    "planetarycomputer.microsoft.com": ("*.blob.core.windows.net",),
    "earth-search.aws.element84.com": (
        "sentinel-cogs.s3.us-west-2.amazonaws.com",
        "e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com",
        "s3://sentinel-cogs",
        "s3://sentinel-s1-l1c",
        "s3://sentinel-s2-l2a",
        "s3://e84-earth-search-sentinel-data",
    ),
    "stac.dataspace.copernicus.eu": ("s3://eodata", "*.dataspace.copernicus.eu"),
    "explorer.digitalearth.africa": ("s3://deafrica-*", "deafrica-*.s3.af-south-1.amazonaws.com"),
}
"""Host of a public API -> hosts and buckets on which its files lie."""
_URLS: Final = ("http", "https")


@dataclass(frozen=True, slots=True)
class Locations:
    """Hosts, buckets (`s3://name`) and folders that may be read from. Hosts and buckets may hold `*`."""

    hosts: tuple[str, ...]
    folders: tuple[Path, ...]

    @classmethod
    def of(cls, own: Path | str, allowed: Iterable[str]) -> Self:
        """Return what belongs to a catalogue, and what the user allows beside.

        Args:
            own: Folder of a catalogue on disk, or the host of an API.
            allowed: Hosts, buckets and folders.
        """
        named = tuple(allowed)
        folders = tuple(Path(one).absolute() for one in named if os.sep in one and "://" not in one)
        hosts = tuple(one.rstrip("/").lower() for one in named if os.sep not in one or "://" in one)
        if isinstance(own, Path):
            return cls(hosts, (own, *folders))
        return cls((own.lower(), *FILES_OF.get(own.lower(), ()), *hosts), folders)

    def check(self, href: str) -> str:
        """Return the address or path by which a file is read.

        Raises:
            SourceError: It lies elsewhere.
        """
        shown = href.partition("?")[0]
        try:
            url = urlsplit(href) if "://" in href else None
            host = url.hostname or "" if url is not None else ""
        except ValueError as error:
            raise SourceError(f"{shown}: {error}; correct the item") from error
        if url is None or url.scheme == "file":
            path = Path(os.path.normpath(href if url is None else url.path))
            if any(path.is_relative_to(folder) for folder in self.folders):
                return str(path)
            needed = str(path.parent)
        elif url.scheme in _URLS or href.startswith(S3):
            needed = f"{S3}{url.netloc}" if href.startswith(S3) else host
            if any(fnmatch(needed.lower(), allowed) for allowed in self.hosts):
                return href
        else:
            raise SourceError(f"{shown}: {url.scheme}:// is not read; allowed are paths, http, https and s3")
        raise SourceError(
            f"{shown} lies outside what this catalogue may name; if you trust it, add --allow-host {needed}"
        )
