"""The plan: every choice made for every ROI, before the first pixel is fetched."""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import shapely
import shapely.geometry
from odc.geo.geobox import GeoBox
from pydantic import ConfigDict, Field, PlainSerializer, PlainValidator
from pyproj.exceptions import CRSError

from ..acquisitions import (
    CompositeMethod,
    IncidenceSource,
    Needed,
    OpticalAcquisition,
    RoiGrids,
    SarAcquisition,
    SearchWindow,
)
from ..errors import GridError
from ..grid import MAX_GRID_PIXELS, analysis_grid, footprint_lonlat, grid_from_json, grid_to_json, roi_grid
from ..recipe.settings import Recipe, Roi, Settings
from ..sensors import Backscatter, OrbitPass
from ..untrusted import cut
from .optical import OpticalChoice, is_locked, mean_time, moved, shifts, span_of
from .radar import OrbitCandidate, OrbitChoice, search_span

_PLAIN = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
_FARTHEST_M = 2e7
"""No UTM coordinate is larger: half the way around the Earth."""


def _grid(value: Any) -> GeoBox:
    try:
        grid = grid_from_json(value)
    except (KeyError, TypeError, OverflowError, CRSError) as error:
        raise ValueError(f"no pixel grid ({cut(repr(error))})") from error
    if not all(map(math.isfinite, grid.transform)) or not 0 < grid.height * grid.width <= MAX_GRID_PIXELS:
        raise ValueError(f"no pixel grid of up to {MAX_GRID_PIXELS:.2g} pixels")
    width, skew_x, _, skew_y, height, _ = grid.transform[:6]
    if grid.crs is None or not grid.crs.projected or not width == -height > 0 or skew_x or skew_y:
        raise ValueError("no pixel grid with square pixels, north up, in a projected CRS")
    if not max(map(abs, grid.boundingbox.bbox)) <= _FARTHEST_M:
        raise ValueError(f"no pixel grid within {_FARTHEST_M:.2g} m of its CRS's origin")
    return grid


_Grid = Annotated[GeoBox, PlainValidator(_grid), PlainSerializer(grid_to_json)]


@dataclass(frozen=True, kw_only=True, slots=True)
class PeriodPlan:
    """What the two images of one ROI and period are made from."""

    __pydantic_config__ = _PLAIN
    label: str
    start: dt.date
    end: dt.date
    """Window of the optical scenes after any shift, end excluded."""
    month_shift: int
    composite: CompositeMethod
    optical: Annotated[tuple[OpticalAcquisition, ...], Field(min_length=1)]
    """Used, by time."""
    optical_considered: tuple[OpticalAcquisition, ...]
    optical_mean_time: dt.datetime
    sar: Annotated[tuple[SarAcquisition, ...], Field(min_length=1)]
    """Averaged, by time."""
    sar_mean_time: dt.datetime

    @property
    def lag_days(self) -> float:
        """Mean SAR time less mean optical time, days."""
        return (self.sar_mean_time - self.optical_mean_time).total_seconds() / 86_400


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """Everything chosen for one ROI."""

    __pydantic_config__ = _PLAIN
    grid: _Grid
    backscatter: Backscatter
    relative_orbit: int
    orbit_pass: OrbitPass
    incidence_deg: float
    incidence_source: IncidenceSource
    season_locked: bool
    """Whether all periods were moved by the same number of months."""
    periods: tuple[PeriodPlan, ...]
    orbit_candidates: tuple[OrbitCandidate, ...]
    scene_versions: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Scene used -> its version at the source (`Source.versions`), where that can tell: a changed scene is not fetched."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RoiPlan:
    """One ROI with its choices, or with the reason why there are none."""

    roi: Roi
    choices: Choices | None
    failure: str | None = None
    """Why nothing could be chosen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A recipe with the choices made."""

    name: str
    source: str
    """`Source.name`."""
    rois: tuple[RoiPlan, ...]
    radar_source: str | None = None
    """`Source.radar_name`: where radar images are from, if that is another source."""

    @property
    def sources(self) -> tuple[str, str | None]:
        """Where images are from: `source` and `radar_source`."""
        return self.source, self.radar_source

    def sources_json(self) -> dict[str, str]:
        """Return where images are from as plain JSON."""
        return {"source": self.source} | ({} if self.radar_source is None else {"radar_source": self.radar_source})


