"""The grid, against rasterio and pyproj."""

import numpy as np
import pytest
import rasterio.features
import rasterio.warp
import shapely
from hypothesis import given
from hypothesis import strategies as st

from s1s2pairs.errors import GridError
from s1s2pairs.grid import (
    analysis_grid,
    covered_fraction,
    grid_from_json,
    grid_to_json,
    incidence_grid,
    incidence_points,
    inside,
    roi_grid,
    to_crs,
    utm_crs,
)
from tests.refusals import refuses

PLACES = st.tuples(st.floats(-179, 178), st.floats(-75, 80))


def box(lon: float, lat: float, size: float = 0.02) -> shapely.Polygon:
    return shapely.box(lon, lat, lon + size, lat + size)


@pytest.mark.parametrize(
    ("lon", "lat", "crs"),
    [
        (3.0, 50.8, "EPSG:32631"),
        (-0.1, 51.5, "EPSG:32630"),
        (54.5, 24.3, "EPSG:32640"),
        (-43.2, -22.9, "EPSG:32723"),
        (180, 1, "EPSG:32660"),
    ],
)
def test_utm_zone(lon: float, lat: float, crs: str) -> None:
    assert utm_crs(lon, lat) == crs


def test_no_utm_at_the_poles() -> None:
    with refuses(GridError, "-85.000", "80 S", "84 N"):
        utm_crs(0, -85)


@given(place=PLACES, pixel=st.sampled_from([10.0, 20.0, 30.0, 12.5]), least=st.integers(1, 400))
def test_grid_covers_the_roi_snapped_and_padded_evenly(place: tuple[float, float], pixel: float, least: int) -> None:
    roi = box(*place)
    grid = roi_grid(roi, pixel_size_m=pixel, min_pixels=least)
    left, bottom, right, top = to_crs(roi, str(grid.crs)).bounds
    assert grid.transform.c % pixel == 0
    assert grid.transform.f % pixel == 0
    assert min(grid.shape) >= least
    bounds = grid.boundingbox
    margins = np.array([left - bounds.left, bounds.right - right, bottom - bounds.bottom, bounds.top - top])
    assert (margins >= -2e-3).all()
    for size, first, second in ((grid.shape[1], *margins[:2]), (grid.shape[0], *margins[2:])):
        if size > least:
            assert max(first, second) < pixel + 2e-3, "no more than a pixel is added to an axis that is long enough"
        else:
            assert abs(first - second) <= 2 * pixel + 2e-3, "padding is even"


def test_grid_is_rasterios() -> None:
    roi = box(3.0, 50.8)
    grid = roi_grid(roi, pixel_size_m=10)
    bounds = rasterio.warp.transform_geom("EPSG:4326", str(grid.crs), shapely.geometry.mapping(roi))
    left, bottom, right, top = rasterio.features.bounds(bounds)
    assert left - 10 < grid.boundingbox.left <= left
    assert right <= grid.boundingbox.right < right + 10
    assert bottom - 10 < grid.boundingbox.bottom <= bottom
    assert top <= grid.boundingbox.top < top + 10


def test_a_bound_on_a_pixel_edge_adds_no_pixel() -> None:
    utm = shapely.box(501360, 5629040, 502000, 5629680)
    lonlat = rasterio.warp.transform_geom("EPSG:32631", "EPSG:4326", shapely.geometry.mapping(utm), precision=9)
    grid = roi_grid(shapely.geometry.shape(lonlat), pixel_size_m=10)
    assert grid.shape == (64, 64)
    assert (grid.transform.c, grid.transform.f) == (501360, 5629680)


@pytest.mark.parametrize("pixel", [0.1, 7.3, 333.3])
def test_the_origin_is_whole_pixels_to_the_last_bit(pixel: float) -> None:
    transform = roi_grid(box(3.0, 50.8), pixel_size_m=pixel, min_pixels=256).transform
    assert (transform.a, transform.e) == (pixel, -pixel)
    assert transform.c == round(transform.c / pixel) * pixel
    assert transform.f == round(transform.f / pixel) * pixel


