"""Where scenes lie: the boxes of ground the simulation renders, and the outlines that sensors leave of them."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from shapely.geometry import Polygon, box
from shapely.geometry.base import BaseGeometry

from ..grid import WGS84, roi_grid
from ..recipe.settings import Roi
from .ground import Frame
from .noise import Floats

MARGIN_PX: Final = 10
"""Scenes reach this far beyond the ROI's grid."""
HALO_PX: Final = 20
"""Ground rendered around a scene and then cut off, so that shadows and blur do not end at its border."""

Bounds = tuple[float, float, float, float]
"""left, bottom, right, top, metres."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """One box of ground with all the ROIs whose scenes would overlap: scenes of a site never meet another site's."""

    name: str
    """Name of its first ROI."""
    rois: tuple[Roi, ...]
    epsg: int
    bounds: Bounds
    """What the scenes cover, on multiples of twice the pixel size."""
    pixel_m: float

    def lonlat(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Transform UTM coordinates of the site to degrees."""
        return Transformer.from_crs(self.epsg, WGS84, always_xy=True).transform(x, y)

    @property
    def name_key(self) -> int:
        """The name as an integer, to draw what belongs to the archive rather than to the ground."""
        return zlib.crc32(self.name.encode())

    @property
    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of the middle."""
        left, bottom, right, top = self.bounds
        lon, lat = self.lonlat(np.array([(left + right) / 2]), np.array([(bottom + top) / 2]))
        return float(lon[0]), float(lat[0])

    def frame(self, seed: int) -> Frame:
        """Return the pixel grid rendered: the site and a halo."""
        left, bottom, right, top = self.bounds
        halo = HALO_PX * self.pixel_m
        return Frame(
            zone=self.epsg,
            x=np.arange(left - halo, right + halo, self.pixel_m) + self.pixel_m / 2,
            y=np.arange(top + halo, bottom - halo, -self.pixel_m) - self.pixel_m / 2,
            pixel_m=self.pixel_m,
            seed=seed,
        )


def find_sites(rois: Sequence[Roi], pixel_m: float) -> list[Site]:
    """Group ROIs whose scenes would overlap in one UTM zone, and give each group a box."""
    groups: list[tuple[int, Bounds, tuple[Roi, ...]]] = []
    for roi in rois:
        epsg, bounds, members = _wanted(roi, pixel_m)
        # Joining may grow the box into a further group, so look again until nothing meets it.
        while meeting := [group for group in groups if group[0] == epsg and _meet(group[1], bounds)]:
            for group in meeting:
                groups.remove(group)
                bounds = _joined(group[1], bounds)
                members = (*group[2], *members)
        groups.append((epsg, bounds, members))
    order = {roi.name: i for i, roi in enumerate(rois)}
    sites = []
    for epsg, bounds, members in groups:
        inside = tuple(sorted(members, key=lambda roi: order[roi.name]))
        sites.append(Site(name=inside[0].name, rois=inside, epsg=epsg, bounds=bounds, pixel_m=pixel_m))
    return sorted(sites, key=lambda site: order[site.name])


def _wanted(roi: Roi, pixel_m: float) -> tuple[int, Bounds, tuple[Roi, ...]]:
    grid = roi_grid(roi.polygon, pixel_size_m=roi.settings.pixel_size_m, min_pixels=roi.settings.patch.size)
    box_m = grid.extent.boundingbox
    step, margin = 2 * pixel_m, MARGIN_PX * pixel_m
    low = [np.floor((value - margin) / step) * step for value in (box_m.left, box_m.bottom)]
    high = [np.ceil((value + margin) / step) * step for value in (box_m.right, box_m.top)]
    return int(str(grid.crs).split(":")[1]), (float(low[0]), float(low[1]), float(high[0]), float(high[1])), (roi,)


def _meet(a: Bounds, b: Bounds) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _joined(a: Bounds, b: Bounds) -> Bounds:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


@dataclass(frozen=True, kw_only=True, slots=True)
class Plane:
    """A quantity that is linear over a site: value = constant + east * x + north * y."""

    constant: float
    east: float
    north: float

    def at(self, x: Floats, y: Floats) -> Floats:
        """Return the value at UTM coordinates."""
        return np.asarray(self.constant + self.east * x + self.north * y)


def fit_plane(x: Floats, y: Floats, values: Floats) -> Plane:
    """Fit a plane to values at scattered UTM coordinates by least squares."""
    # Centred: UTM coordinates are large, their differences small.
    mean_x, mean_y = float(np.mean(x)), float(np.mean(y))
    design = np.stack([np.ones(x.size), np.ravel(x) - mean_x, np.ravel(y) - mean_y], axis=1)
    (constant, east, north), *_ = np.linalg.lstsq(design, np.ravel(values), rcond=None)
    return Plane(constant=float(constant - east * mean_x - north * mean_y), east=float(east), north=float(north))


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """A straight border: ground where the plane's value is at least `least` belongs to the scene."""

    plane: Plane
    least: float

    @staticmethod
    def at_most(plane: Plane, most: float) -> "Limit":
        """Return the border below a greatest value."""
        turned = Plane(constant=-plane.constant, east=-plane.east, north=-plane.north)
        return Limit(plane=turned, least=-most)

    def holds(self, x: Floats, y: Floats) -> NDArray[np.bool_]:
        """Tell which points lie inside."""
        return np.asarray(self.plane.at(x, y) >= self.least)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outline:
    """The ground of one scene: a box of whole pixels and the straight borders that cut it."""

    bounds: Bounds
    limits: tuple[Limit, ...]
    footprint: BaseGeometry
    """Valid ground, UTM."""

    def inside(self, pixel_m: float) -> NDArray[np.bool_]:
        """Tell which pixel centres of the box hold data, (y, x)."""
        x, y = self.centres(pixel_m)
        valid = np.ones((y.size, x.size), bool)
        for limit in self.limits:
            valid &= limit.holds(x, y)
        return valid

    def centres(self, pixel_m: float) -> tuple[Floats, Floats]:
        """Return eastings (1, x) and northings (y, 1) of the box's pixel centres."""
        left, bottom, right, top = self.bounds
        x = np.arange(left, right, pixel_m)[None, :] + pixel_m / 2
        return x, np.arange(top, bottom, -pixel_m)[:, None] - pixel_m / 2

    def transform(self, pixel_m: float) -> Affine:
        """Return the affine transform of the box's pixels."""
        return Affine(pixel_m, 0.0, self.bounds[0], 0.0, -pixel_m, self.bounds[3])

    def shape(self, pixel_m: float) -> tuple[int, int]:
        """Return rows and columns of the box."""
        left, bottom, right, top = self.bounds
        return round((top - bottom) / pixel_m), round((right - left) / pixel_m)


def outline(bounds: Bounds, limits: Sequence[Limit], snap_m: float) -> Outline | None:
    """Cut a box by straight borders and shrink it to what remains, on multiples of `snap_m`; None if nothing remains."""
    if bounds[0] >= bounds[2] or bounds[1] >= bounds[3]:
        return None
    ground: BaseGeometry = box(*bounds)
    for limit in limits:
        ground = ground.intersection(_half_plane(limit, bounds))
    if ground.is_empty or ground.area < snap_m * snap_m:
        return None
    left, bottom, right, top = ground.bounds
    shrunk = (
        max(bounds[0], float(np.floor(left / snap_m) * snap_m)),
        max(bounds[1], float(np.floor(bottom / snap_m) * snap_m)),
        min(bounds[2], float(np.ceil(right / snap_m) * snap_m)),
        min(bounds[3], float(np.ceil(top / snap_m) * snap_m)),
    )
    return Outline(bounds=shrunk, limits=tuple(limits), footprint=ground)


def footprint_lonlat(site: Site, ground: BaseGeometry) -> BaseGeometry:
    """Return a UTM outline in degrees, with a vertex every 500 m so that its straight edges stay straight there."""
    dense = shapely.segmentize(ground, 500.0)
    moved = shapely.transform(dense, lambda points: np.stack(site.lonlat(points[:, 0], points[:, 1]), axis=1))
    return shapely.set_precision(moved, 1e-8)


def _half_plane(limit: Limit, bounds: Bounds) -> Polygon:
    """Return a polygon, larger than the box, of the side of a border that belongs to the scene."""
    plane = limit.plane
    slope = float(np.hypot(plane.east, plane.north))
    inward = np.array([plane.east, plane.north]) / slope
    along = np.array([-inward[1], inward[0]])
    middle = np.array([(bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2])
    size = 4.0 * float(np.hypot(bounds[2] - bounds[0], bounds[3] - bounds[1])) + 1000.0
    distance = (limit.least - float(plane.at(middle[0], middle[1]))) / slope
    if distance > size:
        return Polygon()
    near = middle + inward * max(distance, -size)
    far = near + inward * 2 * size
    return Polygon([near - along * size, near + along * size, far + along * size, far - along * size])
