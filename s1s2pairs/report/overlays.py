"""A dataset's composites as pictures that lie on a web map."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from ..dataset.layout import raster_path
from ..dataset.rasters import check_fits, opened_in
from ..dataset.storage import Storage
from ..grid import WGS84
from ..plan.choices import RoiPlan
from .colours import Bands, optical_colours, radar_colours, stretch_of, true_colour_bands
from .inline import data_uri

WEB_MERCATOR: Final = "EPSG:3857"
LARGEST_PX: Final = 512
"""Longest side of a picture."""
WEBP_QUALITY: Final = 75

Bounds = tuple[float, float, float, float]
"""West, south, east, north, degrees."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlay:
    """A composite, ready to lie on a map."""

    layer: str
    """`Sentinel-1 2019`."""
    uri: str
    """Web Mercator, transparent where there is no value."""
    bounds: Bounds


def overlays(roi: RoiPlan, storage: Storage) -> Iterator[Overlay]:
    """Draw a ROI's composites: true colour for Sentinel-2, stretched alike in all periods, then Sentinel-1.

    Args:
        roi: The ROI. One for which nothing was chosen gives nothing.
        storage: The dataset.

    Raises:
        DatasetError: A raster is missing or damaged, has fewer bands, or lies elsewhere.
    """
    if roi.choices is None:
        return
    name, settings, grid = roi.roi.name, roi.roi.settings, roi.choices.grid
    labels = [period.label for period in roi.choices.periods]
    shown = true_colour_bands(settings.s2_bands)
    numbers = [settings.s2_bands.index(band) + 1 for band in shown]
    optical = {label: _warped(storage, raster_path(name, label, "s2"), grid, numbers) for label in labels}
    stretch = stretch_of([pixels for pixels, _ in optical.values()])
    for label, (pixels, bounds) in optical.items():
        yield _overlay(f"Sentinel-2 {label}", optical_colours(pixels, stretch=stretch), bounds)
    polarisations = settings.s1_polarisations
    for label in labels:
        pixels, bounds = _warped(storage, raster_path(name, label, "s1"), grid, [*range(1, len(polarisations) + 1)])
        yield _overlay(f"Sentinel-1 {label}", radar_colours(pixels, polarisations=polarisations), bounds)


def _warped(storage: Storage, path: str, grid: GeoBox, bands: list[int]) -> tuple[Bands, Bounds]:
    """Read bands in Web Mercator, decimated: (band, y, x) float32, NaN where missing; and the bounds in degrees."""
    with opened_in(storage, path) as raster:
        check_fits(raster, grid, bands=max(bands), name=storage.where(path))
        with WarpedVRT(raster, crs=WEB_MERCATOR, resampling=Resampling.nearest) as vrt:
            factor = max(1.0, max(vrt.shape) / LARGEST_PX)
            shape = (len(bands), *(max(1, round(side / factor)) for side in vrt.shape))
            pixels = vrt.read(bands, out_shape=shape, masked=True)
            bounds = transform_bounds(WEB_MERCATOR, WGS84, *vrt.bounds)
    return pixels.astype(np.float32).filled(np.nan), bounds


def _overlay(layer: str, colours: Bands, bounds: Bounds) -> Overlay:
    valid = np.isfinite(colours).all(axis=0, keepdims=True)
    rgba = np.rint(np.nan_to_num(np.concatenate([colours, valid])) * 255).astype(np.uint8)
    uri = data_uri(rgba.transpose(1, 2, 0), kind="webp", quality=WEBP_QUALITY)
    return Overlay(layer=layer, uri=uri, bounds=bounds)
