"""Composites as map tiles that Earth Engine draws, for a look; the dataset's pixels come from `source`."""

from collections.abc import Mapping, Sequence
from typing import Any

import ee
import shapely.geometry

from ...errors import SourceError
from ...sensors import S2_CLEAR_BAND
from ..drawing import Drawing
from . import expressions
from .retry import RequestLimiter, RetryPolicy, TooLarge
from .source import EarthEngineSource


def layer_urls(layers: Mapping[str, Sequence[Drawing]], *, project: str | None = None) -> dict[str, str]:
    """Ask Earth Engine for layers: a request each.

    The addresses stop working after some hours, when Earth Engine forgets the map.

    Args:
        layers: Name -> what is laid side by side in it.
        project: Google Cloud project, as for `EarthEngineSource`.

    Returns:
        Name of the layer -> address of its tiles with `{z}`, `{x}`, `{y}`.

    Raises:
        NotAuthenticated: Credentials are missing or were refused.
        SourceError: Earth Engine cannot draw them.
    """
    source = EarthEngineSource(project=project)
    limiter = RequestLimiter(source.requests, RetryPolicy())
    return {name: _url(limiter, name, drawings) for name, drawings in layers.items()}


def _drawn(drawing: Drawing) -> Any:
    image = _optical(drawing) if drawing.sensor == "s2" else _radar(drawing)
    image = image.clip(ee.Geometry(shapely.geometry.mapping(drawing.outline), None, False))
    low, high = ([float(edge) for edge in edges] for edges in zip(*drawing.ranges, strict=True))
    # Colours are made ROI by ROI, because ROIs may differ in their bands; what is laid side by side is RGB.
    return image.visualize(min=low, max=high, forceRgbOutput=True)


def _optical(drawing: Drawing) -> Any:
    composite = expressions.optical_composite(drawing.scenes, drawing.bands)
    return composite.updateMask(composite.select(S2_CLEAR_BAND).gt(0)).select(list(drawing.shown))


def _radar(drawing: Drawing) -> Any:
    mean = expressions.sar_mean(drawing.scenes, drawing.bands)
    decibels = mean.updateMask(mean.select(expressions.COUNT_BAND).gt(0)).log10().multiply(10)
    if len(drawing.shown) == 1:
        return decibels.select(drawing.shown[0])
    co, cross = (decibels.select(name) for name in drawing.shown)
    return ee.Image.cat([co, cross, co.subtract(cross).rename("ratio")])


def _url(limiter: RequestLimiter, name: str, drawings: Sequence[Drawing]) -> str:
    mosaic = ee.ImageCollection([_drawn(drawing) for drawing in drawings]).mosaic()
    try:
        reply = limiter.request(lambda: ee.data.getMapId({"image": mosaic}), what=f"the map layer {name}")
    except TooLarge as error:
        raise SourceError(f"Earth Engine cannot draw the map layer {name} ({error}): map fewer ROIs at once") from error
    url: str = reply["tile_fetcher"].url_format
    return url
