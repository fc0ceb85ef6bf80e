"""Decibels, and the spatial speckle filters of Lee: both work in linear power, where speckle is multiplicative.

The filters take the speckle's strength from the equivalent number of looks (ENL) of each pixel: 4.4 for one IW GRD
product at high resolution (Sentinel-1 Product Definition, S1-RS-MDA-52-7440, IW_GRD_HR) times the number of
acquisitions averaged.
"""

from collections.abc import Iterator
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float64]
Filter = Literal["none", "lee", "refined_lee"]

GRD_LOOKS: Final = 4.4
"""Equivalent number of looks of one IW GRDH acquisition."""
WINDOW_PX: Final = 7
_HALF: Final = WINDOW_PX // 2
_BLOCK_ROWS: Final = 512
"""Rows filtered at a time, so that memory does not grow with the height of the ROI."""


def to_db(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return backscatter in dB from linear power, any shape; NaN stays NaN. Values must be > 0 or NaN."""
    decibels: NDArray[np.float32] = (10.0 * np.log10(linear.astype(np.float64))).astype(np.float32)
    return decibels


def despeckle(linear: NDArray[np.float32], *, looks: NDArray[np.float64], method: Filter) -> NDArray[np.float32]:
    """Filter speckle in each band of a raster.

    `lee` is the local-statistics estimator (Lee, 1980, IEEE TPAMI 2(2)) in a 7 x 7 window; `refined_lee` takes its
    statistics from the half of that window that lies on the pixel's side of the local edge (Lee, 1981, Computer
    Graphics and Image Processing 15). Lee (1981) does so only where the local variance is high; here, as in common
    use on SAR images, it is done in every pixel.

    Args:
        linear: (band, y, x) float32, linear power > 0, NaN where missing.
        looks: (y, x) float64, equivalent number of looks; anything where `linear` is missing.
        method: Which filter.

    Returns:
        (band, y, x) float32, linear power, NaN exactly where `linear` is NaN. Missing neighbours and what lies beyond
        the raster are left out of all statistics.
    """
    if method == "none":
        return linear
    one_band = _lee if method == "lee" else _refined_lee
    filtered = np.empty_like(linear)
    rows = linear.shape[1]
    # Each block is filtered with the rows its windows reach into on both sides; the centre 3 x 3 means of the refined
    # filter stay within the 7 x 7 window, so half a window is all there is to reach.
    for start in range(0, rows, _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, rows)
        top, bottom = max(0, start - _HALF), min(rows, stop + _HALF)
        for band in range(linear.shape[0]):
            block = one_band(linear[band, top:bottom].astype(np.float64), looks[top:bottom])
            filtered[band, start:stop] = block[start - top : stop - top]
    return filtered


def _lee(image: Floats, looks: Floats) -> Floats:
    square = np.ones(WINDOW_PX)

    def total(values: Floats) -> Floats:
        return _correlate1d(_correlate1d(values, square, axis=0), square, axis=1)

    valid = np.isfinite(image)
    filled = np.where(valid, image, 0.0)
    return _estimate(image, looks, total(valid.astype(np.float64)), total(filled), total(filled**2))


def _correlate1d(values: Floats, weights: Floats, *, axis: int) -> Floats:
    result: Floats = ndimage.correlate1d(values, weights, axis=axis, mode="constant")
    return result


def _estimate(image: Floats, looks: Floats, count: Floats, total: Floats, total_squares: Floats) -> Floats:
    """Return Lee's minimum mean square error estimate under multiplicative noise from the sums over each window."""
    noise = 1.0 / looks  # squared coefficient of variation of speckle in power
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        variance = np.maximum(total_squares / count - mean**2, 0.0)
        texture = np.maximum(variance - mean**2 * noise, 0.0) / (1.0 + noise)
        weight = np.where(variance > 0, texture / variance, 0.0)
        estimate: Floats = mean + weight * (image - mean)
    return np.where(np.isfinite(image), estimate, np.nan)


