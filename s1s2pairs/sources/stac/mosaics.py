"""Laying the scenes of one overflight side by side on a grid."""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ...acquisitions import RoiGrids
from ...grid import inside
from ...sensors import SCL_CLOUD, SCL_NO_DATA, SCL_SNOW
from ..compositing import stored_reflectance, valid_backscatter
from .raster import Raster
from .reading import read_classes, read_float, read_raw

log = logging.getLogger(__name__)

_IS_CLOUD = np.isin(np.arange(256), SCL_CLOUD)
_SUSPICIOUS_FRACTION = 0.2
"""More clear pixels than this at or below zero, in a band with an offset: the offset has probably been taken off already."""


def scl_mosaic(rasters: Sequence[Raster], grid: GeoBox) -> NDArray[np.uint8]:
    """Lay the scene classes of one datatake's granules side by side: (y, x) uint8, 0 where missing."""
    mosaic = np.zeros(grid.shape, np.uint8)
    for raster in rasters:
        np.copyto(mosaic, read_classes(raster, grid), where=mosaic == SCL_NO_DATA)
    return mosaic


def fractions_over(classes: NDArray[np.uint8], place: RoiGrids) -> tuple[float, float, float]:
    """Return coverage, cloud and snow fraction of (y, x) scene classes over the ROI."""
    classes = classes[inside(place.polygon, place.analysis_grid)]
    covered = int(np.count_nonzero(classes != SCL_NO_DATA))
    if not covered:
        return 0.0, 1.0, 0.0
    cloud = int(np.count_nonzero(_IS_CLOUD[classes]))
    return covered / classes.size, cloud / covered, int(np.count_nonzero(classes == SCL_SNOW)) / covered


def sar_mosaic(scenes: Sequence[Sequence[Raster]], grid: GeoBox) -> NDArray[np.float32]:
    """Lay the slices of one pass side by side: (polarisation, y, x) float32 linear power, NaN or <= 0 where missing."""
    mosaic = np.stack([read_float(raster, grid) for raster in scenes[0]])
    for rasters in scenes[1:]:
        more = np.stack([read_float(raster, grid) for raster in rasters])
        np.copyto(mosaic, more, where=~valid_backscatter(mosaic) & valid_backscatter(more))
    return mosaic


def clear_mosaic(scenes: Sequence[Sequence[Raster]], grid: GeoBox, out: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Lay the granules of one datatake side by side, clear pixels only.

    Args:
        scenes: For each granule its bands' rasters, then its scene classes'.
        grid: Where.
        out: (band, y, x) uint16 zeros, filled with reflectance x 10000.

    Returns:
        (y, x) bool, which pixels were filled.
    """
    free = np.ones(grid.shape, np.bool_)
    clear = np.zeros(grid.shape, np.bool_)
    for *rasters, scl in scenes:
        classes = read_classes(scl, grid)
        valid = free & (classes != SCL_NO_DATA)
        if not valid.any():
            continue
        raw = [read_raw(raster, grid, fill=raster.nodata or 0) for raster in rasters]
        for values, raster in zip(raw, rasters, strict=True):
            with np.errstate(over="ignore"):  # a no-data value may be larger than the file's type can hold
                valid &= values != raster.nodata
            if values.dtype.kind == "f":
                valid &= np.isfinite(values)
        free &= ~valid
        valid &= ~_IS_CLOUD[classes]
        for band, values, raster in zip(out, raw, rasters, strict=True):
            np.copyto(band, stored_reflectance(values, scale=raster.scale, offset=raster.offset), where=valid)
            if raster.offset < 0:
                _watch_offset(band[valid], raster)
        clear |= valid
    return clear


def _watch_offset(stored: NDArray[np.uint16], raster: Raster) -> None:
    lowest = np.count_nonzero(stored == 1)
    if lowest > _SUSPICIOUS_FRACTION * stored.size:
        log.warning(
            "%s: %.0f %% of the clear pixels are at or below zero with the offset %g; some catalogues list an offset that "
            "their files no longer hold (docs/sources.md)",
            raster.label,
            100 * lowest / stored.size,
            raster.offset,
        )
