"""What carrying out a plan from a STAC catalogue takes, worked out from the plan alone."""

from collections.abc import Mapping, Sequence

from odc.geo.geobox import GeoBox

from ...plan.choices import PeriodPlan, RoiPlan
from ...recipe.settings import Settings
from ...sensors import S2_BANDS, SCL_RESOLUTION_M, Sensor
from .. import Cost

_SAR_RESOLUTION_M = 10
"""Of IW GRD. (Archives of other pixel sizes make the estimate too high or too low by the square of the ratio.)"""
_SAR_BYTES, _REFLECTANCE_BYTES = 4, 2


def cost(plan: RoiPlan, sensors: Sequence[Sensor]) -> Cost:
    """Estimate how many rasters are read and how many bytes their windows hold, uncompressed, at their own resolution.

    Every scene is counted as covering the whole grid.
    """
    if plan.choices is None:
        return Cost(requests=0, bytes=0)
    settings, grid = plan.roi.settings, plan.choices.grid
    periods = [_of_period(period, settings, grid) for period in plan.choices.periods]
    return Cost.total([period[sensor] for period in periods for sensor in sensors])


def _of_period(period: PeriodPlan, settings: Settings, grid: GeoBox) -> Mapping[Sensor, Cost]:
    radar = sum(len(acquisition.scene_ids) for acquisition in period.sar) * len(settings.s1_polarisations)
    light = sum(len(acquisition.scene_ids) for acquisition in period.optical)
    bands = sum(_pixels(grid, S2_BANDS[band].resolution_m) for band in settings.s2_bands) * _REFLECTANCE_BYTES
    classes = _pixels(grid, SCL_RESOLUTION_M)
    return {
        "s1": Cost(requests=radar, bytes=radar * _pixels(grid, _SAR_RESOLUTION_M) * _SAR_BYTES),
        "s2": Cost(requests=light * (len(settings.s2_bands) + 1), bytes=light * (bands + classes)),
    }


def _pixels(grid: GeoBox, resolution_m: int) -> int:
    """Return how many pixels of a resolution lie under a grid."""
    size = abs(grid.transform.a) / resolution_m
    return round(grid.height * size) * round(grid.width * size)
