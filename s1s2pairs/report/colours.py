"""From pixel values to colours: stretches and composites shared by the report's pictures and the map.

Colours are (3, y, x) float32, red, green and blue from 0 to 1, NaN where a pixel has no value.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..sensors import REFLECTANCE_SCALE

CO_DB = (-20.0, 2.0)
"""Shown range of a co-polarised band, dB."""
CROSS_DB = (-27.0, -5.0)
RATIO_DB = (2.0, 16.0)
"""Shown range of co- over cross-polarised power, dB."""
PAIRS = (("VV", "VH"), ("HH", "HV"))

Bands = NDArray[np.float32]
"""(band, y, x) float32, NaN where missing."""
Stretch = tuple[tuple[float, float], ...]
"""Shown range of each band."""


def halve(values: Bands) -> Bands:
    """Average blocks of 2 x 2 pixels over the values there are; an odd last row or column is left out.

    Args:
        values: (band, y, x) float32, NaN where missing. Power for radar, never dB.
    """
    bands, rows, columns = values.shape
    if min(rows, columns) < 2:
        return values
    blocks = values[:, : rows // 2 * 2, : columns // 2 * 2].reshape(bands, rows // 2, 2, columns // 2, 2)
    count = np.isfinite(blocks).sum(axis=(2, 4))
    total = np.nansum(blocks, axis=(2, 4))
    mean: Bands = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
    return mean


def halve_db(values: Bands) -> Bands:
    """As `halve`, for dB: averaged in linear power."""
    linear = (10 ** (values / 10)).astype(np.float32)
    return (10 * np.log10(halve(linear))).astype(np.float32)


def polarisation_pair(polarisations: Sequence[str]) -> tuple[str, str] | None:
    """Return the co- and the cross-polarised band that make a colour composite, None where there is no such pair."""
    return next((pair for pair in PAIRS if set(pair) <= set(polarisations)), None)


def single_range(polarisation: str) -> tuple[float, float]:
    """Return the range in which one polarisation is shown in grey, dB."""
    return CROSS_DB if polarisation in ("VH", "HV") else CO_DB


def radar_colours(decibels: Bands, *, polarisations: Sequence[str]) -> Bands:
    """Colour a radar image: red co-, green cross-polarised, blue their ratio; the first band in grey without a pair.

    Args:
        decibels: (band, y, x) float32, dB, NaN where missing.
        polarisations: Names of the bands.
    """
    pair = polarisation_pair(polarisations)
    if pair is None:
        return grey(decibels[0], *single_range(polarisations[0]))
    co, cross = (decibels[list(polarisations).index(name)] for name in pair)
    return np.stack([scaled(v, *r) for v, r in ((co, CO_DB), (cross, CROSS_DB), (co - cross, RATIO_DB))])


def true_colour_bands(bands: Sequence[str]) -> tuple[str, ...]:
    """Return the bands shown as red, green and blue; the first band alone where one of them is lacking."""
    return ("B4", "B3", "B2") if {"B4", "B3", "B2"} <= set(bands) else (bands[0],)


def stretch_of(images: Sequence[Bands]) -> Stretch:
    """Return each band's 2nd and 98th percentile over images together, so that their colours compare.

    Args:
        images: (band, y, x) float32 each, the same bands, NaN where missing.
    """
    ranges = []
    for band in zip(*images, strict=True):
        values = np.concatenate([image[np.isfinite(image)] for image in band])
        low, high = np.percentile(values, (2, 98)) if values.size else (0.0, 1.0)
        ranges.append((float(low), max(float(high), float(low) + 1e-4 * REFLECTANCE_SCALE)))
    return tuple(ranges)


def optical_colours(shown: Bands, *, stretch: Stretch) -> Bands:
    """Colour an optical image: three bands as red, green and blue, one band in grey.

    Args:
        shown: (band, y, x) float32, NaN where missing; three bands or one.
        stretch: Range shown of each.
    """
    if len(shown) == 1:
        return grey(shown[0], *stretch[0])
    return np.stack([scaled(band, *limits) for band, limits in zip(shown, stretch, strict=True)])


def grey(band: NDArray[np.float32], low: float, high: float) -> Bands:
    """Colour one band, (y, x) float32, in grey."""
    return np.repeat(scaled(band, low, high)[np.newaxis], 3, axis=0)


def scaled(band: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """Map a range to 0..1, values beyond it to its ends; NaN stays NaN."""
    fraction: NDArray[np.float32] = np.clip((band - low) / (high - low), 0, 1).astype(np.float32)
    return fraction
