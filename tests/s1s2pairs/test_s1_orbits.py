"""The orbit model against the angles and orbits of real products, published orbits and the picks of a real Earth Engine run."""

import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s1s2pairs import s1_orbits
from s1s2pairs.errors import S1S2Error
from tests.refusals import refuses

CITIES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "oscd_orbits.json").read_text())
"""Per city: middle, relative orbits in public lists, the orbit a real run picked, the pass it preferred."""
ANNOTATIONS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "annotation_angles.json").read_text(encoding="utf-8")
)
"""Points of the geolocation grids in the annotations of real products, and the public repository each was read from."""
BELGIUM = (3.02, 50.81)


@pytest.mark.parametrize("product", ANNOTATIONS, ids=lambda product: product["product"][:32])
def test_angles_are_those_of_real_products(product: dict[str, Any]) -> None:
    orbit = s1_orbits.relative_orbit(product["absolute_orbit"], product["platform"])
    lon, lat, stated = (np.array([p[key] for p in product["points"]]) for key in ("lon", "lat", "incidence_deg"))
    modelled = s1_orbits.incidence_deg(orbit, product["orbit_pass"], lon, lat)
    np.testing.assert_allclose(modelled, stated, atol=0.16)


def test_every_published_orbit_of_the_cities_is_found() -> None:
    listed = [(city["city"], orbit) for city in CITIES for orbit in city["orbits"]]
    assert len(CITIES) == 24
    assert len(listed) == 51
    found = {
        city["city"]: {view.relative_orbit for view in s1_orbits.views(city["lon"], city["lat"])} for city in CITIES
    }
    assert [pair for pair in listed if pair[1] not in found[pair[0]]] == []


def test_highest_angle_is_the_orbit_that_the_real_run_picked() -> None:
    agreed = []
    for city in CITIES:
        views = [v for v in s1_orbits.views(city["lon"], city["lat"]) if v.orbit_pass == city["preferred_pass"]]
        if views[0].relative_orbit in city["picked"]:
            agreed.append(city["city"])
    assert len(agreed) >= 23


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (
            (3.0, 50.8),
            {(59, "ascending"): 43.1, (110, "descending"): 41.0, (161, "ascending"): 34.5, (8, "descending"): 31.9},
        ),
        ((2.38, 48.84), {(110, "descending"): 41.4, (59, "ascending"): 38.5, (8, "descending"): 32.1}),
        (
            (35.5, 33.89),
            {(21, "descending"): 44.2, (87, "ascending"): 42.8, (94, "descending"): 32.9, (14, "ascending"): 31.1},
        ),
        (
            (13.09, 42.79),
            {(117, "ascending"): 43.0, (22, "descending"): 42.3, (44, "ascending"): 32.8, (95, "descending"): 32.0},
        ),
    ],
)
def test_angles_at_checked_places(place: tuple[float, float], expected: dict[tuple[int, str], float]) -> None:
    seen: dict[tuple[int, str], float] = {
        (v.relative_orbit, v.orbit_pass): v.incidence_deg for v in s1_orbits.views(*place)
    }
    assert list(seen) == list(expected)
    for key, angle in expected.items():
        assert seen[key] == pytest.approx(angle, abs=0.1)


def test_views_come_in_order_and_look_right_of_the_flight() -> None:
    views = s1_orbits.views(*BELGIUM)
    assert [v.incidence_deg for v in views] == sorted((v.incidence_deg for v in views), reverse=True)
    for view in views:
        # Zero Doppler: the radar looks square to its flight, to the right.
        assert (view.look_azimuth_deg - view.heading_deg) % 360 == pytest.approx(90.0, abs=5.0)
        assert (70 < view.look_azimuth_deg < 90) == (view.orbit_pass == "ascending")


