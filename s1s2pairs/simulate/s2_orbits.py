"""When Sentinel-2 passes, how far its swath reaches and which MGRS tiles a place lies in."""

import datetime as dt
import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from .noise import Floats

SWATH_HALF_KM: Final = 145.0
ORBITS_PER_CYCLE: Final = 143
CYCLE: Final = dt.timedelta(days=10)
PERIOD_S: Final = CYCLE.total_seconds() / ORBITS_PER_CYCLE
_INCLINATION: Final = math.radians(98.62)
_EARTH_KM: Final = 6371.0
# Orbit 51 passes about 107 km east-south-east of 50.82 N 3.02 E, orbit 94 about 63 km west of it: the view angles of real
# products over that place. The mean solar time of the southbound equator crossing is 10:30.
_NODE_ORBIT: Final = 51
_NODE_LON_DEG: Final = -177.14
_NODE_LOCAL_HOURS: Final = 22.5


@dataclass(frozen=True, kw_only=True, slots=True)
class _Platform:
    name: str
    letter: str
    anchor: dt.date
    """A day on which orbit 51 was flown over Europe."""
    anchor_orbit: int
    """Its absolute number."""
    first: dt.datetime


_PLATFORMS: Final = (
    _Platform(
        name="sentinel-2a",
        letter="A",
        anchor=dt.date(2018, 4, 1),
        anchor_orbit=14490,
        first=dt.datetime(2015, 7, 1, tzinfo=dt.UTC),
    ),
    _Platform(
        name="sentinel-2b",
        letter="B",
        anchor=dt.date(2018, 4, 6),
        anchor_orbit=5653,
        first=dt.datetime(2017, 7, 1, tzinfo=dt.UTC),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Datatake:
    """One Sentinel-2 overflight of a place."""

    platform: str
    relative_orbit: int
    absolute_orbit: int
    acquired_at: dt.datetime
    offset_km: float
    """Distance of the place right of the ground track, seen in flight direction; the swath reaches 145 km."""

    @property
    def letter(self) -> str:
        """`A` or `B`."""
        return self.platform[-1].upper()


def datatakes(lon: float, lat: float, start: dt.datetime, end: dt.datetime, *, reach_km: float) -> list[Datatake]:
    """List the overflights of a place from `start` to `end` (excluded), in time order.

    Args:
        lon: degrees east.
        lat: degrees north.
        start: first moment, aware.
        end: moment after the last, aware.
        reach_km: how far beyond the swath's edge the place may lie (half the diagonal of the ground wanted).
    """
    found = []
    for orbit in range(1, ORBITS_PER_CYCLE + 1):
        offset, seconds = _offset_km(orbit, lon, lat)
        if abs(offset) > SWATH_HALF_KM + reach_km:
            continue
        for platform in _PLATFORMS:
            span = (max(start, platform.first), end)
            found += _passes(platform, orbit, (offset, seconds), span)
    return sorted(found, key=lambda datatake: datatake.acquired_at)


def swath_offset_km(orbit: int, lon: Floats, lat: Floats) -> Floats:
    """Return the distance of places right of an orbit's ground track, km, in the shape of lon and lat."""
    flat = [_offset_km(orbit, float(a), float(b))[0] for a, b in zip(np.ravel(lon), np.ravel(lat), strict=True)]
    return np.reshape(flat, np.shape(lon))


def _passes(
    platform: _Platform, orbit: int, place: tuple[float, float], span: tuple[dt.datetime, dt.datetime]
) -> list[Datatake]:
    offset, seconds = place
    later = (orbit - _NODE_ORBIT) % ORBITS_PER_CYCLE
    # Northbound crossing of orbit 51: its morning passes over Europe follow on the same UTC day.
    node_hours = (_NODE_LOCAL_HOURS - _NODE_LON_DEG / 15.0) % 24.0
    anchor = dt.datetime.combine(platform.anchor, dt.time(), dt.UTC) + dt.timedelta(hours=node_hours)
    first = anchor + dt.timedelta(seconds=later * PERIOD_S + seconds)
    cycle = math.ceil((span[0] - first) / CYCLE)
    found = []
    while (at := first + cycle * CYCLE) < span[1]:
        found.append(
            Datatake(
                platform=platform.name,
                relative_orbit=orbit,
                absolute_orbit=platform.anchor_orbit + later + cycle * ORBITS_PER_CYCLE,
                acquired_at=at.replace(microsecond=0),
                offset_km=offset,
            )
        )
        cycle += 1
    return found


def _offset_km(orbit: int, lon: float, lat: float) -> tuple[float, float]:
    """Return the distance of a place right of the southbound track, km, and when after the node it is passed, seconds."""
    low, high = math.pi / 2, 3 * math.pi / 2
    best = math.pi
    for _ in range(4):
        tried = np.linspace(low, high, 61)
        nearest = int(np.argmax(_track(orbit, tried) @ _place(lon, lat)))
        best, step = float(tried[nearest]), float(tried[1] - tried[0])
        low, high = best - step, best + step
    here, ahead = _track(orbit, np.array([best, best + 1e-4]))
    cosine = float(np.clip(here @ _place(lon, lat), -1.0, 1.0))
    right = float(np.dot(np.cross(ahead - here, here), _place(lon, lat)))
    return math.copysign(math.acos(cosine) * _EARTH_KM, right), best / (2 * math.pi) * PERIOD_S


def _place(lon: float, lat: float) -> Floats:
    lam, phi = math.radians(lon), math.radians(lat)
    return np.array([math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi)])


def _track(orbit: int, argument: Floats) -> Floats:
    """Return unit vectors (n, xyz) from the Earth's centre to the satellite at arguments of latitude, radians."""
    revolutions = (10 * (orbit - _NODE_ORBIT)) % ORBITS_PER_CYCLE
    turn = argument * PERIOD_S / 86_400
    node = math.radians(_NODE_LON_DEG) - revolutions * 2 * math.pi / ORBITS_PER_CYCLE - turn
    along, across = np.cos(argument), np.sin(argument) * math.cos(_INCLINATION)
    return np.stack(
        [
            along * np.cos(node) - across * np.sin(node),
            along * np.sin(node) + across * np.cos(node),
            np.sin(argument) * math.sin(_INCLINATION),
        ],
        axis=-1,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """One MGRS tile as Sentinel-2 uses it: 109.8 km wide, overlapping its neighbours by 9.8 km."""

    name: str
    """For example `31UDS`."""
    left_m: float
    bottom_m: float
    right_m: float
    top_m: float


TILE_M: Final = 109_800.0
_BANDS: Final = "CDEFGHJKLMNPQRSTUVWX"
_COLUMNS: Final = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")
_ROWS: Final = "ABCDEFGHJKLMNPQRSTUV"


def tiles(epsg: int, lat: float, bounds: tuple[float, float, float, float]) -> list[Tile]:
    """List the tiles of a UTM zone that touch bounds (left, bottom, right, top, metres), by name.

    Tiles of a neighbouring zone that also reach the place are left out.
    """
    zone = epsg % 100
    band = _BANDS[min(int((lat + 80) // 8), len(_BANDS) - 1)]
    left, bottom, right, top = bounds
    found = []
    for east in range(math.floor((left - TILE_M) / 1e5), math.floor(right / 1e5) + 1):
        for north in range(math.floor(bottom / 1e5) - 1, math.floor((top + TILE_M) / 1e5) + 1):
            # Tile corners are the 100 km squares' upper left corners, moved out to multiples of 60 m.
            tile_left = math.floor(east * 1e5 / 60) * 60.0
            tile_top = math.ceil((north + 1) * 1e5 / 60) * 60.0
            if not 1 <= east <= 8 or tile_left >= right or tile_left + TILE_M <= left:
                continue
            if tile_top <= bottom or tile_top - TILE_M >= top:
                continue
            column = _COLUMNS[(zone - 1) % 3][east - 1]
            row = _ROWS[(north + (0 if zone % 2 else 5)) % 20]
            found.append(
                Tile(
                    name=f"{zone:02d}{band}{column}{row}",
                    left_m=tile_left,
                    bottom_m=tile_top - TILE_M,
                    right_m=tile_left + TILE_M,
                    top_m=tile_top,
                )
            )
    return sorted(found, key=lambda tile: tile.name)
