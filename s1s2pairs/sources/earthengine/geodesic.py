"""Footprints as Earth Engine means them: edges are the shortest lines on the ellipsoid, not straight in lon/lat."""

import math
from itertools import pairwise
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod
from shapely.geometry.base import BaseGeometry

_WGS84: Final = Geod(ellps="WGS84")
LONGEST_M: Final = 15_000.0
"""A geodesic of this length stays within 10 m of the straight line in lon/lat up to 60 degrees north."""


def along_geodesics(outline: BaseGeometry) -> BaseGeometry:
    """Put points on the long edges of an outline in lon/lat, so that straight edges between them do.

    At 50 degrees north an edge of 250 km bends away from the straight line by 1.5 km.
    """
    west, south, east, north = outline.bounds
    is_small = _WGS84.inv(west, south, east, north)[2] < LONGEST_M
    return outline if is_small else _bent(outline)


def _bent(outline: BaseGeometry) -> BaseGeometry:
    if outline.geom_type in ("MultiPolygon", "GeometryCollection"):
        return shapely.union_all([_bent(part) for part in shapely.get_parts(outline)])
    if not isinstance(outline, shapely.Polygon):
        return outline
    rings = [_ring(shapely.get_coordinates(ring)) for ring in (outline.exterior, *outline.interiors)]
    return shapely.Polygon(rings[0], rings[1:])


def _ring(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    points: list[tuple[float, float]] = []
    for (lon, lat), (next_lon, next_lat) in pairwise(corners):
        _, _, length_m = _WGS84.inv(lon, lat, next_lon, next_lat)
        between = math.ceil(length_m / LONGEST_M) - 1
        points += [(lon, lat), *(_WGS84.npts(lon, lat, next_lon, next_lat, between) if between > 0 else ())]
    return np.array([*points, tuple(corners[-1])])
