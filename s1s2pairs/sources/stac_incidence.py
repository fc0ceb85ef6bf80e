"""The mean incidence angle of a Sentinel-1 item over a ROI, from the best that there is."""

import xml.etree.ElementTree as ET

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator

from .. import geometry
from ..acquisition import Incidence
from ..errors import SourceError
from ..grid import incidence_grid, incidence_points, inside
from . import Place
from .reading import Raster, read_smooth
from .stac_catalogue import Catalogue, readable
from .stac_items import Item
from .stac_sensors import angle_raster, annotation_href, orbit_pass, relative_orbit, stated_incidence_deg

_MODEL_SLACK_DEG = 3.0
"""How far outside the nominal swath a modelled angle may lie; the model is good to a degree or so."""


def mean_incidence(item: Item, place: Place, catalogue: Catalogue) -> Incidence:
    """Measure the mean incidence angle over the points of a ROI's incidence grid, degrees from the ellipsoid normal.

    From the item's angle raster; else its property `view:incidence_angle`; else its product's annotation grid; else the orbit
    model.

    Raises:
        SourceError: What the item offers cannot be read, or the model does not fit the item's orbit.
    """
    raster = angle_raster(item)
    if raster is not None:
        angles = _over_roi(raster, place, catalogue)
        if angles.size:
            return Incidence(mean_deg=float(angles.mean()), points=angles.size, source="raster")
    points = 1 if raster is None else 0
    stated = stated_incidence_deg(item)
    if stated is not None:
        return Incidence(mean_deg=stated, points=points, source="property")
    href = annotation_href(item)
    if href is not None:
        angle = _from_annotation(catalogue.text(href), href, place)
        return Incidence(mean_deg=angle, points=points, source="annotation")
    angle = _modelled(item, place)
    if points:
        _check_swath(item, place, angle)
    return Incidence(mean_deg=angle, points=points, source="model")


def _over_roi(raster: Raster, place: Place, catalogue: Catalogue) -> NDArray[np.float64]:
    grid = incidence_grid(place.analysis_grid)
    angles = read_smooth(readable(raster, catalogue), grid)
    return angles[inside(place.polygon, grid) & np.isfinite(angles)]


def _from_annotation(text: str, href: str, place: Place) -> float:
    try:
        points = ET.fromstring(text).findall(".//geolocationGridPoint")  # noqa: S314 - expat bounds entity expansion itself
        table = np.array(
            [
                [float(point.findtext(tag, "")) for tag in ("longitude", "latitude", "incidenceAngle")]
                for point in points
            ]
        )
    except (ET.ParseError, ValueError) as error:
        raise SourceError(f"{href}: no Sentinel-1 annotation with a geolocation grid ({error})") from error
    if len(table) < 3:
        raise SourceError(
            f"{href}: the geolocation grid has {len(table)} points; the product's annotation has hundreds"
        )
    angles = LinearNDInterpolator(table[:, :2], table[:, 2])(*incidence_points(place.polygon, place.analysis_grid))
    if not np.isfinite(angles).any():
        raise SourceError(
            f"{href}: the geolocation grid does not reach ROI {place.name}, which the item's footprint touches"
        )
    return float(np.nanmean(angles))


def _modelled(item: Item, place: Place) -> float:
    return float(
        np.mean(
            geometry.incidence_deg(
                relative_orbit(item), orbit_pass(item), *incidence_points(place.polygon, place.analysis_grid)
            )
        )
    )


def _check_swath(item: Item, place: Place, angle: float) -> None:
    low, high = geometry.SWATH_INCIDENCE_DEG
    if not low - _MODEL_SLACK_DEG <= angle <= high + _MODEL_SLACK_DEG:
        raise item.fault(
            f"no incidence angle is given, and relative orbit {relative_orbit(item)} {orbit_pass(item)} does not see ROI "
            f"{place.name} (modelled angle {angle:.1f} degrees, the swath has {low:g} to {high:g}): check the item's orbit"
        )
