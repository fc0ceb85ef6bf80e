"""Facts about the real archive that do not change: what a check expects to find, and where it is known from.

The radar passes over a field in Flevoland between 1 and 12 May 2020 are those of Google's own tutorial "SAR Basics"
(google/earthengine-community, tutorials/sar-basics), which lists four relative orbits, each flown by both satellites. Absolute
orbit numbers and times follow from the relative ones: relative = (absolute - 73) mod 175 + 1 for Sentinel-1A, - 27 for 1B. A
year later, after 31 cycles of 12 days, the same passes come again.

Sentinel-2 repeats 143 orbits in 10 days, 2B five days after 2A. One pass on orbit 51 is in the name of a product,
S2A_MSIL1C_20180401T105031_N0206_R051_T31UES.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final

import shapely

from ...acquisitions import RoiGrids, SearchWindow, Span
from ...grid import analysis_grid, roi_grid
from ...s1_orbits import CYCLE as SAR_CYCLE
from ...s1_orbits import ORBITS_PER_CYCLE as SAR_ORBITS_PER_CYCLE
from ...sensors import OrbitPass

FIELD: Final = shapely.box(5.8662, 52.7132, 5.8750, 52.7183)
"""Lon/lat; 600 m, within the tutorial's region."""
SIDE_PX: Final = 64
SPANS: Final = tuple(
    Span(start=start, end=start + dt.timedelta(days=12))
    for start in (dt.datetime(2020, 5, 1, tzinfo=dt.UTC), dt.datetime(2021, 5, 8, tzinfo=dt.UTC))
)
YEARS_APART: Final = 31
"""Cycles of Sentinel-1 between the two spans."""
TIME_TOLERANCE: Final = dt.timedelta(minutes=5)
_OPTICAL_ORBIT: Final = 51
_OPTICAL_TIME: Final = dt.datetime(2018, 4, 1, 10, 50, 31, tzinfo=dt.UTC)
_OPTICAL_CYCLE: Final = dt.timedelta(days=10)
_OPTICAL_ORBITS_PER_CYCLE: Final = 143
OPTICAL_TOLERANCE: Final = dt.timedelta(minutes=15)


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownPass:
    """One radar overflight of the field."""

    platform: str
    relative_orbit: int
    absolute_orbit: int
    orbit_pass: OrbitPass
    acquired_at: dt.datetime
    """To a few minutes."""


def _first(platform: str, relative: int, absolute: int, orbit_pass: OrbitPass, time: str) -> KnownPass:
    return KnownPass(
        platform=f"sentinel-1{platform}",
        relative_orbit=relative,
        absolute_orbit=absolute,
        orbit_pass=orbit_pass,
        acquired_at=dt.datetime.fromisoformat(f"2020-05-{time}:00+00:00"),
    )


_IN_2020: Final = (
    _first("b", 15, 21391, "ascending", "01T17:17"),
    _first("a", 110, 32382, "descending", "02T05:58"),
    _first("b", 37, 21413, "descending", "03T05:49"),
    _first("b", 88, 21464, "ascending", "06T17:25"),
    _first("a", 15, 32462, "ascending", "07T17:17"),
    _first("b", 110, 21486, "descending", "08T05:58"),
    _first("a", 37, 32484, "descending", "09T05:49"),
    _first("a", 88, 32535, "ascending", "12T17:25"),
)
PASSES: Final = (
    *_IN_2020,
    *(
        KnownPass(
            platform=known.platform,
            relative_orbit=known.relative_orbit,
            absolute_orbit=known.absolute_orbit + YEARS_APART * SAR_ORBITS_PER_CYCLE,
            orbit_pass=known.orbit_pass,
            acquired_at=known.acquired_at + YEARS_APART * SAR_CYCLE,
        )
        for known in _IN_2020
    ),
)
"""Every overflight of the field within the spans."""


def off_the_cycle(platform: str, relative_orbit: int, acquired_at: dt.datetime) -> dt.timedelta:
    """Return how far a Sentinel-2 acquisition over the field is from when its satellite flies that orbit."""
    later = (relative_orbit - _OPTICAL_ORBIT) / _OPTICAL_ORBITS_PER_CYCLE * _OPTICAL_CYCLE
    expected = _OPTICAL_TIME + later + (platform == "sentinel-2b") * _OPTICAL_CYCLE / 2
    off = (acquired_at - expected) % _OPTICAL_CYCLE
    return min(off, _OPTICAL_CYCLE - off)


def field() -> RoiGrids:
    """Return the field on its grids of 64 x 64 pixels, with the spans to look through."""
    grid = roi_grid(FIELD, pixel_size_m=10, min_pixels=SIDE_PX)
    return RoiGrids(
        name="flevoland",
        polygon=FIELD,
        grid=grid,
        analysis_grid=analysis_grid(FIELD, grid),
        windows=tuple(SearchWindow(optical=span, sar=span) for span in SPANS),
        polarisations=("VV", "VH"),
    )
