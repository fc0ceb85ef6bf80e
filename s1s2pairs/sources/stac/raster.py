"""One raster file of a catalogue: what its values mean, and opening it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from ...errors import MissingFile, NotAuthenticated, SourceError, SourceUnreachable
from . import s3
from .lookup import same_crs

GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no listing of the folder (or bucket) beside every file
    "GDAL_HTTP_MAX_RETRY": "5",  # on 429, 502, 503, 504
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",  # a COG's header in one request
}
"""Set around every read."""


_NO_CONNECTION = (
    "Could not resolve host",
    "Could not connect to server",
    "Couldn't connect to server",
    "Connection refused",
)
_NOT_THERE = (
    "No such file or directory",
    "HTTP response code: 404",
    "HTTP response code: 410",
    "The specified key does not exist",
    "The specified blob does not exist",
    "NoSuchKey",
)
"""What GDAL and the services behind it say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Raster:
    """One single-band raster file of a catalogue and what its values mean."""

    label: str
    """`item I, asset A`, for messages."""
    href: str
    """Path or URL, signed where that is needed."""
    crs: str
    """What the catalogue says; the file must agree."""
    nodata: float | None
    """Raw value that means missing, NaN included; None where the catalogue does not say."""
    scale: float = 1.0
    offset: float = 0.0
    decibel: bool = False
    """Whether raw x scale + offset is in dB."""
    endpoint: str = ""
    """URL of the object storage that holds an `s3://` address, as the catalogue says; empty for Amazon's own."""


def tags_of(raster: Raster) -> dict[str, str]:
    """Return the tags in a file's header.

    Raises:
        SourceError: It cannot be read.
    """
    with opened(raster) as dataset:
        return {str(name): str(value) for name, value in dataset.tags().items()}


@contextlib.contextmanager
def opened(raster: Raster) -> Iterator[DatasetReader]:
    """Open a raster's file.

    Raises:
        SourceUnreachable: There is no connection to where it lies.
        NotAuthenticated: Keys for where it lies are missing or were refused.
        MissingFile: It is not there.
        SourceError: It cannot be read, or lies in another CRS than the catalogue says.
    """
    options = GDAL_OPTIONS | s3.gdal_options(raster.href, raster.endpoint)
    try:
        with rasterio.Env(**options), rasterio.open(s3.gdal_path(raster.href)) as dataset:
            _check_crs(raster, dataset)
            yield dataset
    except RasterioError as error:
        raise _fault(raster, str(error.__cause__ or error)) from error


def _fault(raster: Raster, reason: str) -> SourceError:
    where = f"{raster.label}: {_without_query(raster.href)}"
    reason = reason.removeprefix(f"{raster.href}: ").replace(raster.href, _without_query(raster.href))
    if raster.href.startswith(s3.SCHEME) and s3.refused(reason):
        return NotAuthenticated(f"{where} cannot be read: {reason}; {s3.HOW_TO_SIGN_IN}")
    if any(sign in reason for sign in _NO_CONNECTION):
        return SourceUnreachable(f"{where} cannot be reached: {reason}; check the network")
    if any(sign in reason for sign in _NOT_THERE):
        return MissingFile(f"{where} is not there: {reason}")
    return SourceError(f"{where} cannot be read: {reason}")


def _without_query(href: str) -> str:
    """Leave out what follows `?`: a signed URL's signature is nobody's business."""
    return href.partition("?")[0] if "://" in href else href


def _check_crs(raster: Raster, dataset: DatasetReader) -> None:
    if dataset.crs is None:
        raise SourceError(
            f"{raster.label}: {_without_query(raster.href)} has no CRS (the catalogue says {raster.crs}); georeference the file"
        )
    if not same_crs(dataset.crs.to_wkt(), raster.crs):
        raise SourceError(
            f"{raster.label}: the file lies in {dataset.crs.to_string()}, the catalogue says {raster.crs}; correct the item"
        )
