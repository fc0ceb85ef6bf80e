"""The mean incidence angle of a Sentinel-1 item over a ROI, from the best that there is."""

import logging
import xml.etree.ElementTree as ET

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import QhullError

from ... import s1_orbits
from ...acquisitions import Incidence, RoiGrids
from ...errors import MissingFile, SourceError
from ...grid import incidence_grid, incidence_points, inside
from ...sensors import S1_POLARISATIONS
from .catalogue import Catalogue, readable
from .items import Item
from .raster import tags_of
from .reading import read_smooth
from .scenes import (
    angle_raster,
    annotation_hrefs,
    backscatter_raster,
    holds,
    orbit_pass,
    relative_orbit,
    stated_incidence_deg,
)

_MODEL_SLACK_DEG = 1.0
"""How far outside the nominal swath a modelled angle may lie, and how far from what a file says of its edges. The model is good
to 0.16 degrees, real swaths end up to 0.2 beyond the nominal one, and 20 km of a footprint's outline are a degree."""
_EDGE_TAGS = ("IncidenceNearAngle", "IncidenceFarAngle")
"""Of the Planetary Computer's RTC files: the angle at the near and at the far edge of the whole scene, degrees."""

log = logging.getLogger(__name__)


def mean_incidence(item: Item, place: RoiGrids, catalogue: Catalogue) -> Incidence:
    """Measure the mean incidence angle over the points of a ROI's incidence grid, degrees from the ellipsoid normal.

    From the item's angle raster; else its property `view:incidence_angle`; else its product's annotation grid; else the near and
    far angle in its file's tags; else the orbit model. A file that is listed and not there is passed over with a warning.

    Raises:
        SourceError: What the item offers cannot be read, or the model does not fit the item's orbit.
    """
    angles = _of_raster(item, place, catalogue)
    if angles is not None and angles.size:
        _check_angles(item, angles, "angle raster")
        return Incidence(mean_deg=float(angles.mean()), points=angles.size, source="raster")
    points = 1 if angles is None else 0
    stated = stated_incidence_deg(item)
    if stated is not None:
        return Incidence(mean_deg=stated, points=points, source="property")
    for href in annotation_hrefs(item):
        try:
            grid = _geolocation_grid(catalogue.text(href), href)
        except MissingFile as error:
            log.warning("%s; looking further for the angle", error)
            continue
        if len(grid):
            _check_angles(item, grid[:, 2], "annotation")
            return Incidence(mean_deg=_interpolated(grid, href, place), points=points, source="annotation")
        log.info("%s: no geolocation grid in it; looking further for the angle", href)
    modelled = s1_orbits.incidence_deg(
        relative_orbit(item), orbit_pass(item), *incidence_points(place.polygon, place.analysis_grid)
    )
    between = _between_edges(item, modelled, catalogue)
    if between is not None:
        return Incidence(mean_deg=between, points=points, source="product")
    if points:
        _check_swath(item, place, modelled)
    return Incidence(mean_deg=float(modelled.mean()), points=points, source="model")


def _of_raster(item: Item, place: RoiGrids, catalogue: Catalogue) -> NDArray[np.float64] | None:
    """Return the angles in the ROI of an item's angle raster, None where it has none."""
    raster = angle_raster(item)
    if raster is None:
        return None
    grid = incidence_grid(place.analysis_grid)
    try:
        angles = read_smooth(readable(raster, catalogue), grid)
    except MissingFile as error:
        log.warning("%s; looking further for the angle", error)
        return None
    return angles[inside(place.polygon, grid) & np.isfinite(angles)]


def _check_angles(item: Item, angles: NDArray[np.float64], held_by: str) -> None:
    low, high = angles.min(), angles.max()
    if not 0 < low <= high < 90:
        raise item.fault(f"its {held_by} holds {low:g} to {high:g}; expected incidence angles between 0 and 90 degrees")


