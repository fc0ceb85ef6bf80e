"""Cut a scene into overlapping windows, and put what was predicted for them together without seams."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
Predict: TypeAlias = Callable[[int, Sequence[int]], Iterator[tuple[int, NDArray[np.float32]]]]
"""From a row and columns to (column, (band, y, x) float32) of each window there; a window may be left out."""


def window_offsets(length: int, size: int, overlap: int) -> list[int]:
    """Return where windows start along an axis: the fewest that overlap by at least `overlap`, evenly spread.

    Args:
        length: Pixels along the axis, at least `size`.
        size: Pixels of a window.
        overlap: Least pixels two neighbours share, less than `size`.
    """
    count = 1 + math.ceil((length - size) / (size - overlap))
    return [round(offset) for offset in np.linspace(0, length - size, count)]


def hann_weights(size: int) -> FloatArray:
    """Return (y, x) weights of a window: 1 in its middle, smoothly down to almost 0 (never 0) at its border."""
    rise = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    return np.outer(rise, rise)


def blend_rows(
    predict: Predict, *, bands: int, height: int, width: int, size: int, overlap: int
) -> Iterator[tuple[int, FloatArray]]:
    """Predict a scene window by window and hand out its rows from top to bottom as soon as they are finished.

    Every pixel is the mean of its windows, weighted by `hann_weights`. Only `size` rows are held at a time.

    Args:
        predict: Predicts one row of windows.
        bands: Bands of a prediction.
        height: Rows of the scene, at least `size`.
        width: Columns of the scene, at least `size`.
        size: Rows and columns of a window.
        overlap: Least pixels that neighbouring windows share.

    Yields:
        First row, and (band, y, x) float64: the finished rows. NaN where no window was predicted.
    """
    weights = hann_weights(size)
    columns = window_offsets(width, size, overlap)
    rows = window_offsets(height, size, overlap)
    total = np.zeros((bands, size, width))
    weight = np.zeros((size, width))
    for row, following in pairwise([*rows, height]):
        for column, prediction in predict(row, columns):
            total[:, :, column : column + size] += prediction * weights
            weight[:, column : column + size] += weights
        finished = following - row
        with np.errstate(invalid="ignore"):  # 0 / 0 where no window was predicted: NaN is the answer wanted
            yield row, total[:, :finished] / weight[:finished]
        total[:, : size - finished], weight[: size - finished] = total[:, finished:], weight[finished:]
        total[:, size - finished :], weight[size - finished :] = 0.0, 0.0
