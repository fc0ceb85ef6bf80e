"""Reading one raster file onto a grid: nearest neighbour, exact, and only the window that is needed."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window
from scipy.ndimage import map_coordinates

from ..errors import SourceError

_EDGE_PX = 1e-6
"""A pixel centre this close to the edge of two source pixels belongs to the later one; above the noise of UTM coordinates."""

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


def read_raw(raster: Raster, grid: GeoBox, *, fill: float) -> NDArray[Any]:
    """Read the stored values of a raster at the pixel centres of `grid`.

    Args:
        raster: The file.
        grid: Where values are wanted, in any CRS.
        fill: Value for pixels outside the file.

    Returns:
        (y, x) in the file's own type, neither scaled nor masked.

    Raises:
        SourceError: The file cannot be read, or lies in another CRS than the catalogue says.
    """
    with _opened(raster) as dataset:
        return _read(raster, dataset, grid, fill)


def read_float(raster: Raster, grid: GeoBox) -> NDArray[np.float32]:
    """Read the values of a raster at the pixel centres of `grid`, scaled, dB turned into linear power.

    Returns:
        (y, x) float32, NaN where missing or outside the file.

    Raises:
        SourceError: As `read_raw`, or the file holds integers that nothing scales.
    """
    with _opened(raster) as dataset:
        kind = np.dtype(dataset.dtypes[0]).kind
        unscaled = raster.scale == 1.0 and raster.offset == 0.0 and not raster.decibel
        if kind != "f" and unscaled:
            raise SourceError(
                f"{raster.label}: holds {dataset.dtypes[0]} values without scale or unit; wanted are float values, or "
                "`raster:bands` with scale or unit dB (raw Sentinel-1 amplitudes must be calibrated first)"
            )
        nodata = dataset.nodata if raster.nodata is None else raster.nodata
        fill = np.nan if kind == "f" else nodata
        if fill is None:
            raise SourceError(f"{raster.label}: holds {dataset.dtypes[0]} values, and nothing says which means missing")
        raw = _read(raster, dataset, grid, fill)
    values = raw.astype(np.float32, copy=False)
    missing = None if nodata is None or np.isnan(nodata) else raw == nodata
    if raster.scale != 1.0 or raster.offset != 0.0:
        values = values * np.float32(raster.scale) + np.float32(raster.offset)
    if raster.decibel:
        values = np.power(np.float32(10), values / np.float32(10))
    if missing is not None:
        values[missing] = np.nan
    return values


def read_smooth(raster: Raster, grid: GeoBox) -> NDArray[np.float64]:
    """Read the values of a smooth field at the pixel centres of `grid`, interpolated linearly between the four nearest pixels.

    Missing ones among the four are left out, and beyond the outermost centres the outermost values go on.

    Returns:
        (y, x) float64, NaN where all four are missing, or outside the file.

    Raises:
        SourceError: The file cannot be read, or lies in another CRS than the catalogue says.
    """
    with _opened(raster) as dataset:
        height, width = dataset.shape
        x, y = apply(~dataset.transform, *_centres(grid, raster.crs))
        rows, columns = _clipped(y, height), _clipped(x, width)
        nearest = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        if not nearest.any():
            return np.full(grid.shape, np.nan)
        window = _window(np.floor(rows[nearest]).astype(np.int64), np.floor(columns[nearest]).astype(np.int64))
        window = Window(
            window.col_off,
            window.row_off,
            min(window.width + 1, width - window.col_off),
            min(window.height + 1, height - window.row_off),
        )
        values = dataset.read(1, window=window).astype(np.float64)
        nodata = dataset.nodata if raster.nodata is None else raster.nodata
    values[values == nodata] = np.nan
    values = values * raster.scale + raster.offset
    at = np.stack([rows - window.row_off, columns - window.col_off])
    there = np.isfinite(values)
    weight = map_coordinates(there.astype(np.float64), at, order=1, mode="nearest")
    total = map_coordinates(np.where(there, values, 0.0), at, order=1, mode="nearest")
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(nearest & (weight > 1e-9), total / weight, np.nan)


def _clipped(position: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Count pixels from the centre of the first, and stay between the first and the last."""
    clipped: NDArray[np.float64] = np.clip(np.nan_to_num(position - 0.5), 0, length - 1)
    return clipped


