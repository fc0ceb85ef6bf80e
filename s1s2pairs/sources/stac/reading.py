"""Reading raster files onto a grid: nearest neighbour, exact, and only the window that is needed."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetReader
from rasterio.windows import Window
from scipy.ndimage import map_coordinates

from ...errors import SourceError
from ...sensors import SCL_LAST, SCL_NO_DATA
from .lookup import apply, are_parallel, centres, find_lookup, window_of
from .raster import Raster, opened

MAX_READ_PIXELS = 1 << 28
"""Of one file at once: a GiB of float32. A 10 m file under a tile of 128 MiB has 3 million."""


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
    with opened(raster) as dataset:
        return _read(raster, dataset, grid, fill)


def read_classes(raster: Raster, grid: GeoBox) -> NDArray[np.uint8]:
    """Read scene classes (SCL) at the pixel centres of `grid`.

    Returns:
        (y, x) uint8, 0 outside the file.

    Raises:
        SourceError: As `read_raw`, or the file holds something else than classes.
    """
    classes = read_raw(raster, grid, fill=SCL_NO_DATA)
    if classes.dtype.kind == "f" or (classes.size and not 0 <= classes.min() <= classes.max() <= SCL_LAST):
        held = f"{classes.dtype} values of {classes.min():g} to {classes.max():g}" if classes.size else classes.dtype
        raise SourceError(
            f"{raster.label}: holds {held}; scene classes (SCL) are whole numbers of {SCL_NO_DATA} to {SCL_LAST}"
        )
    return classes.astype(np.uint8, copy=False)


def read_float(raster: Raster, grid: GeoBox) -> NDArray[np.float32]:
    """Read the values of a raster at the pixel centres of `grid`, scaled, dB turned into linear power.

    Returns:
        (y, x) float32, NaN where missing or outside the file.

    Raises:
        SourceError: As `read_raw`, or the file holds integers that nothing scales.
    """
    with opened(raster) as dataset:
        kind = np.dtype(dataset.dtypes[0]).kind
        unscaled = raster.scale == 1.0 and raster.offset == 0.0 and not raster.decibel
        if kind != "f" and unscaled:
            raise SourceError(
                f"{raster.label}: holds {dataset.dtypes[0]} values without scale or unit; expected float values, or "
                "`raster:bands` with scale or unit dB (raw Sentinel-1 amplitudes must be calibrated first)"
            )
        nodata = dataset.nodata if raster.nodata is None else raster.nodata
        fill = np.nan if kind == "f" else nodata
        if fill is None:
            raise SourceError(f"{raster.label}: holds {dataset.dtypes[0]} values, and nothing says which means missing")
        raw = _read(raster, dataset, grid, fill)
    # What is too large for float32 becomes infinite, and counts as missing.
    with np.errstate(over="ignore", invalid="ignore"):
        values = raw.astype(np.float32, copy=False)
        if raster.scale != 1.0 or raster.offset != 0.0:
            values = values * np.float32(raster.scale) + np.float32(raster.offset)
        if raster.decibel:
            values = np.power(np.float32(10), values / np.float32(10))
        if nodata is not None and not np.isnan(nodata):
            values[raw == nodata] = np.nan
    return values


def read_smooth(raster: Raster, grid: GeoBox) -> NDArray[np.float64]:
    """Read the values of a smooth field at the pixel centres of `grid`, interpolated linearly between the four nearest pixels.

    Missing ones among the four are left out, and beyond the outermost centres the outermost values go on.

    Returns:
        (y, x) float64, NaN where all four are missing, or outside the file.

    Raises:
        SourceError: The file cannot be read, or lies in another CRS than the catalogue says.
    """
    with opened(raster) as dataset:
        height, width = dataset.shape
        x, y = apply(~dataset.transform, *centres(grid, raster.crs))
        rows, columns = _clipped(y, height), _clipped(x, width)
        nearest = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        if not nearest.any():
            return np.full(grid.shape, np.nan)
        window = window_of(np.floor(rows[nearest]).astype(np.int64), np.floor(columns[nearest]).astype(np.int64))
        window = Window(
            window.col_off,
            window.row_off,
            min(window.width + 1, width - window.col_off),
            min(window.height + 1, height - window.row_off),
        )
        _check_kind(raster, dataset)
        values = _window(raster, dataset, window).astype(np.float64)
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


def _read(raster: Raster, dataset: DatasetReader, grid: GeoBox, fill: float) -> NDArray[Any]:
    kind = _check_kind(raster, dataset)
    if kind.kind != "f" and not (float(fill).is_integer() and np.iinfo(kind).min <= fill <= np.iinfo(kind).max):
        raise SourceError(
            f"{raster.label}: {fill:g} means missing, which {kind} values cannot be; correct `nodata` of the item"
        )
    lookup = find_lookup(raster.crs, dataset.transform, dataset.shape, grid)
    if lookup is None:
        return np.full(grid.shape, fill, kind)
    return lookup.take(_window(raster, dataset, lookup.window), fill=fill, shape=(grid.height, grid.width))


def _check_kind(raster: Raster, dataset: DatasetReader) -> np.dtype[Any]:
    kind: np.dtype[Any] = np.dtype(dataset.dtypes[0])
    if kind.kind not in "uif":
        raise SourceError(f"{raster.label}: holds {kind} values; expected whole numbers or floats")
    return kind


def _window(raster: Raster, dataset: DatasetReader, window: Window) -> NDArray[Any]:
    if window.width * window.height > MAX_READ_PIXELS:
        raise SourceError(
            f"{raster.label}: {window.width} x {window.height} pixels of the file lie under the ROI, which is more than "
            f"{MAX_READ_PIXELS:,}; its pixels measure {dataset.res[0]:g} x {dataset.res[1]:g}: check its transform"
        )
    values: NDArray[Any] = dataset.read(1, window=window)
    return values


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
    with opened(raster) as dataset:
        height, width = dataset.block_shapes[0]
        if not are_parallel(raster.crs, dataset.transform, grid):
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
