"""Which scenes a site gets: overflights, the slices and tiles they are cut into, and the flaws real archives have."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ..recipe.settings import Period
from ..s1_orbits import (
    SWATH_INCIDENCE_DEG,
    Overflight,
    ViewingGeometry,
    incidence_deg,
    overflights,
    seconds_after_node,
    views,
)
from . import noise
from .s2_orbits import SWATH_HALF_KM, Datatake, Tile, datatakes, swath_offset_km, tiles
from .site import Bounds, Limit, Outline, Plane, Site, fit_plane, outline
from .sky import Sky, sky

_LAYER: Final = 500
PARTIAL_SWATH_DEG: Final = 47.2
"""Between the nominal far edge (46.0) and this mean angle an orbit's swath is taken to end within the site."""
SLICE_S: Final = 25.0
_SLICE_OVERLAP_S: Final = 0.02
"""Neighbouring slices share about 130 m of ground."""
_SLICED_SHARE: Final = 1 / 3
"""How many combinations of orbit and satellite have a slice border across the site."""
_SHORT_DATATAKE_SHARE: Final = 1 / 12
"""How many optical overflights end within the site."""
_REPROCESSED_SHARE: Final = 1 / 4
"""How many optical scenes exist only in a newer processing, whose values carry an offset."""
_OFFSET_FROM: Final = dt.datetime(2022, 1, 25, tzinfo=dt.UTC)
"""From here on every processing carries the offset."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SarOrbit:
    """One relative orbit over a site."""

    view: ViewingGeometry
    """From the middle of the site."""
    incidence: Plane
    """Incidence angle, degrees."""
    seconds: Plane
    """Time after the ascending node, seconds."""
    limits: tuple[Limit, ...]
    """Edges of the swath."""
    partial: bool
    """The swath's far edge crosses the site."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SarScene:
    """One slice of one overflight."""

    orbit: SarOrbit
    overflight: Overflight
    start: dt.datetime
    end: dt.datetime
    outline: Outline


@dataclass(frozen=True, kw_only=True, slots=True)
class Processing:
    """One processing of an optical scene."""

    baseline: str
    """`02.12`, `05.00` ..."""
    generated: dt.datetime
    offset: float
    """Reflectance that a stored value of 0 would mean: 0 or -0.1."""
    is_newer: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class OpticalScene:
    """One tile of one datatake in one processing."""

    site: Site
    datatake: Datatake
    tile: str
    sensed: dt.datetime
    processing: Processing
    sequence: int
    """0 for the first processing of the day's tile, 1 for the next."""
    outline: Outline


@dataclass(frozen=True, kw_only=True, slots=True)
class OpticalOverflight:
    """One overflight of Sentinel-2 over a site."""

    datatake: Datatake
    sky: Sky
    limits: tuple[Limit, ...]
    """Edges of the swath, and where the recording stops."""
    twice: bool = False
    """The archive holds it in two processings."""


def sar_orbits(site: Site, seed: int, *, per_pass: int) -> list[SarOrbit]:
    """List the orbits whose scenes are written: of each pass the `per_pass` highest in angle, and any seen in part only."""
    lon, lat = site.centre
    found: list[SarOrbit] = []
    for orbit_pass in ("ascending", "descending"):
        seen = [
            view
            for view in views(lon, lat, swath_deg=(SWATH_INCIDENCE_DEG[0], PARTIAL_SWATH_DEG))
            if view.orbit_pass == orbit_pass
        ]
        orbits = [_sar_orbit(site, view, seed) for view in seen]
        found += [orbit for orbit in orbits if orbit.partial]
        found += [orbit for orbit in orbits if not orbit.partial][:per_pass]
    return found


def sar_scenes(site: Site, orbit: SarOrbit, start: dt.datetime, end: dt.datetime, seed: int) -> Iterator[SarScene]:
    """Yield the slices of every overflight of an orbit from `start` to `end`."""
    for overflight in overflights(orbit.view, start, end):
        node = overflight.acquired_at - dt.timedelta(seconds=orbit.view.seconds_after_node)
        border = _slice_border(site, orbit, overflight, seed)
        for first in (border - SLICE_S, border):
            last = first + SLICE_S + _SLICE_OVERLAP_S
            limits = (*orbit.limits, Limit(plane=orbit.seconds, least=first), Limit.at_most(orbit.seconds, last))
            cut = outline(site.bounds, limits, 2 * site.pixel_m)
            if cut is not None:
                yield SarScene(
                    orbit=orbit,
                    overflight=overflight,
                    start=(node + dt.timedelta(seconds=first)).replace(microsecond=0),
                    end=(node + dt.timedelta(seconds=last)).replace(microsecond=0),
                    outline=cut,
                )


def optical_overflights(site: Site, start: dt.datetime, end: dt.datetime, seed: int) -> list[OpticalOverflight]:
    """List the optical overflights of a site with their clouds and the borders of their swaths."""
    lon, lat = site.centre
    left, bottom, right, top = site.bounds
    reach = float(np.hypot(right - left, top - bottom)) / 2000.0
    frame = site.frame(seed)
    found = []
    for datatake in datatakes(lon, lat, start, end, reach_km=reach):
        plane = _offset_plane(site, datatake)
        limits = [Limit(plane=plane, least=-SWATH_HALF_KM), Limit.at_most(plane, SWATH_HALF_KM)]
        day = datatake.acquired_at.toordinal()
        if noise.uniform(*frame.keys(_LAYER, 1, day), site.name_key) < _SHORT_DATATAKE_SHARE:
            # The recording stops here; southbound, so what lies north of the line was still recorded.
            stop = 0.25 + 0.5 * float(noise.uniform(*frame.keys(_LAYER, 2, day), site.name_key))
            line = Plane(constant=-0.1 * left, east=0.1, north=1.0)
            limits.append(Limit(plane=line, least=bottom + stop * (top - bottom)))
        if outline(site.bounds, limits, 2 * site.pixel_m) is not None:
            above = sky(frame, lon, lat, datatake.acquired_at)
            found.append(OpticalOverflight(datatake=datatake, sky=above, limits=tuple(limits)))
    return found


