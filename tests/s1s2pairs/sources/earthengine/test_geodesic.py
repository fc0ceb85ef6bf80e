"""Footprints whose edges are geodesics, against pyproj."""

import numpy as np
import pytest
import shapely
from pyproj import Geod

pytest.importorskip("ee", reason="earthengine-api is not installed", exc_type=ImportError)

from s1s2pairs.sources.earthengine.geodesic import LONGEST_M, along_geodesics

GEOD = Geod(ellps="WGS84")
SWATH = shapely.Polygon([(2.0, 50.0), (5.5, 50.4), (5.0, 52.0), (1.4, 51.6)])
"""About 250 km wide."""


def test_a_swath_follows_the_geodesics_between_its_corners() -> None:
    bent = along_geodesics(SWATH)
    corners = shapely.get_coordinates(bent)
    lengths = GEOD.line_lengths(corners[:, 0], corners[:, 1])
    assert max(lengths) <= LONGEST_M
    assert {tuple(corner) for corner in shapely.get_coordinates(SWATH)} <= {tuple(corner) for corner in corners}
    # Half way along the southern edge the shortest line runs a good kilometre north of the straight one.
    ((lon, lat),) = GEOD.npts(2.0, 50.0, 5.5, 50.4, 1)
    straight = 50.0 + 0.4 * (lon - 2.0) / 3.5
    assert 1000 < (lat - straight) * 111_000 < 1600
    assert bent.exterior.distance(shapely.Point(lon, lat)) * 111_000 < 10
    just_north = shapely.Point(lon, straight + 0.005)
    assert SWATH.contains(just_north)
    assert not bent.contains(just_north)


def test_small_outlines_stay_as_they_are() -> None:
    small = shapely.box(3.0, 50.0, 3.05, 50.05)
    assert along_geodesics(small) is small


def test_holes_and_parts_are_kept() -> None:
    ring = shapely.box(2, 50, 4, 52) - shapely.box(2.5, 50.5, 3.5, 51.5)
    both = shapely.MultiPolygon([ring, shapely.box(6, 50, 7, 51)])
    bent = along_geodesics(both)
    assert sorted(len(part.interiors) for part in bent.geoms) == [0, 1]
    assert np.isclose(bent.area, both.area, rtol=0.01)
