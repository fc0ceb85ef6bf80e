"""How rasters are cut into patches: the windows, and what a patch is called."""

import math
from dataclasses import dataclass

from odc.geo.geobox import GeoBox

from ..errors import GridError
from ..recipe.settings import PatchSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A square of a ROI's grid."""

    row_off: int
    col_off: int
    size: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The window as (rows, columns)."""
        return slice(self.row_off, self.row_off + self.size), slice(self.col_off, self.col_off + self.size)


def windows(length: int, size: int, *, min_overlap: int = 0, stride: int | None = None) -> tuple[int, ...]:
    """Return where windows start along an axis so that every pixel is covered and none lies outside.

    Adaptive: the fewest windows that overlap by at least `min_overlap`, the first at 0, the last at the end, the rest
    spread evenly to whole pixels (halves up). With `stride`: starts at its multiples, and a last one at the end where
    the stride does not reach it.

    Args:
        length: Pixels of the axis.
        size: Pixels of a window.
        min_overlap: Least overlap of neighbours, pixels, less than `size`.
        stride: Fixed distance instead, pixels, at most `size`.

    Raises:
        GridError: The axis is shorter than a window.
    """
    last = length - size
    if last < 0:
        raise GridError(f"an axis of {length} pixels holds no patch of {size}: pad the grid to at least one patch")
    if stride is not None:
        starts = tuple(range(0, last + 1, stride))
        return starts if starts[-1] == last else (*starts, last)
    if last == 0:
        return (0,)
    steps = math.ceil(last / (size - min_overlap))
    return tuple((2 * i * last + steps) // (2 * steps) for i in range(steps + 1))


def grid_windows(grid: GeoBox, settings: PatchSettings) -> tuple[Window, ...]:
    """Return the windows of a ROI's grid, row by row.

    Raises:
        GridError: The grid is smaller than a patch.
    """
    rows, columns = (
        windows(length, settings.size, min_overlap=settings.min_overlap or 0, stride=settings.stride)
        for length in grid.shape
    )
    return tuple(Window(row_off=row, col_off=column, size=settings.size) for row in rows for column in columns)


def patch_id(roi: str, window: Window) -> str:
    """Return the name of a patch, the same in all periods."""
    return f"{roi}_{window.row_off}_{window.col_off}"


def patch_grid(grid: GeoBox, window: Window) -> GeoBox:
    """Return the part of a ROI's grid that a window covers."""
    rows, columns = window.slices
    part: GeoBox = grid[rows, columns]
    return part
