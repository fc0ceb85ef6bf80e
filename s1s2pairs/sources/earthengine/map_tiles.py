"""A plan's composites as map tiles that Earth Engine draws, for a look; the dataset's pixels come from `source`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ee
import shapely.geometry

from ...errors import SourceError
from ...grid import footprint_lonlat
from ...plan.choices import Choices, PeriodPlan, Plan
from ...recipe.settings import Settings
from ...report.colours import CO_DB, CROSS_DB, RATIO_DB, polarisation_pair, single_range, true_colour_bands
from ...sensors import S2_CLEAR_BAND
from . import expressions
from .retry import Gate, Patience, TooLarge
from .source import EarthEngineSource

BRIGHTEST = 3000
"""Reflectance x 10000 shown as white."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    """An image to draw, and the range shown of each of its bands."""

    image: Any
    low: tuple[float, ...]
    high: tuple[float, ...]


def layer_urls(plan: Plan, *, project: str | None = None) -> dict[str, str]:
    """Ask Earth Engine for a layer per sensor and period, all ROIs in one: a request each.

    The addresses stop working after some hours, when Earth Engine forgets the map.

    Args:
        plan: With choices made from Earth Engine.
        project: Google Cloud project, as for `EarthEngineSource`.

    Returns:
        Name of the layer -> address of its tiles with `{z}`, `{x}`, `{y}`.

    Raises:
        NotAuthenticated: Credentials are missing or were refused.
        SourceError: Earth Engine cannot draw them.
    """
    source = EarthEngineSource(project=project)
    gate = Gate(source.requests, Patience())
    return {name: _url(gate, name, looks) for name, looks in _layers(plan).items()}


def _layers(plan: Plan) -> dict[str, list[_Look]]:
    layers: dict[str, list[_Look]] = {}
    for roi in plan.rois:
        for name, look in _looks(roi.choices, roi.roi.settings) if roi.choices else ():
            layers.setdefault(name, []).append(look)
    return layers


def _looks(choices: Choices, settings: Settings) -> Iterator[tuple[str, _Look]]:
    outline = ee.Geometry(shapely.geometry.mapping(footprint_lonlat(choices.grid)), None, False)
    for period in choices.periods:
        for sensor, look in (("Sentinel-2", _optical(period, settings)), ("Sentinel-1", _radar(period, settings))):
            image = look.image.clip(outline)
            yield f"{sensor} {period.label} (Earth Engine)", _Look(image=image, low=look.low, high=look.high)


def _optical(period: PeriodPlan, settings: Settings) -> _Look:
    bands = true_colour_bands(settings.s2_bands)
    composite = expressions.optical_composite([a.scene_ids for a in period.optical], settings.s2_bands)
    image = composite.updateMask(composite.select(S2_CLEAR_BAND).gt(0)).select(list(bands))
    return _Look(image=image, low=(0.0,) * len(bands), high=(float(BRIGHTEST),) * len(bands))


def _radar(period: PeriodPlan, settings: Settings) -> _Look:
    mean = expressions.sar_mean([a.scene_ids for a in period.sar], settings.s1_polarisations)
    decibels = mean.updateMask(mean.select(expressions.COUNT_BAND).gt(0)).log10().multiply(10)
    pair = polarisation_pair(settings.s1_polarisations)
    if pair is None:
        name = settings.s1_polarisations[0]
        low, high = single_range(name)
        return _Look(image=decibels.select(name), low=(low,), high=(high,))
    co, cross = (decibels.select(name) for name in pair)
    ranges = (CO_DB, CROSS_DB, RATIO_DB)
    image = ee.Image.cat([co, cross, co.subtract(cross).rename("ratio")])
    return _Look(image=image, low=tuple(r[0] for r in ranges), high=tuple(r[1] for r in ranges))


def _url(gate: Gate, name: str, looks: list[_Look]) -> str:
    # Colours are made ROI by ROI, because ROIs may differ in their bands; what is laid side by side is RGB.
    drawn = [look.image.visualize(min=list(look.low), max=list(look.high), forceRgbOutput=True) for look in looks]
    mosaic = ee.ImageCollection(drawn).mosaic()
    try:
        reply = gate.request(lambda: ee.data.getMapId({"image": mosaic}), what=f"the map layer {name}")
    except TooLarge as error:
        raise SourceError(f"Earth Engine cannot draw the map layer {name} ({error}): map fewer ROIs at once") from error
    url: str = reply["tile_fetcher"].url_format
    return url