def test_angle_grows_away_from_the_sensor() -> None:
    lon = np.array([2.9, 3.0, 3.1])
    eastward = s1_orbits.incidence_deg(59, "ascending", lon, 50.8)
    westward = s1_orbits.incidence_deg(110, "descending", lon, 50.8)
    assert np.all(np.diff(eastward) > 0)
    assert np.all(np.diff(westward) < 0)
    # About 0.06 degrees per kilometre near the far edge: range 960 km, height 700 km.
    assert np.diff(eastward).mean() / 7.0 == pytest.approx(0.05, abs=0.015)
    for view in s1_orbits.views(3.0, 50.8):
        there = s1_orbits.incidence_deg(view.relative_orbit, view.orbit_pass, 3.0, 50.8)
        assert float(there) == pytest.approx(view.incidence_deg, abs=1e-9)


def test_places_left_of_the_flight_have_no_angle() -> None:
    # Orbit 59 passes west of Belgium and looks east; Ireland lies on its other side.
    assert np.isnan(s1_orbits.incidence_deg(59, "ascending", -12.0, 50.8))


# Absolute orbits as printed in the names of real products.
@pytest.mark.parametrize(
    ("platform", "absolute", "relative"),
    [
        ("sentinel-1a", 18302, 30),
        ("sentinel-1b", 7231, 30),
        ("sentinel-1a", 36108, 161),
        ("sentinel-1a", 29739, 92),
        ("sentinel-1a", 33764, 92),
    ],
)
def test_relative_orbit_of_real_products(platform: str, absolute: int, relative: int) -> None:
    assert s1_orbits.relative_orbit(absolute, platform) == relative


def test_unknown_platform_is_refused() -> None:
    with refuses(S1S2Error, "sentinel-1z", "sentinel-1a", "sentinel-1b", "sentinel-1c"):
        s1_orbits.relative_orbit(1, "sentinel-1z")


@pytest.mark.parametrize(
    ("orbit", "platform", "at", "absolute"),
    [
        # S1A_IW_RAW__0SDV_20210112T173201_20210112T173234_036108; S1A and S1B over Belgium in August 2017.
        (161, "sentinel-1a", datetime(2021, 1, 12, 17, 32, 32, tzinfo=UTC), 36108),
        (161, "sentinel-1a", datetime(2017, 8, 1, 17, 32, 36, tzinfo=UTC), None),
        (59, "sentinel-1a", datetime(2017, 8, 6, 17, 40, 43, tzinfo=UTC), None),
    ],
)
def test_overflights_meet_real_acquisitions(orbit: int, platform: str, at: datetime, absolute: int | None) -> None:
    view = next(v for v in s1_orbits.views(*BELGIUM) if v.relative_orbit == orbit)
    day = timedelta(days=1)
    (found,) = [o for o in s1_orbits.overflights(view, at - day, at + day) if o.platform == platform]
    assert abs(found.acquired_at - at) < timedelta(seconds=60)
    assert absolute is None or found.absolute_orbit == absolute
    assert s1_orbits.relative_orbit(found.absolute_orbit, found.platform) == orbit


def _gaps(start: datetime, end: datetime) -> set[int]:
    view = s1_orbits.views(*BELGIUM)[0]
    times = [o.acquired_at for o in s1_orbits.overflights(view, start, end)]
    return {(b - a).days for a, b in itertools.pairwise(times)}


def test_repeat_cycle_follows_the_satellites_that_flew() -> None:
    assert _gaps(datetime(2019, 1, 1, tzinfo=UTC), datetime(2021, 12, 20, tzinfo=UTC)) == {6}
    assert _gaps(datetime(2022, 1, 1, tzinfo=UTC), datetime(2025, 3, 20, tzinfo=UTC)) == {12}
    assert _gaps(datetime(2025, 4, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)) == {6}
    assert _gaps(datetime(2015, 1, 1, tzinfo=UTC), datetime(2016, 9, 1, tzinfo=UTC)) == {12}


def test_overflights_stay_within_their_span() -> None:
    view = s1_orbits.views(*BELGIUM)[0]
    (first, *_rest) = s1_orbits.overflights(view, datetime(2019, 1, 1, tzinfo=UTC), datetime(2019, 3, 1, tzinfo=UTC))
    again = s1_orbits.overflights(view, first.acquired_at, first.acquired_at + timedelta(seconds=1))
    assert again == [first]
    assert s1_orbits.overflights(view, first.acquired_at - timedelta(days=1), first.acquired_at) == []
