"""Putting acquisitions together pixel by pixel: the mean of radar power, the median of clear reflectance. Arrays only, no I/O."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..acquisitions import SceneIds
from ..errors import SourceError
from ..sensors import REFLECTANCE_SCALE

MOST_ACQUISITIONS = 255
"""In one image: a pixel's count of them is a byte."""
_CACHE_PIXELS = 16_384
"""Pixels sorted at once, so that all their dates stay in the processor's cache."""


def check_countable(acquisitions: Sequence[SceneIds]) -> None:
    """Refuse more acquisitions than a pixel can count.

    Raises:
        SourceError: There are more than `MOST_ACQUISITIONS`.
    """
    if len(acquisitions) > MOST_ACQUISITIONS:
        raise SourceError(
            f"{len(acquisitions)} acquisitions for one image, from {acquisitions[0][0]} on; at most {MOST_ACQUISITIONS} can be "
            "counted: shorten the period, or lower max_cloud_fraction"
        )


class LinearMean:
    """A running mean of SAR acquisitions in linear power: what it holds does not grow with their number."""

    def __init__(self, polarisations: int, shape: tuple[int, int]) -> None:
        self._sum = np.zeros((polarisations, *shape), np.float64)
        self._count = np.zeros(shape, np.uint8)

    def add(self, linear: NDArray[np.float32]) -> None:
        """Add one acquisition.

        Args:
            linear: (polarisation, y, x) float32, linear power. A pixel counts when every polarisation is finite and above 0.
        """
        valid = valid_backscatter(linear)
        np.add(self._sum, linear, out=self._sum, where=valid)
        self._count += valid

    def result(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return the mean, (polarisation, y, x) float32 linear power, NaN where nothing was added, and the count (y, x) uint8."""
        with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN that is wanted
            mean = self._sum / self._count
        return mean.astype(np.float32), self._count


def valid_backscatter(linear: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which pixels of (polarisation, y, x) linear power are finite and above 0 in every polarisation: (y, x) bool."""
    valid: NDArray[np.bool_] = np.logical_and.reduce((linear > 0) & (linear < np.inf))
    return valid


def stored_reflectance(raw: NDArray[Any], *, scale: float, offset: float) -> NDArray[np.uint16]:
    """Turn a catalogue's raw values into reflectance x 10000, rounded half up and clipped to 1..65535.

    Args:
        raw: Valid values, any shape and type.
        scale: Reflectance = raw x scale + offset.
        offset: See scale.
    """
    if raw.dtype == np.uint16 and raw.size > 65_536:
        # Each of the 65536 possible values once: no arrays of floats, and the same result.
        return np.take(_reflectance(np.arange(65_536), scale, offset), raw)
    return _reflectance(raw, scale, offset)


def _reflectance(raw: NDArray[Any], scale: float, offset: float) -> NDArray[np.uint16]:
    exact = (raw.astype(np.float64) * scale + offset) * REFLECTANCE_SCALE
    # 0.1 and its like are not exact in binary; what is a half to seven digits counts as a half.
    with np.errstate(invalid="ignore", over="ignore"):  # values that are missing, or far too large, are not kept
        rounded = np.floor(np.round(exact, 7) + 0.5)
        return np.clip(rounded, 1, 65_535).astype(np.uint16)


def median_of_present(values: NDArray[np.uint16], count: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Take the median over the acquisitions, leaving out missing values.

    Args:
        values: (acquisition, band, y, x) uint16, 0 where missing in all bands. Overwritten.
        count: (y, x) uint8, acquisitions with a value.

    Returns:
        (band, y, x) uint16: the middle value, or the mean of the two middle ones with a half rounded up; 0 where all are missing.
    """
    dates, bands = values.shape[:2]
    flat = values.reshape(dates, bands, -1)
    counts = count.reshape(-1)
    out = np.empty(flat.shape[1:], np.uint16)
    comparators = list(_sorting_network(dates))
    for start in range(0, flat.shape[2], _CACHE_PIXELS):
        part = slice(start, start + _CACHE_PIXELS)
        chunk = np.ascontiguousarray(flat[:, :, part])
        _sort_dates(chunk, comparators)
        out[:, part] = _middle(chunk, counts[part])
    return out.reshape(values.shape[1:])


def _middle(ascending: NDArray[np.uint16], count: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Average the two middle ones of the last `count` values of each (acquisition, band, pixel) column."""
    dates = len(ascending)
    out = np.zeros(ascending.shape[1:], np.uint16)
    for present in np.unique(count):
        if present == 0:
            continue
        first = dates - int(present)
        lower, upper = ascending[first + (present - 1) // 2], ascending[first + present // 2]
        middle = ((lower.astype(np.uint32) + upper + 1) // 2).astype(np.uint16)
        np.copyto(out, middle, where=count == present)
    return out


def _sort_dates(values: NDArray[np.uint16], comparators: list[tuple[int, int]]) -> None:
    """Sort along the first axis in place. Comparing whole images is many times faster than sorting pixel by pixel."""
    spare = np.empty_like(values[0])
    for low, high in comparators:
        np.minimum(values[low], values[high], out=spare)
        np.maximum(values[low], values[high], out=values[high])
        values[low] = spare


def _sorting_network(size: int) -> Iterator[tuple[int, int]]:
    """Yield the comparisons that sort `size` values: Batcher's odd-even merge sort (Knuth, TAOCP 3, algorithm 5.2.2M)."""
    top = 1 << max(0, (size - 1).bit_length() - 1)
    step = top
    while step:
        reach, offset, distance = top, 0, step
        while True:
            yield from ((i, i + distance) for i in range(size - distance) if i & step == offset)
            if reach == step:
                break
            distance, reach, offset = reach - step, reach >> 1, step
        step >>= 1
