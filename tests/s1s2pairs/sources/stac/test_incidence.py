"""Where the STAC source takes incidence angles from, where products and catalogues hold traps."""

import datetime as dt
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from s1s2pairs import s1_orbits
from s1s2pairs.acquisitions import RoiGrids, Span
from s1s2pairs.errors import SourceError
from s1s2pairs.sources.registry import open_source
from tests.refusals import assert_names, refuses

if TYPE_CHECKING:
    from tests.s1s2pairs.sources.stac.conftest import TinyArchive

JUNE = (Span(start=dt.datetime(2019, 6, 1, tzinfo=dt.UTC), end=dt.datetime(2019, 7, 1, tzinfo=dt.UTC)),)
EDGES = {"IncidenceNearAngle": "30.74", "IncidenceFarAngle": "45.97"}
"""As a file of the Planetary Computer's sentinel-1-rtc has them."""
RTC_CORNERS = (
    (16.602206, 30.777402),
    (16.886072, 32.035538),
    (14.257021, 32.436112),
    (13.959238, 30.932495),
    (16.5446, 30.529271),
)
"""Outline of S1A_IW_GRDH_1SDV_20240419T045839_20240419T045904_053498_067DF2_rtc, relative orbit 51, descending."""


def power() -> NDArray[np.float32]:
    return np.random.default_rng(3).gamma(4.4, 0.02, (64, 64)).astype(np.float32)


def swath(orbit: int) -> dict[str, object]:
    """A footprint over the tiny archive from edge to edge of an ascending orbit's swath."""
    lon = np.linspace(-4, 8, 2401)
    angle = s1_orbits.incidence_deg(orbit, "ascending", lon, 50.5)
    west, east = (float(lon[np.nanargmin(np.abs(angle - edge))]) for edge in (30.8, 46.1))
    ring = [[west, 50.3], [east, 50.3], [east, 50.8], [west, 50.8], [west, 50.3]]
    return {"type": "Polygon", "coordinates": [ring]}


def test_a_real_footprint_reaches_from_edge_to_edge() -> None:
    lon, lat = np.array(RTC_CORNERS).T
    angles = s1_orbits.incidence_deg(51, "descending", lon, lat)
    assert angles.min() == pytest.approx(float(EDGES["IncidenceNearAngle"]), abs=0.2)
    assert angles.max() == pytest.approx(float(EDGES["IncidenceFarAngle"]), abs=0.2)