def needed(plan: RoiPlan) -> Needed:
    """Return the scenes of a ROI's plan, none where nothing could be chosen, and what of them will be read."""
    periods = plan.choices.periods if plan.choices else ()
    return Needed(
        sar=tuple(acquisition.scene_ids for period in periods for acquisition in period.sar),
        optical=tuple(acquisition.scene_ids for period in periods for acquisition in period.optical),
        polarisations=plan.roi.settings.s1_polarisations,
        bands=plan.roi.settings.s2_bands,
    )


def place(roi: Roi) -> RoiGrids:
    """Lay the grids of a ROI, and say how far its search may go.

    Raises:
        GridError: The ROI lies outside UTM.
    """
    grid = roi_grid(roi.polygon, pixel_size_m=roi.settings.pixel_size_m, min_pixels=roi.settings.patch.size)
    return RoiGrids(
        name=roi.name,
        polygon=roi.polygon,
        grid=grid,
        analysis_grid=analysis_grid(roi.polygon, grid),
        windows=search_windows(roi.settings),
        polarisations=roi.settings.s1_polarisations,
    )


def _pixel_grid(roi: Roi, *, min_pixels: int) -> GeoBox | None:
    try:
        return roi_grid(roi.polygon, pixel_size_m=roi.settings.pixel_size_m, min_pixels=min_pixels)
    except GridError:
        return None


def search_windows(settings: Settings) -> tuple[SearchWindow, ...]:
    """Return every window that a period's images may come from, in the order in which they are tried."""
    optical = [span_of(*moved(p, months)) for months in shifts(settings.max_shift_months) for p in settings.periods]
    return tuple(SearchWindow(optical=span, sar=search_span(span, settings)) for span in optical)


def rois_of(subject: "Recipe | Plan") -> tuple[Roi, ...]:
    """Return the ROIs of a recipe or of a plan."""
    return subject.rois if isinstance(subject, Recipe) else tuple(plan.roi for plan in subject.rois)


def small_rois(rois: Sequence[Roi]) -> tuple[tuple[str, int, int, int], ...]:
    """Return name, rows, columns and patch size of ROIs that are smaller than a patch, and are padded to one.

    ROIs without a grid are passed over: their own plans tell.
    """
    sizes = ((roi, _pixel_grid(roi, min_pixels=1)) for roi in rois)
    return tuple(
        (roi.name, grid.height, grid.width, roi.settings.patch.size)
        for roi, grid in sizes
        if grid is not None and min(grid.shape) < roi.settings.patch.size
    )


def shared_ground(rois: Sequence[Roi]) -> tuple[tuple[str, str], ...]:
    """Name the pairs of ROIs of different splits whose grids overlap although their polygons do not.

    A grid is a rectangle in UTM around its polygon, padded to one patch: at the edges of neighbours it may reach across.
    ROIs without a grid are passed over: their own plans tell.
    """
    grids = [(roi, _pixel_grid(roi, min_pixels=roi.settings.patch.size)) for roi in rois]
    rois = [roi for roi, grid in grids if grid is not None]
    outlines = [footprint_lonlat(grid) for _, grid in grids if grid is not None]
    pairs = shapely.STRtree(outlines).query(outlines, predicate="overlaps").T
    return tuple(
        (rois[i].name, rois[j].name)
        for i, j in sorted(map(tuple, pairs.tolist()))
        if i < j and rois[i].split != rois[j].split
    )


def assemble(
    roi: Roi, *, grid: GeoBox, optical: Mapping[str, OpticalChoice], orbit: OrbitChoice, backscatter: Backscatter
) -> RoiPlan:
    """Put the optical and the orbit choice of a ROI together."""
    periods = tuple(
        PeriodPlan(
            label=period.label,
            start=optical[period.label].start,
            end=optical[period.label].end,
            month_shift=optical[period.label].month_shift,
            composite=optical[period.label].method,
            optical=optical[period.label].used,
            optical_considered=optical[period.label].considered,
            optical_mean_time=optical[period.label].mean_time,
            sar=orbit.dates[period.label],
            sar_mean_time=mean_time([a.acquired_at for a in orbit.dates[period.label]]),
        )
        for period in roi.settings.periods
    )
    choices = Choices(
        grid=grid,
        backscatter=backscatter,
        relative_orbit=orbit.relative_orbit,
        orbit_pass=orbit.orbit_pass,
        incidence_deg=orbit.incidence_deg,
        incidence_source=orbit.incidence_source,
        season_locked=is_locked(optical),
        periods=periods,
        orbit_candidates=orbit.candidates,
    )
    return RoiPlan(roi=roi, choices=choices)
