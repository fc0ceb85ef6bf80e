"""The mean incidence angle of a Sentinel-1 item over a ROI, from the best that there is."""

import logging
import xml.etree.ElementTree as ET

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from scipy.interpolate import LinearNDInterpolator

from .. import geometry
from ..acquisition import IncidenceSource
from ..bands import S1_POLARISATIONS
from ..errors import MissingFile, SourceError
from ..grid import WGS84, inside
from . import Place
from .lookup import apply
from .raster import Raster, tags_of
from .reading import read_float
from .stac_catalogue import Catalogue, readable
from .stac_items import Item
from .stac_sensors import angle_raster, annotation_hrefs, backscatter_raster, holds, orbit_pass, relative_orbit

_SAMPLES = 256
"""Points of a ROI at which the smooth grids of annotation and model are taken."""

_MODEL_SLACK_DEG = 1.0
"""How far outside the nominal swath a modelled angle may lie, and how far from what a file says of its edges. The model is good
to 0.16 degrees, real swaths end up to 0.2 beyond the nominal one, and 20 km of a footprint's outline are a degree."""
_EDGE_TAGS = ("IncidenceNearAngle", "IncidenceFarAngle")
"""Of the Planetary Computer's RTC files: the angle at the near and at the far edge of the whole scene, degrees."""

log = logging.getLogger(__name__)


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
    for href in annotation_hrefs(item):
        grid = _geolocation_grid(catalogue.text(href), href)
        if len(grid):
            return _interpolated(grid, href, place), weight, "annotation"
        log.info("%s: no geolocation grid in it; looking further for the angle", href)
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


def _geolocation_grid(text: str, href: str) -> NDArray[np.float64]:
    """Return lon, lat and angle of a product's grid points, (point, 3); no points where it has none."""
    try:
        points = ET.fromstring(text).findall(".//geolocationGridPoint")  # noqa: S314 - expat bounds entity expansion itself
        tags = ("longitude", "latitude", "incidenceAngle")
        return np.array([[float(point.findtext(tag, "")) for tag in tags] for point in points])
    except (ET.ParseError, ValueError) as error:
        raise SourceError(f"{href}: no Sentinel-1 annotation with a geolocation grid ({error})") from error


def _interpolated(table: NDArray[np.float64], href: str, place: Place) -> float:
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
    angles = geometry.incidence_deg(orbit, direction, *_sample_points(place))
    low, high = geometry.SWATH_INCIDENCE_DEG
    if not ((angles >= low - _MODEL_SLACK_DEG) & (angles <= high + _MODEL_SLACK_DEG)).any():
        raise item.fault(
            f"no incidence angle is given, and relative orbit {orbit} {direction} does not see ROI {place.name} (modelled angle "
            f"{angles.mean():.1f} degrees, the swath has {low:g} to {high:g}): check the item's orbit"
        )
    return float(angles.mean())


def check_model(item: Item, catalogue: Catalogue) -> None:
    """Compare the modelled angles along an item's footprint with what its file says of its edges; a mismatch is logged.

    The edges' angles say less about a ROI than the model does: an angle does not grow evenly across the swath, and where the
    edges lie on the ground is known no better than the footprint. But they tell when orbit or pass of an item are wrong.

    Raises:
        SourceError: The file cannot be read.
    """
    polarisation = next((name for name in S1_POLARISATIONS if holds(item, name)), None)
    if polarisation is None:
        return
    try:
        tags = tags_of(readable(backscatter_raster(item, polarisation), catalogue))
    except MissingFile:
        return  # said where the file is needed
    try:
        stated = [float(tags[name]) for name in _EDGE_TAGS]
    except (KeyError, ValueError):
        return
    orbit, direction = relative_orbit(item), orbit_pass(item)
    along = geometry.incidence_deg(orbit, direction, *shapely.get_coordinates(item.footprint).T)
    modelled = [float(np.nanmin(along)), float(np.nanmax(along))] if np.isfinite(along).any() else [np.nan, np.nan]
    if not np.allclose(modelled, stated, rtol=0, atol=_MODEL_SLACK_DEG):
        log.warning(
            "item %s: its file has incidence angles of %.1f to %.1f degrees, relative orbit %d %s gives %.1f to %.1f; orbit, "
            "pass or footprint of the item are wrong, and so is the angle by which its orbit is chosen",
            item.id,
            *stated,
            orbit,
            direction,
            *modelled,
        )
