"""The pixel grid of a ROI: one for all dates and both sensors, as an `odc.geo` GeoBox."""

import math
import threading
from functools import lru_cache
from typing import Any

import numpy as np
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from .errors import GridError
from .sensors import SCL_RESOLUTION_M

WGS84 = "EPSG:4326"
MAX_GRID_PIXELS = 1 << 31
"""Of one ROI: 46,000 a side, 460 km at 10 m."""
INCIDENCE_POINTS = 16
"""At most so many points along a side of a ROI give its mean incidence angle."""
_BURNING = threading.Lock()
"""rasterio silences a warning while it rasterizes, in a way that two threads at once undo for each other."""


def utm_crs(lon: float, lat: float) -> str:
    """Return the EPSG code of the UTM zone that holds a point, e.g. `EPSG:32631`.

    Norway's and Svalbard's irregular zones are not used: neither do the Sentinel-2 tiles.

    Raises:
        GridError: The point lies outside UTM (beyond 84 N or 80 S).
    """
    if not -80.0 <= lat <= 84.0:
        raise GridError(f"no UTM zone at latitude {lat:.3f}: a ROI's centroid must lie between 80 S and 84 N")
    zone = min(int((lon + 180.0) // 6.0) + 1, 60)
    return f"EPSG:{(32600 if lat >= 0 else 32700) + zone}"


def to_crs(polygon: BaseGeometry, crs: str, *, source: str = WGS84) -> BaseGeometry:
    """Transform a geometry from lon/lat (or another `source` CRS) to `crs`, vertex by vertex."""
    project: Any = Transformer.from_crs(source, crs, always_xy=True).transform  # shapely's types know but one form
    return shapely.transform(polygon, project, interleaved=False)


def roi_grid(polygon: BaseGeometry, *, pixel_size_m: float, min_pixels: int = 1) -> GeoBox:
    """Lay the pixel grid of a ROI.

    The UTM zone of the centroid; the origin snapped to multiples of the pixel size; the bounds of the polygon
    covered; then, where an axis is shorter than `min_pixels`, padded evenly (the odd pixel goes to the east or
    south).

    Args:
        polygon: ROI in lon/lat (EPSG:4326).
        pixel_size_m: Pixel size, metres.
        min_pixels: Least rows and columns, normally the patch size.

    Raises:
        GridError: The ROI lies outside UTM, or has more than `MAX_GRID_PIXELS` pixels.
    """
    crs = utm_crs(polygon.centroid.x, polygon.centroid.y)
    left, bottom, right, top = to_crs(polygon, crs).bounds
    width, height = (right - left) / pixel_size_m, (top - bottom) / pixel_size_m
    if max(width, height, 1.0) * max(min(width, height), 1.0) > MAX_GRID_PIXELS:
        raise GridError(
            f"{width:.3g} x {height:.3g} pixels of {pixel_size_m:g} m: a ROI may have at most {MAX_GRID_PIXELS:.2g}; raise "
            "pixel_size_m or cut the polygon"
        )
    return _snapped(polygon, crs, pixel_size_m, min_pixels)


def _snapped(polygon: BaseGeometry, crs: str, size_m: float, min_pixels: int = 1) -> GeoBox:
    left, bottom, right, top = (bound / size_m for bound in to_crs(polygon, crs).bounds)  # sums of pixels are exact
    # A bound within a millimetre of a pixel edge is that edge: lon/lat coordinates round-trip with such errors.
    grid = GeoBox.from_bbox((left, bottom, right, top), crs, resolution=1, anchor="edge", tol=1e-3 / size_m)
    rows, columns = (max(pixels, min_pixels) for pixels in grid.shape)
    padded = grid.pad((columns - grid.width) // 2, (rows - grid.height) // 2).crop((rows, columns))
    return Affine.scale(size_m) * padded


def analysis_grid(polygon: BaseGeometry, grid: GeoBox) -> GeoBox:
    """Lay the 20 m grid on which cloud, snow and coverage of a ROI are measured.

    Its pixels are those of the Sentinel-2 20 m bands in the same UTM zone (origin on multiples of 20 m), whatever the
    recipe's pixel size; it covers the ROI's own bounds, not the padding of `grid`.
    """
    return _snapped(polygon, str(grid.crs), SCL_RESOLUTION_M)


def incidence_grid(analysis: GeoBox) -> GeoBox:
    """Lay the points at which a ROI's incidence angle is measured: the centres of the pixels of a coarse grid.

    The angle changes by a hundredth of a degree over 200 m, and products give it at points some 20 km apart. Pixels are
    1 km or more wide, whole kilometres, at most `INCIDENCE_POINTS` a side, centred on the bounds of the analysis grid.
    """
    left, bottom, right, top = analysis.boundingbox.bbox
    width, height = right - left, top - bottom
    size = 1000.0 * math.ceil(max(width, height) / (1000.0 * INCIDENCE_POINTS))
    columns, rows = math.ceil(width / size), math.ceil(height / size)
    west, north = (left + right - columns * size) / 2, (top + bottom + rows * size) / 2
    return GeoBox((rows, columns), Affine(size, 0.0, west, 0.0, -size, north), str(analysis.crs))


def incidence_points(polygon: BaseGeometry, analysis: GeoBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return lon and lat, (point,), of the points of the incidence grid that lie in the ROI."""
    grid = incidence_grid(analysis)
    rows, columns = np.nonzero(inside(polygon, grid))
    x, y = grid.transform.c + (columns + 0.5) * grid.transform.a, grid.transform.f + (rows + 0.5) * grid.transform.e
    lon, lat = Transformer.from_crs(str(grid.crs), WGS84, always_xy=True).transform(x, y)
    return np.asarray(lon), np.asarray(lat)


@lru_cache(maxsize=16)  # every scene of a ROI asks again
def inside(polygon: BaseGeometry, grid: GeoBox) -> NDArray[np.bool_]:
    """Tell which pixels of `grid` have their centre in the ROI.

    Returns:
        (y, x) bool, read-only. A ROI too thin to hold any pixel centre takes every pixel it touches.
    """
    polygon_utm = to_crs(polygon, str(grid.crs))

    def burn(all_touched: bool) -> NDArray[np.bool_]:
        with _BURNING:
            burnt = rasterio.features.rasterize(
                [polygon_utm], out_shape=grid.shape, transform=grid.transform, all_touched=all_touched, dtype="uint8"
            )
        return np.asarray(burnt, dtype=bool)

    centres = burn(all_touched=False)
    pixels = centres if centres.any() else burn(all_touched=True)
    pixels.flags.writeable = False
    return pixels


def covered_fraction(polygon: BaseGeometry, footprint: BaseGeometry) -> float:
    """Return the fraction of the ROI's area that lies in `footprint` (both lon/lat), rounded to 1e-6."""
    crs = utm_crs(polygon.centroid.x, polygon.centroid.y)
    roi = to_crs(polygon, crs)
    # Only the part of the footprint near the ROI: a whole 250 km swath leaves the zone where UTM is sound.
    near = shapely.clip_by_rect(shapely.make_valid(footprint), *polygon.buffer(0.1).bounds)
    if near.is_empty:
        return 0.0
    return round(float(roi.intersection(shapely.make_valid(to_crs(near, crs))).area / roi.area), 6)


def grid_to_json(grid: GeoBox) -> dict[str, Any]:
    """Return `grid` as plain JSON: `crs`, `transform` (six numbers), `shape` (rows, columns)."""
    return {"crs": str(grid.crs), "transform": [float(v) for v in grid.transform[:6]], "shape": list(grid.shape)}


def grid_from_json(value: dict[str, Any]) -> GeoBox:
    """Read back what `grid_to_json` wrote."""
    rows, columns = value["shape"]
    return GeoBox((rows, columns), Affine(*value["transform"]), value["crs"])


def footprint_lonlat(grid: GeoBox) -> BaseGeometry:
    """Return the outline of `grid` in lon/lat."""
    return to_crs(shapely.box(*grid.boundingbox.bbox), WGS84, source=str(grid.crs))
