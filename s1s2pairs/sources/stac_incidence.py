"""The mean incidence angle of a Sentinel-1 item over a ROI, from the best that there is."""

import xml.etree.ElementTree as ET

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from scipy.interpolate import LinearNDInterpolator

from .. import geometry
from ..acquisition import IncidenceSource
from ..errors import SourceError
from ..grid import WGS84, inside
from . import Place
from .lookup import apply
from .raster import Raster
from .reading import read_float
from .stac_catalogue import Catalogue, readable
from .stac_items import Item
from .stac_sensors import angle_raster, annotation_href, orbit_pass, relative_orbit

_SAMPLES = 256
"""Points of a ROI at which the smooth grids of annotation and model are taken."""

_MODEL_SLACK_DEG = 3.0
"""How far outside the nominal swath a modelled angle may lie; the model is good to a degree or so."""


def mean_incidence(item: Item, place: Place, catalogue: Catalogue) -> tuple[float, int, IncidenceSource]:
    """Measure the mean incidence angle over a ROI, degrees from the ellipsoid normal.

    From the item's angle raster; else its property `view:incidence_angle`; else its product's annotation grid; else the orbit
    model.

    Returns:
        The angle; over how many pixels it was taken (1 where it is not from a raster, 0 where the raster has no value in the
        ROI); and where it is from.

    Raises:
        SourceError: What the item offers cannot be read, or the model does not fit the item's orbit.
    """
    raster = angle_raster(item)
    if raster is not None:
        angles = _over_roi(raster, place, catalogue)
        if angles.size:
            return float(angles.mean(dtype=np.float64)), angles.size, "raster"
    weight = 1 if raster is None else 0
    stated = item.properties.get("view:incidence_angle")
    if stated is not None:
        return _degrees(item, stated), weight, "property"
    href = annotation_href(item)
    if href is not None:
        return _from_annotation(catalogue.text(href), href, place), weight, "annotation"
    return _modelled(item, place), weight, "model"


def _over_roi(raster: Raster, place: Place, catalogue: Catalogue) -> NDArray[np.float32]:
    angles = read_float(readable(raster, catalogue), place.analysis_grid)
    return angles[inside(place.polygon, place.analysis_grid) & np.isfinite(angles)]


def _degrees(item: Item, stated: object) -> float:
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not 0 < stated < 90:
        raise item.fault(f"`view:incidence_angle` is {stated!r}; wanted are degrees between 0 and 90")
    return float(stated)


def _sample_points(place: Place) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return lon and lat of some pixel centres of the ROI, evenly picked."""
    rows, columns = np.nonzero(inside(place.polygon, place.analysis_grid))
    step = max(1, rows.size // _SAMPLES)
    x, y = apply(place.analysis_grid.transform, columns[::step] + 0.5, rows[::step] + 0.5)
    lon, lat = Transformer.from_crs(str(place.analysis_grid.crs), WGS84, always_xy=True).transform(x, y)
    return np.asarray(lon), np.asarray(lat)


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
    angles = LinearNDInterpolator(table[:, :2], table[:, 2])(*_sample_points(place))
    if not np.isfinite(angles).any():
        raise SourceError(
            f"{href}: the geolocation grid does not reach ROI {place.name}, which the item's footprint touches"
        )
    return float(np.nanmean(angles))


def _modelled(item: Item, place: Place) -> float:
    orbit, direction = relative_orbit(item), orbit_pass(item)
    angle = float(np.mean(geometry.incidence_deg(orbit, direction, *_sample_points(place))))
    low, high = geometry.SWATH_INCIDENCE_DEG
    if not low - _MODEL_SLACK_DEG <= angle <= high + _MODEL_SLACK_DEG:
        raise item.fault(
            f"no incidence angle is given, and relative orbit {orbit} {direction} does not see ROI {place.name} (modelled angle "
            f"{angle:.1f} degrees, the swath has {low:g} to {high:g}): check the item's orbit"
        )
    return angle