def _centres(grid: GeoBox, crs: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y, in another CRS, of the pixel centres of a grid."""
    height, width = grid.shape
    x, y = apply(grid.transform, *np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5))
    if _same_crs(str(grid.crs), crs):
        return x, y
    x, y = Transformer.from_crs(str(grid.crs), crs, always_xy=True).transform(x, y)
    return x, y


def _read(raster: Raster, dataset: DatasetReader, grid: GeoBox, fill: float) -> NDArray[Any]:
    lookup = _lookup(raster.crs, dataset.transform, dataset.shape, grid)
    if lookup is None:
        return np.full(grid.shape, fill, dataset.dtypes[0])
    return lookup.take(dataset.read(1, window=lookup.window), fill=fill, shape=(grid.height, grid.width))


def apply(transform: Affine, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Apply an affine transform to arrays of coordinates."""
    return transform.a * x + transform.b * y + transform.c, transform.d * x + transform.e * y + transform.f


def tiles(grid: GeoBox, samples: Sequence[Raster], *, most_pixels: int) -> list[tuple[slice, slice]]:
    """Cut a grid into rectangles of at most `most_pixels`, along block edges of the files, so that no block is decoded twice.

    Args:
        grid: What is cut.
        samples: Files whose blocks count, of one scene. A single block may exceed `most_pixels`.
        most_pixels: Pixels per rectangle.

    Raises:
        SourceError: A file cannot be read.
    """
    height, width = grid.shape
    if height * width <= most_pixels:
        return [(slice(0, height), slice(0, width))]
    blocks = [_block(raster, grid) for raster in samples]
    rows = max(blocks, key=lambda block: block[0].stop - block[0].start)[0]
    columns = max(blocks, key=lambda block: block[1].stop - block[1].start)[1]
    row_cuts = _cuts(height, rows, most_pixels // width)
    tallest = max(part.stop - part.start for part in row_cuts)
    column_cuts = _cuts(width, columns, most_pixels // tallest)
    return [(row, column) for row in row_cuts for column in column_cuts]


def _block(raster: Raster, grid: GeoBox) -> tuple[slice, slice]:
    """Return the pixels of `grid` under a file's first block; just a size where they are not parallel."""
    with _opened(raster) as dataset:
        height, width = dataset.block_shapes[0]
        if not _are_parallel(raster.crs, dataset.transform, grid):
            return slice(0, height), slice(0, width)
        corners = apply(dataset.transform, np.array([0, width]), np.array([0, height]))
    x, y = (np.sort(np.rint(v)).astype(int) for v in apply(~grid.transform, *corners))
    return slice(y[0], max(y[1], y[0] + 1)), slice(x[0], max(x[1], x[0] + 1))


def _cuts(length: int, block: slice, most: int) -> list[slice]:
    """Cut an axis into stretches of at most `most` pixels but at least one block, at block edges."""
    size = block.stop - block.start
    step = max(size, most // size * size)
    first = block.start % size + step - size
    edges = [0, *range(first or step, length, step), length]
    return [slice(start, stop) for start, stop in pairwise(edges)]


@contextlib.contextmanager
def _opened(raster: Raster) -> Iterator[DatasetReader]:
    try:
        with rasterio.Env(**GDAL_OPTIONS), rasterio.open(raster.href) as dataset:
            _check_crs(raster, dataset)
            yield dataset
    except RasterioError as error:
        reason = str(error.__cause__ or error)
        raise SourceError(f"{raster.label}: {_without_query(raster.href)} cannot be read: {reason}") from error


def _without_query(href: str) -> str:
    """Leave out what follows `?`: a signed URL's signature is nobody's business."""
    return href.partition("?")[0] if "://" in href else href


def _check_crs(raster: Raster, dataset: DatasetReader) -> None:
    if dataset.crs is None:
        raise SourceError(
            f"{raster.label}: {_without_query(raster.href)} has no CRS (the catalogue says {raster.crs}); georeference the file"
        )
    if not _same_crs(dataset.crs.to_wkt(), raster.crs):
        raise SourceError(
            f"{raster.label}: the file lies in {dataset.crs.to_string()}, the catalogue says {raster.crs}; correct the item"
        )


@lru_cache(maxsize=256)
def _same_crs(one: str, other: str) -> bool:
    try:
        return CRS.from_user_input(one).equals(CRS.from_user_input(other), ignore_axis_order=True)
    except CRSError:
        return False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Lookup:
    """Which source pixel each pixel of a grid takes."""

    window: Window
    """Part of the source that is needed."""
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    """Into the window: (y,) and (x,) where grid and source are parallel, else both (y, x)."""
    target: tuple[slice, slice]
    """Part of the grid inside the source's bounds."""
    outside: NDArray[np.bool_] | None = None
    """(y, x) of `target`, pixels outside the source all the same."""

    def take(self, values: NDArray[Any], *, fill: float, shape: tuple[int, int]) -> NDArray[Any]:
        """Lay the window's values on the grid."""
        if self.rows.ndim == 2:
            inside = values[self.rows, self.columns]
        else:
            inside = _take_along(_take_along(values, self.rows, axis=0), self.columns, axis=1)
        if self.outside is not None:
            inside[self.outside] = fill
        if inside.shape == shape:
            return inside
        whole = np.full(shape, fill, values.dtype)
        whole[self.target] = inside
        return whole


def _take_along(values: NDArray[Any], indices: NDArray[np.int32], *, axis: int) -> NDArray[Any]:
    if indices.size == values.shape[axis] and indices[0] == 0 and np.all(np.diff(indices) == 1):
        return values
    return np.take(values, indices, axis=axis)


# Every band of a datatake's scenes asks for the same few lookups one after the other.
@lru_cache(maxsize=6)
def _lookup(crs: str, transform: Affine, shape: tuple[int, int], grid: GeoBox) -> _Lookup | None:
    """Find the source pixel of each grid pixel; None when no grid pixel lies in the source."""
    if _are_parallel(crs, transform, grid):
        return _parallel(transform, shape, grid)
    return _general(crs, transform, shape, grid)


def _are_parallel(crs: str, transform: Affine, grid: GeoBox) -> bool:
    upright = transform.b == transform.d == grid.transform.b == grid.transform.d == 0
    return upright and _same_crs(str(grid.crs), crs)


def _parallel(transform: Affine, shape: tuple[int, int], grid: GeoBox) -> _Lookup | None:
    height, width = grid.shape
    zero = np.zeros(1)
    x, _ = apply(grid.transform, np.arange(width) + 0.5, zero)
    _, y = apply(grid.transform, zero, np.arange(height) + 0.5)
    columns, rows = _floor(apply(~transform, x, zero)[0]), _floor(apply(~transform, zero, y)[1])
    inside_columns = np.flatnonzero((columns >= 0) & (columns < shape[1]))
    inside_rows = np.flatnonzero((rows >= 0) & (rows < shape[0]))
    if not inside_columns.size or not inside_rows.size:
        return None
    # Both run one way only, so what lies inside is one stretch.
    target = tuple(slice(int(i[0]), int(i[-1]) + 1) for i in (inside_rows, inside_columns))
    rows, columns = rows[target[0]], columns[target[1]]
    window = _window(rows, columns)
    return _Lookup(
        window=window,
        rows=(rows - window.row_off).astype(np.int32),
        columns=(columns - window.col_off).astype(np.int32),
        target=(target[0], target[1]),
    )


def _general(crs: str, transform: Affine, shape: tuple[int, int], grid: GeoBox) -> _Lookup | None:
    height, width = grid.shape
    columns, rows = (_floor(v) for v in apply(~transform, *_centres(grid, crs)))
    outside = (columns < 0) | (columns >= shape[1]) | (rows < 0) | (rows >= shape[0])
    if outside.all():
        return None
    window = _window(rows[~outside], columns[~outside])
    return _Lookup(
        window=window,
        rows=np.where(outside, 0, rows - window.row_off).astype(np.int32),
        columns=np.where(outside, 0, columns - window.col_off).astype(np.int32),
        target=(slice(0, height), slice(0, width)),
        outside=outside if outside.any() else None,
    )


def _floor(pixels: NDArray[Any]) -> NDArray[np.int64]:
    # Points beyond the projection come back as inf; they lie outside any raster.
    whole: NDArray[np.int64] = np.floor(np.nan_to_num(pixels, posinf=-1.0, neginf=-1.0, nan=-1.0) + _EDGE_PX).astype(
        np.int64
    )
    return whole


def _window(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Window:
    row, column = int(rows.min()), int(columns.min())
    return Window(column, row, int(columns.max()) + 1 - column, int(rows.max()) + 1 - row)
