"""One raster file of a catalogue: what its values mean, and opening it."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from ...errors import MissingFile, NotAuthenticated, SourceError, SourceUnreachable
from ...untrusted import check_regular
from . import s3
from .lookup import same_crs

GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no listing of the folder (or bucket) beside every file
    "GDAL_HTTP_MAX_RETRY": "5",  # on 429, 502, 503, 504
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_LOW_SPEED_TIME": "60",  # give up on less than 1 kB/s for a minute
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1024",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",  # a COG's header in one request
}
"""Set around every read."""
DRIVERS: Final = ("GTiff", "JP2OpenJPEG", "JP2KAK", "JP2ECW", "JPEG2000")
"""What catalogues of Sentinel data hold. Others, such as VRT, can make GDAL read what no item names."""
MAX_BLOCK_BYTES: Final = 512 << 20
"""Decoded at once, however little of it is wanted; real files have blocks of some hundred kilobytes. What is compressed well may
unfold to this."""
MAX_BANDS: Final = 1000
"""Of one file; real ones have one, or three."""

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
    _check_file(raster)
    try:
        with rasterio.Env(**options), DatasetReader(s3.gdal_path(raster.href), driver=list(DRIVERS)) as dataset:
            _check_pixels(raster, dataset)
            _check_crs(raster, dataset)
            yield dataset
    except (RasterioError, UnicodeDecodeError) as error:  # the latter for a header whose texts are no UTF-8
        raise _fault(raster, str(error.__cause__ or error)) from error


def _check_file(raster: Raster) -> None:
    """GDAL waits for a pipe, and reads a device for ever; what is no file, such as `/vsicurl/...`, is an address in disguise."""
    if "://" in raster.href:
        return
    try:
        check_regular(Path(raster.href).stat())
    except OSError as error:
        raise _fault(raster, error.strerror or str(error)) from error
    except ValueError as error:  # `Unusable`, or a null character in the path
        raise _fault(raster, str(error)) from error


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


def _check_pixels(raster: Raster, dataset: DatasetReader) -> None:
    if dataset.count > MAX_BANDS:  # each is looked at before any is read
        raise SourceError(
            f"{raster.label}: {_without_query(raster.href)} has {dataset.count} bands; an asset is read as one band, and "
            f"files of up to {MAX_BANDS} are taken"
        )
    numbers = dataset.transform[:6]
    if not all(map(math.isfinite, numbers)) or abs(dataset.transform.determinant) < _LEAST_PIXEL_AREA:
        raise SourceError(
            f"{raster.label}: {_without_query(raster.href)} has the transform {tuple(numbers)}, which gives its pixels no area; "
            "georeference the file"
        )
    rows, columns = dataset.block_shapes[0]
    together = dataset.count if dataset.profile.get("interleave") == "pixel" else 1
    size = rows * columns * together * np.dtype(dataset.dtypes[0]).itemsize
    if size > MAX_BLOCK_BYTES:
        raise SourceError(
            f"{raster.label}: {_without_query(raster.href)} has blocks of {rows} x {columns} pixels, "
            f"{size / 2**30:.1f} GiB each, and a block is decoded whole; at most {MAX_BLOCK_BYTES / 2**30:g} GiB are allowed: "
            "write it as a Cloud Optimized GeoTIFF"
        )


_LEAST_PIXEL_AREA: Final = 1e-12
"""In units of the CRS, degrees or metres, squared."""


def _check_crs(raster: Raster, dataset: DatasetReader) -> None:
    if dataset.crs is None:
        # Of a truncated file the CRS is lost first; its last pixel then cannot be read, which is what to tell.
        dataset.read(1, window=Window(dataset.width - 1, dataset.height - 1, 1, 1))
        raise SourceError(
            f"{raster.label}: {_without_query(raster.href)} has no CRS (the catalogue says {raster.crs}); georeference the file"
        )
    if not same_crs(dataset.crs.to_wkt(), raster.crs):
        raise SourceError(
            f"{raster.label}: the file lies in {dataset.crs.to_string()}, the catalogue says {raster.crs}; correct the item"
        )
