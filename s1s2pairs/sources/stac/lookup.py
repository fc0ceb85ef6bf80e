"""Which pixel of a raster file each pixel of a grid takes: the nearest, exactly."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from rasterio.windows import Window

_EDGE_PX = 1e-6
"""A pixel centre this close to the edge of two source pixels belongs to the later one; above the noise of UTM coordinates."""

_FAR_PX = 2.0**40
"""Beyond the last pixel of any raster."""


def apply(transform: Affine, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Apply an affine transform to arrays of coordinates."""
    return transform.a * x + transform.b * y + transform.c, transform.d * x + transform.e * y + transform.f


@lru_cache(maxsize=256)
def same_crs(one: str, other: str) -> bool:
    """Tell whether two names of a CRS mean the same one."""
    try:
        return CRS.from_user_input(one).equals(CRS.from_user_input(other), ignore_axis_order=True)
    except CRSError:
        return False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lookup:
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
        """Lay the window's values (y, x) on a grid of that shape: (y, x), `fill` where the source has no pixel."""
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
def find_lookup(crs: str, transform: Affine, shape: tuple[int, int], grid: GeoBox) -> Lookup | None:
    """Find the source pixel of each grid pixel; None when no grid pixel lies in the source."""
    if are_parallel(crs, transform, grid):
        return _parallel(transform, shape, grid)
    return _general(crs, transform, shape, grid)


def are_parallel(crs: str, transform: Affine, grid: GeoBox) -> bool:
    """Tell whether the rows and columns of a file run along those of a grid."""
    upright = transform.b == transform.d == grid.transform.b == grid.transform.d == 0
    return upright and same_crs(str(grid.crs), crs)


def _parallel(transform: Affine, shape: tuple[int, int], grid: GeoBox) -> Lookup | None:
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
    window = window_of(rows, columns)
    return Lookup(
        window=window,
        rows=(rows - window.row_off).astype(np.int32),
        columns=(columns - window.col_off).astype(np.int32),
        target=(target[0], target[1]),
    )


def centres(grid: GeoBox, crs: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y, in another CRS, of the pixel centres of a grid."""
    height, width = grid.shape
    x, y = apply(grid.transform, *np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5))
    if same_crs(str(grid.crs), crs):
        return x, y
    x, y = Transformer.from_crs(str(grid.crs), crs, always_xy=True).transform(x, y)
    return x, y


def _general(crs: str, transform: Affine, shape: tuple[int, int], grid: GeoBox) -> Lookup | None:
    height, width = grid.shape
    columns, rows = (_floor(v) for v in apply(~transform, *centres(grid, crs)))
    outside = (columns < 0) | (columns >= shape[1]) | (rows < 0) | (rows >= shape[0])
    if outside.all():
        return None
    window = window_of(rows[~outside], columns[~outside])
    return Lookup(
        window=window,
        rows=np.where(outside, 0, rows - window.row_off).astype(np.int32),
        columns=np.where(outside, 0, columns - window.col_off).astype(np.int32),
        target=(slice(0, height), slice(0, width)),
        outside=outside if outside.any() else None,
    )


def _floor(pixels: NDArray[Any]) -> NDArray[np.int64]:
    # Points beyond the projection come back as inf; they lie outside any raster, as does all that is very far.
    near = np.clip(np.nan_to_num(pixels, posinf=-1.0, neginf=-1.0, nan=-1.0), -1.0, _FAR_PX)
    whole: NDArray[np.int64] = np.floor(near + _EDGE_PX).astype(np.int64)
    return whole


def window_of(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Window:
    """Return the part of a file that holds pixels."""
    row, column = int(rows.min()), int(columns.min())
    return Window(column, row, int(columns.max()) + 1 - column, int(rows.max()) + 1 - row)