def _geolocation_grid(text: str, href: str) -> NDArray[np.float64]:
    """Return lon, lat and angle of a product's grid points, (point, 3); no points where it has none."""
    try:
        points = ET.fromstring(text).findall(".//geolocationGridPoint")  # noqa: S314 - expat bounds entity expansion itself
        tags = ("longitude", "latitude", "incidenceAngle")
        grid = np.array([[float(point.findtext(tag, "")) for tag in tags] for point in points])
        if not np.isfinite(grid).all():
            raise ValueError("a point without a place or an angle")
        return grid
    except (ET.ParseError, ValueError) as error:
        raise SourceError(f"{href}: no Sentinel-1 annotation with a geolocation grid ({error})") from error


def _interpolated(table: NDArray[np.float64], href: str, place: RoiGrids) -> float:
    if len(table) < 3:
        raise SourceError(
            f"{href}: the geolocation grid has {len(table)} points; the product's annotation has hundreds"
        )
    try:
        interpolate = LinearNDInterpolator(table[:, :2], table[:, 2])
    except QhullError as error:
        raise SourceError(f"{href}: the points of the geolocation grid span no area") from error
    angles = interpolate(*incidence_points(place.polygon, place.analysis_grid))
    if not np.isfinite(angles).any():
        raise SourceError(
            f"{href}: the geolocation grid does not reach ROI {place.name}, which the item's footprint touches"
        )
    return float(np.nanmean(angles))


def _check_swath(item: Item, place: RoiGrids, angles: NDArray[np.float64]) -> None:
    low, high = s1_orbits.SWATH_INCIDENCE_DEG
    if not ((angles >= low - _MODEL_SLACK_DEG) & (angles <= high + _MODEL_SLACK_DEG)).any():
        raise item.fault(
            f"no incidence angle is given, and relative orbit {relative_orbit(item)} {orbit_pass(item)} does not see ROI "
            f"{place.name} (modelled angle {angles.mean():.1f} degrees, the swath has {low:g} to {high:g}): "
            "check the item's orbit"
        )


def _between_edges(item: Item, modelled: NDArray[np.float64], catalogue: Catalogue) -> float | None:
    """Place a ROI between the near and the far angle that an item's file states; None where it states none, or nothing that fits.

    The model says how far across the swath the ROI lies, and how the angle grows between the edges: it gives the angles along
    the footprint, which must agree with those stated.

    Raises:
        SourceError: The file cannot be read.
    """
    stated = _stated_edges(item, catalogue)
    if stated is None:
        return None
    orbit, direction = relative_orbit(item), orbit_pass(item)
    along = s1_orbits.incidence_deg(orbit, direction, *shapely.get_coordinates(item.footprint).T)
    low, high = (float(np.nanmin(along)), float(np.nanmax(along))) if np.isfinite(along).any() else (np.nan, np.nan)
    if low < high and np.allclose((low, high), stated, rtol=0, atol=_MODEL_SLACK_DEG):
        near, far = stated
        return float((near + (modelled - low) / (high - low) * (far - near)).mean())
    log.warning(
        "item %s: its file has incidence angles of %.1f to %.1f degrees, relative orbit %d %s gives %.1f to %.1f; orbit, pass or "
        "footprint of the item are wrong; the modelled angle is taken, and may be wrong too",
        item.id,
        *stated,
        orbit,
        direction,
        low,
        high,
    )
    return None


def _stated_edges(item: Item, catalogue: Catalogue) -> tuple[float, float] | None:
    polarisation = next((name for name in S1_POLARISATIONS if holds(item, name)), None)
    if polarisation is None:
        return None
    try:
        tags = tags_of(readable(backscatter_raster(item, polarisation), catalogue))
        near, far = (float(tags[name]) for name in _EDGE_TAGS)
    except (MissingFile, KeyError, ValueError):  # a missing file is said where its pixels are needed
        return None
    return near, far
