"""Spans of time, scenes and acquisitions: the plain frozen values in which sources are asked, and report."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from .sensors import OrbitPass

IncidenceSource = Literal["raster", "property", "annotation", "product", "model"]
"""Where a mean incidence angle is from: the scene's angle raster, its catalogue property `view:incidence_angle`, the product's
annotation grid, the near and far angle that the product states, or the orbit geometry model."""

SceneIds = tuple[str, ...]
"""Scenes of one acquisition, in the order in which they are laid side by side: the first with a value in a pixel gives it."""
CompositeMethod = Literal["median", "least_cloudy"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A stretch of time to look through, UTC; `end` excluded."""

    start: dt.datetime
    end: dt.datetime


def joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Return the same stretches of time without overlaps, in order; those that touch become one."""
    out: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if out and span.start <= out[-1].end:
            out[-1] = Span(start=out[-1].start, end=max(out[-1].end, span.end))
        else:
            out.append(span)
    return tuple(out)


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchWindow:
    """A stretch of time that a period's optical images may be from, and where its radar images are looked for then."""

    optical: Span
    sar: Span


@dataclass(frozen=True, kw_only=True, slots=True)
class RoiGrids:
    """A ROI on its grids."""

    name: str
    polygon: BaseGeometry
    """Lon/lat."""
    grid: GeoBox
    """Pixel grid of the rasters."""
    analysis_grid: GeoBox
    """20 m grid over the ROI's bounds on which SCL is measured, at pixels whose centre lies in the ROI."""
    windows: tuple[SearchWindow, ...] = ()
    """All that a search may come to ask about, so that a source can list it in one go; empty where nobody knows."""
    polarisations: tuple[str, ...] = ()
    """Those that it will ask for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SarScene:
    """One catalogued Sentinel-1 image as a source found it over a ROI."""

    id: str
    acquired_at: dt.datetime
    platform: str
    """`sentinel-1a`, `sentinel-1b`, ..."""
    relative_orbit: int
    absolute_orbit: int | None
    orbit_pass: OrbitPass
    polarisations: tuple[str, ...]
    footprint: BaseGeometry
    """Ground it holds data for, lon/lat."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Incidence:
    """The incidence angle of one Sentinel-1 scene over a ROI."""

    mean_deg: float
    """Over those points of the ROI's incidence grid that the scene covers."""
    points: int
    """How many these are; 1 where the angle is not from a raster, 0 where the raster has none in the ROI."""
    source: IncidenceSource


@dataclass(frozen=True, kw_only=True, slots=True)
class SarAcquisition:
    """One Sentinel-1 overflight of a ROI: its scenes side by side."""

    scene_ids: tuple[str, ...]
    acquired_at: dt.datetime
    """Start of the first scene, UTC."""
    platform: str
    relative_orbit: int
    orbit_pass: OrbitPass
    coverage_fraction: float
    """Part of the ROI's area inside the scenes' footprints."""
    incidence_deg: float
    incidence_source: IncidenceSource
    footprint_wkt: str
    """Outline of the scenes together, lon/lat, for maps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpticalScene:
    """One catalogued Sentinel-2 image."""

    id: str
    acquired_at: dt.datetime
    platform: str
    relative_orbit: int | None
    datatake_id: str | None
    tile: str
    """MGRS tile, or whatever tells the scenes of one datatake apart; empty where unknown."""
    strip: str
    """Sensing start of the datastrip (`20190601T105621`): two strips of one tile are no duplicates. Empty where unknown:
    then only images of the same second are."""
    processed: str
    """Sorts the processings of one image, newest last: baseline, then time of generation."""
    footprint: BaseGeometry


@dataclass(frozen=True, kw_only=True, slots=True)
class OpticalAcquisition:
    """One Sentinel-2 overflight of a ROI (datatake), measured over the ROI at 20 m."""

    scene_ids: tuple[str, ...]
    acquired_at: dt.datetime
    """Time of the first scene, UTC."""
    platform: str
    coverage_fraction: float
    """Pixels with SCL other than 0, of the ROI's."""
    cloud_fraction: float
    """SCL 3, 8, 9, 10, of the covered pixels; 1 where nothing is covered."""
    snow_fraction: float
    """SCL 11, of the covered pixels."""
    footprint_wkt: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Needed:
    """Scenes that a plan has chosen for one ROI, and what of them will be read."""

    sar: tuple[SceneIds, ...]
    optical: tuple[SceneIds, ...]
    """Of all periods."""
    polarisations: tuple[str, ...]
    bands: tuple[str, ...]