def _refined_lee(image: Floats, looks: Floats) -> Floats:
    valid = np.isfinite(image)
    filled = np.where(valid, image, 0.0)
    ones = valid.astype(np.float64)
    direction = _edge_side(ones, filled)
    sums = np.zeros((3, *image.shape))
    for side, footprint in enumerate(half_windows()):
        chosen = direction == side
        for row, values in zip(sums, (ones, filled, filled**2), strict=True):
            row[chosen] = _footprint_sum(values, footprint)[chosen]
    return _estimate(image, looks, *sums)


def half_windows() -> Iterator[NDArray[np.bool_]]:
    """Yield the eight halves of the 7 x 7 window, each with the line through the centre.

    East, west, north, south, then north-east, south-west, north-west, south-east: (y, x) bool, 28 pixels each.
    """
    y, x = np.mgrid[-_HALF : _HALF + 1, -_HALF : _HALF + 1]
    yield x >= 0
    yield x <= 0
    yield y <= 0
    yield y >= 0
    yield x - y >= 0
    yield x - y <= 0
    yield x + y <= 0
    yield x + y >= 0


def _footprint_sum(values: Floats, footprint: NDArray[np.bool_]) -> Floats:
    result: Floats = ndimage.correlate(values, footprint.astype(np.float64), mode="constant")
    return result


def _edge_side(ones: Floats, filled: Floats) -> NDArray[np.intp]:
    """Return which half window each pixel belongs to, (y, x) int as numbered by `half_windows`.

    The 3 x 3 means of nine overlapping parts of the window show the edge: its orientation is the one with the largest
    difference between opposite sides, and the pixel's side is the one whose mean is nearer that of the centre.
    """
    rows, columns = ones.shape
    count, total = _part_sums(ones), _part_sums(filled)

    def mean_at(dy: int, dx: int, otherwise: Floats) -> Floats:
        here = (slice(2 + dy, 2 + dy + rows), slice(2 + dx, 2 + dx + columns))
        return np.divide(total[here], count[here], out=otherwise.copy(), where=count[here] > 0)

    centre = mean_at(0, 0, np.zeros_like(ones))

    # A part without any value says nothing about an edge: as if it were like the centre.
    grid = {(dy, dx): mean_at(dy, dx, centre) for dy in (-2, 0, 2) for dx in (-2, 0, 2)}
    sides = (
        (((-2, 2), (0, 2), (2, 2)), ((-2, -2), (0, -2), (2, -2))),  # east, west
        (((-2, -2), (-2, 0), (-2, 2)), ((2, -2), (2, 0), (2, 2))),  # north, south
        (((-2, 0), (-2, 2), (0, 2)), ((0, -2), (2, -2), (2, 0))),  # north-east, south-west
        (((-2, 0), (-2, -2), (0, -2)), ((0, 2), (2, 2), (2, 0))),  # north-west, south-east
    )
    means = [[_mean_of(grid, parts) for parts in pair] for pair in sides]
    gradient = np.stack([np.abs(one - other) for one, other in means])
    orientation = np.argmax(gradient, axis=0)
    nearer_other = np.stack([np.abs(other - centre) < np.abs(one - centre) for one, other in means])
    second: NDArray[np.bool_] = np.take_along_axis(nearer_other, orientation[None], axis=0)[0]
    side: NDArray[np.intp] = 2 * orientation + second
    return side


def _mean_of(grid: dict[tuple[int, int], Floats], parts: tuple[tuple[int, int], ...]) -> Floats:
    first, second, third = (grid[part] for part in parts)
    return (first + second + third) / 3.0


def _part_sums(values: Floats) -> Floats:
    """Return the sums over 3 x 3 pixels, also around centres up to two pixels beyond the raster."""
    part = np.ones(3)
    return _correlate1d(_correlate1d(np.pad(values, 2), part, axis=0), part, axis=1)
