"""What carrying out a plan from a STAC catalogue takes, worked out from the plan alone."""

from collections.abc import Sequence

from odc.geo.geobox import GeoBox

from ...acquisitions import Needed
from ...sensors import S2_BANDS, SCL_RESOLUTION_M, Sensor
from .. import Cost

_SAR_RESOLUTION_M = 10
"""Of IW GRD. (Archives of other pixel sizes make the estimate too high or too low by the square of the ratio.)"""
_SAR_BYTES, _REFLECTANCE_BYTES = 4, 2


def cost(needed: Needed, grid: GeoBox, *, sensors: Sequence[Sensor]) -> Cost:
    """Estimate how many rasters are read and how many bytes their windows hold, uncompressed, at their own resolution.

    Every scene is counted as covering the whole grid.
    """
    radar = sum(map(len, needed.sar)) * len(needed.polarisations)
    light = sum(map(len, needed.optical))
    bands = sum(_pixels(grid, S2_BANDS[band].resolution_m) for band in needed.bands) * _REFLECTANCE_BYTES
    classes = _pixels(grid, SCL_RESOLUTION_M)
    costs = {
        "s1": Cost(requests=radar, bytes=radar * _pixels(grid, _SAR_RESOLUTION_M) * _SAR_BYTES),
        "s2": Cost(requests=light * (len(needed.bands) + 1), bytes=light * (bands + classes)),
    }
    return Cost.total([costs[sensor] for sensor in sensors])


def _pixels(grid: GeoBox, resolution_m: int) -> int:
    """Return how many pixels of a resolution lie under a grid."""
    size = abs(grid.transform.a) / resolution_m
    return round(grid.height * size) * round(grid.width * size)