def optical_scenes(site: Site, overflight: OpticalOverflight, seed: int) -> Iterator[OpticalScene]:
    """Yield the tiles of one optical overflight, the older processing of a tile first."""
    _, lat = site.centre
    datatake = overflight.datatake
    draw = float(noise.uniform(seed, _LAYER, 3, site.name_key, datatake.acquired_at.toordinal()))
    processings = _processings(datatake, only_newer=draw < _REPROCESSED_SHARE, twice=overflight.twice)
    for number, tile in enumerate(tiles(site.epsg, lat, site.bounds)):
        cut = outline(_part(site, tile), overflight.limits, 2 * site.pixel_m)
        if cut is None:
            continue
        for sequence, processing in enumerate(processings):
            yield OpticalScene(
                site=site,
                datatake=datatake,
                tile=tile.name,
                sensed=datatake.acquired_at + dt.timedelta(seconds=3 * number),
                processing=processing,
                sequence=sequence,
                outline=cut,
            )


def _part(site: Site, tile: Tile) -> Bounds:
    """Return the ground of a site that lies in a tile, in whole coarse pixels."""
    step = 2 * site.pixel_m
    left, bottom, right, top = site.bounds
    return (
        max(left, float(np.ceil(tile.left_m / step) * step)),
        max(bottom, float(np.ceil(tile.bottom_m / step) * step)),
        min(right, float(np.floor(tile.right_m / step) * step)),
        min(top, float(np.floor(tile.top_m / step) * step)),
    )


def reprocessed_day(period: Period, found: Sequence[OpticalOverflight]) -> dt.datetime | None:
    """Choose the overflight of a period that the archive holds in two processings: the clearest, then the earliest."""
    inside = [
        (overflight.sky.cover, overflight.datatake.acquired_at)
        for overflight in found
        if period.start <= overflight.datatake.acquired_at.date() < period.end
    ]
    return min(inside)[1] if inside else None


def _sar_orbit(site: Site, view: ViewingGeometry, seed: int) -> SarOrbit:
    left, bottom, right, top = site.bounds
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(left, right, 4), np.linspace(bottom, top, 4)))
    lon, lat = site.lonlat(x, y)
    incidence = fit_plane(x, y, incidence_deg(view.relative_orbit, view.orbit_pass, lon, lat))
    seconds = fit_plane(x, y, seconds_after_node(view.relative_orbit, view.orbit_pass, lon, lat))
    corners = incidence.at(np.array([left, left, right, right]), np.array([bottom, top, bottom, top]))
    far = SWATH_INCIDENCE_DEG[1]
    partial = view.incidence_deg > far
    if partial:
        # An orbit that passes just outside is taken to reach into the site: real swaths end somewhere too.
        part = 0.3 + 0.4 * float(noise.uniform(seed, _LAYER, 4, site.name_key, view.relative_orbit))
        far = float(corners.min() + part * (corners.max() - corners.min()))
    limits = (Limit(plane=incidence, least=SWATH_INCIDENCE_DEG[0]), Limit.at_most(incidence, far))
    return SarOrbit(view=view, incidence=incidence, seconds=seconds, limits=limits, partial=partial)


def _slice_border(site: Site, orbit: SarOrbit, overflight: Overflight, seed: int) -> float:
    """Return when, after the node, one slice ends and the next begins: across the site, or clear of it."""
    left, bottom, right, top = site.bounds
    corners = orbit.seconds.at(np.array([left, left, right, right]), np.array([bottom, top, bottom, top]))
    keys = (seed, _LAYER, 5, site.name_key, overflight.relative_orbit, ord(overflight.platform[-1]))
    if noise.uniform(*keys, 1) < _SLICED_SHARE:
        part = 0.3 + 0.4 * float(noise.uniform(*keys, 2))
        return float(corners.min() + part * (corners.max() - corners.min()))
    return float(corners.min() - 1.0 - 15.0 * float(noise.uniform(*keys, 2)))


def _offset_plane(site: Site, datatake: Datatake) -> Plane:
    left, bottom, right, top = site.bounds
    x, y = (a.ravel() for a in np.meshgrid(np.array([left, right]), np.array([bottom, top])))
    lon, lat = site.lonlat(x, y)
    return fit_plane(x, y, swath_offset_km(datatake.relative_orbit, lon, lat))


def _processings(datatake: Datatake, *, only_newer: bool, twice: bool) -> tuple[Processing, ...]:
    at = datatake.acquired_at
    recent = at >= _OFFSET_FROM
    first = Processing(
        baseline="04.00" if recent else _baseline(at),
        generated=at + dt.timedelta(hours=3, minutes=11),
        offset=-0.1 if recent else 0.0,
        is_newer=False,
    )
    again = max(at, dt.datetime(2023, 3, 1, 6, 30, tzinfo=dt.UTC)) + dt.timedelta(days=90)
    newer = Processing(baseline="05.00", generated=again, offset=-0.1, is_newer=True)
    if twice:
        return (first, newer)
    return (newer,) if only_newer else (first,)


def _baseline(at: dt.datetime) -> str:
    """Return the processing baseline in use on a date."""
    changes = (("02.05", 2017), ("02.08", 2018), ("02.12", 2019), ("02.14", 2020), ("03.00", 2021))
    return max((name for name, year in changes if at.year >= year), default="02.04")