@given(place=PLACES)
def test_analysis_grid_lies_on_20_m_pixels(place: tuple[float, float]) -> None:
    roi = box(*place)
    measured = analysis_grid(roi, roi_grid(roi, pixel_size_m=10, min_pixels=256))
    assert measured.transform.a == 20
    assert measured.transform.c % 20 == 0
    assert measured.transform.f % 20 == 0


def test_inside_is_by_pixel_centres() -> None:
    roi = shapely.Polygon([(3.0, 50.8), (3.02, 50.8), (3.0, 50.82)])
    grid = roi_grid(roi, pixel_size_m=10)
    utm = to_crs(roi, str(grid.crs))
    rows, columns = np.mgrid[0 : grid.shape[0], 0 : grid.shape[1]]
    x, y = grid.transform.c + 10 * (columns + 0.5), grid.transform.f - 10 * (rows + 0.5)
    np.testing.assert_array_equal(inside(roi, grid), shapely.contains_xy(utm, x, y))


def test_a_sliver_still_has_pixels() -> None:
    roi = shapely.box(3.00001, 50.80001, 3.00002, 50.82)
    assert inside(roi, roi_grid(roi, pixel_size_m=20)).any()


def test_covered_fraction() -> None:
    roi = box(3.0, 50.8, 0.02)
    assert covered_fraction(roi, shapely.box(0, 45, 10, 55)) == 1
    assert covered_fraction(roi, shapely.box(0, 45, 3.01, 55)) == pytest.approx(0.5, abs=1e-3)
    assert covered_fraction(roi, shapely.box(4, 50, 5, 51)) == 0


def test_heights_of_a_footprint_do_not_matter() -> None:
    half = shapely.Polygon([(0, 45, 7), (3.01, 45, 8), (3.01, 55, 9), (0, 55, 7)])
    assert covered_fraction(box(3.0, 50.8), half) == covered_fraction(box(3.0, 50.8), shapely.force_2d(half))


@given(place=PLACES, least=st.integers(1, 300))
def test_grid_json_round_trip(place: tuple[float, float], least: int) -> None:
    grid = roi_grid(box(*place), pixel_size_m=10, min_pixels=least)
    assert grid_from_json(grid_to_json(grid)) == grid


@given(place=PLACES, size=st.floats(0.0002, 1.5))
def test_few_points_a_kilometre_or_more_apart_stand_for_a_roi(place: tuple[float, float], size: float) -> None:
    polygon = box(*place, size=size)
    analysis = analysis_grid(polygon, roi_grid(polygon, pixel_size_m=10))
    grid = incidence_grid(analysis)
    assert max(grid.shape) <= 16
    assert grid.transform.a >= 1000
    assert grid.transform.a % 1000 == 0
    whole, part = grid.boundingbox, analysis.boundingbox
    assert whole.left <= part.left
    assert whole.right >= part.right
    assert whole.bottom <= part.bottom
    assert whole.top >= part.top
    lon, lat = incidence_points(polygon, analysis)
    assert lon.size >= 1
    if inside(polygon, grid).sum() > 1:
        assert shapely.contains_xy(polygon.buffer(0.01), lon, lat).all()


def test_the_mean_of_the_points_is_the_mean_over_the_roi() -> None:
    """An angle as steep and as bent as Sentinel-1's: 17 degrees over 250 km, flatter at the far edge."""
    polygon = shapely.Polygon([(3.0, 50.0), (3.6, 50.1), (3.5, 50.6), (3.1, 50.4)])
    analysis = analysis_grid(polygon, roi_grid(polygon, pixel_size_m=10))

    def angle(lon: np.ndarray) -> np.ndarray:
        km = (np.asarray(lon) - 3.0) * 71
        return 30 + 0.08 * km - 4e-5 * km**2

    rows, columns = np.nonzero(inside(polygon, analysis))
    x, y = analysis.transform.c + (columns + 0.5) * 20, analysis.transform.f - (rows + 0.5) * 20
    every_pixel = angle(rasterio.warp.transform(str(analysis.crs), "EPSG:4326", x, y)[0])
    points = angle(incidence_points(polygon, analysis)[0])
    assert points.size < every_pixel.size / 1000
    assert points.mean() == pytest.approx(every_pixel.mean(), abs=0.05)