@pytest.mark.parametrize(("orbit", "agrees"), [(59, True), (161, False)])
def test_the_edges_that_a_file_states_give_the_angle_where_the_model_agrees(
    archive: "TinyArchive",
    make_place: Callable[..., RoiGrids],
    caplog: pytest.LogCaptureFixture,
    orbit: int,
    agrees: bool,
) -> None:
    """The footprint is orbit 59's. An item that says 161 instead sees the place too, at an angle 9 degrees lower."""
    item = archive.sar("S1", "2019-06-01T17:00:00Z", power(), sat__relative_orbit=orbit)
    item["geometry"] = swath(59)
    with rasterio.open(archive.root / "sentinel-1-grd/S1/vv.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.update_tags(**EDGES)
    place = make_place()
    with caplog.at_level(logging.WARNING):
        (found,) = open_source(str(archive.write())).find_sar(place, JUNE, polarisations=("VV",))
    modelled = float(s1_orbits.incidence_deg(orbit, "ascending", place.polygon.centroid.x, place.polygon.centroid.y))
    messages = [r.getMessage() for r in caplog.records if r.getMessage().startswith("item S1")]
    if agrees:
        corners = np.array(item["geometry"]["coordinates"][0]).T
        low, high = (f(s1_orbits.incidence_deg(orbit, "ascending", *corners)) for f in (np.min, np.max))
        share = (modelled - low) / (high - low)
        assert found.incidence_source == "product"
        assert found.incidence_deg == pytest.approx(30.74 + share * (45.97 - 30.74), abs=0.001)
        # This rectangle is not along the track, as real outlines are, and yet the angle is good to a quarter of a degree.
        assert found.incidence_deg == pytest.approx(modelled, abs=0.25)
        assert messages == []
    else:
        assert found.incidence_source == "model"
        assert found.incidence_deg == pytest.approx(modelled, abs=0.01)
        (message,) = messages
        assert_names(message, "item S1", "30.7", "46.0", "161 ascending")


def test_an_annotation_without_a_grid_leaves_the_model(
    archive: "TinyArchive", make_place: Callable[..., RoiGrids]
) -> None:
    item = archive.sar("S", "2019-06-01T17:00:00Z", power())
    item["assets"]["schema-product-vv"] = {"href": "./vv.xml"}
    (archive.root / "sentinel-1-grd" / "S" / "vv.xml").write_text("<rfi><swath>IW1</swath></rfi>")
    (acquisition,) = open_source(str(archive.write())).find_sar(make_place(), JUNE, polarisations=("VV",))
    assert acquisition.incidence_source == "model"


BAD_GRIDS = {
    "on a line": ([(3.0, 50.0, 30.0), (3.1, 50.1, 31.0), (3.2, 50.2, 32.0)], ("vv.xml", "area")),
    "one point again and again": ([(3.0, 50.0, 30.0)] * 5, ("vv.xml", "area")),
    "nowhere": ([(float("nan"), 50.0, 30.0), (3.1, 50.5, 31.0), (3.2, 50.2, 32.0)], ("vv.xml", "point")),
    "at infinity": ([(float("inf"), 50.0, 30.0), (3.1, 50.5, 31.0), (3.2, 50.2, 32.0)], ("vv.xml", "point")),
    "far away": ([(3e300, 50.0, 30.0), (3.1, 50.5, 31.0), (3.2, 50.2, 32.0)], ("vv.xml", "area")),
    "no angle": ([(2.0, 49.0, 30.0), (5.0, 49.0, 31.0), (3.0, 53.0, 3200.0)], ("item S", 3200, 90)),
}


@pytest.mark.parametrize("name", BAD_GRIDS)
def test_an_annotation_grid_that_gives_no_angle(
    name: str, archive: "TinyArchive", make_place: Callable[..., RoiGrids]
) -> None:
    points, named = BAD_GRIDS[name]
    item = archive.sar("S", "2019-06-01T17:00:00Z", power())
    item["assets"]["schema-product-vv"] = {"href": "./vv.xml"}
    tags = ("longitude", "latitude", "incidenceAngle")
    (archive.root / "sentinel-1-grd" / "S" / "vv.xml").write_text(
        "<product>"
        + "".join(
            f"<geolocationGridPoint>{''.join(f'<{tag}>{value}</{tag}>' for tag, value in zip(tags, point, strict=True))}"
            "</geolocationGridPoint>"
            for point in points
        )
        + "</product>"
    )
    source = open_source(str(archive.write()))
    with pytest.raises(SourceError) as caught:
        source.find_sar(make_place(), JUNE, polarisations=("VV",))
    assert_names(str(caught.value).replace("/", " "), *named)


def test_angles_stored_as_whole_numbers_are_scaled(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    item = archive.sar("S", "2019-06-01T17:00:00Z", power(), angle=np.full((32, 32), 3825.0))
    item["assets"]["angle"]["raster:bands"] = [{"scale": 0.01, "offset": 0.5}]
    (found,) = open_source(str(archive.write())).find_sar(make_place(), JUNE, polarisations=("VV",))
    assert (found.incidence_deg, found.incidence_source) == (38.75, "raster")


@pytest.mark.parametrize("angle", [3825.0, -1.0])
def test_a_raster_that_holds_no_angles(
    angle: float, archive: "TinyArchive", make_place: Callable[..., RoiGrids]
) -> None:
    archive.sar("S", "2019-06-01T17:00:00Z", power(), angle=np.full((32, 32), angle))
    with refuses(SourceError, "item S", f"{angle:g}", 90):
        open_source(str(archive.write())).find_sar(make_place(), JUNE, polarisations=("VV",))


def test_a_raster_of_complex_angles(archive: "TinyArchive", make_place: Callable[..., RoiGrids]) -> None:
    archive.sar("S", "2019-06-01T17:00:00Z", power(), angle=np.full((32, 32), 38.0))
    file = archive.root / "sentinel-1-grd" / "S" / "angle.tif"
    archive.raster(file, np.full((32, 32), 38.0 + 1j, np.complex64), 20.0, driver="GTiff")
    with refuses(SourceError, "item S, asset angle", "complex64"):
        open_source(str(archive.write())).find_sar(make_place(), JUNE, polarisations=("VV",))
